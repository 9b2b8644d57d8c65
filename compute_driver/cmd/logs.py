# SPDX-License-Identifier: Apache-2.0
"""Logging of the command line: warnings in one line each; all by oslo.log where it is wanted."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from compute_driver.cmd import errors

#: Values of ``verbose_level``.
QUIET, NORMAL = 0, 1


@contextlib.contextmanager
def configured(options: argparse.Namespace) -> Iterator[None]:
    """Log as the global options say, for the time of one command."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        told = options.debug or options.verbose_level > NORMAL
        if told or options.log_file:
            _use_oslo_log(options, told)
        if not told:
            root.addHandler(_warnings(options))
        yield
    finally:
        for handler in set(root.handlers).difference(before[0]):
            handler.close()
        root.handlers[:], root.level = before


class _Once(logging.Filter):
    """Lets each of this package's messages through once; those of libraries never."""

    def __init__(self) -> None:
        super().__init__("compute_driver")
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if not super().filter(record) or text in self._seen:
            return False
        self._seen.add(text)
        return True


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = " ".join(record.getMessage().split())
        return f"compute-driver: {record.levelname.lower()}: {text}"


def _warnings(options: argparse.Namespace) -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR if options.verbose_level == QUIET else logging.WARNING)
    handler.addFilter(_Once())
    handler.setFormatter(_OneLine())
    return handler


def _use_oslo_log(options: argparse.Namespace, told: bool) -> None:
    # Slow to import, and rarely wanted.
    from oslo_config import cfg
    from oslo_log import log

    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("debug", options.debug)
    conf.set_override("use_stderr", told)
    if options.log_file:
        conf.set_override("log_file", os.path.abspath(options.log_file))
    hook = sys.excepthook
    try:
        log.setup(conf, "compute-driver")
    except OSError as error:
        raise errors.UsageError(
            f"--log-file: {options.log_file!r} is not usable: {error.strerror}"
        ) from error
    finally:
        sys.excepthook = hook  # main reports errors itself
