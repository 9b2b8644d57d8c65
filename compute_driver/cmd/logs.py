# SPDX-License-Identifier: Apache-2.0
"""Logging of the command line: warnings in one line each; all by oslo.log where it is wanted.

oslo.log's options are in group ``[DEFAULT]`` of the configuration; those of the command line win.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from compute_driver import exceptions
from compute_driver.cmd import errors

if TYPE_CHECKING:
    from oslo_config import cfg

#: Values of ``verbose_level``.
QUIET, NORMAL = 0, 1

#: oslo.log's options that say where to log to.
_SINKS = ("log_config_append", "log_file", "log_dir", "use_syslog", "use_journal", "use_stderr")


@contextlib.contextmanager
def configured(options: argparse.Namespace) -> Iterator[None]:
    """Log warnings, unless the global options say otherwise, for the time of one command."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        root.addHandler(_warnings(options))
        yield
    finally:
        for handler in set(root.handlers).difference(before[0]):
            handler.close()
        root.handlers[:], root.level = before


def follow(options: argparse.Namespace, conf: cfg.ConfigOpts) -> None:
    """Log by oslo.log if the global options or the configuration want it.

    :raises UsageError: if the file of the global options is not usable.
    :raises ConfigurationError: if what the configuration says cannot be done.
    """
    told = options.debug or options.verbose_level > NORMAL
    quiet = options.verbose_level == QUIET
    somewhere = options.log_file or any(conf[name] for name in _SINKS)
    if not (told or somewhere or conf.debug):
        return
    if told or options.log_file:
        conf.set_override("log_config_append", None)
    if told or quiet or not somewhere:
        conf.set_override("use_stderr", told or not quiet)
    if options.debug:
        conf.set_override("debug", True)
    if options.log_file:
        conf.set_override("log_file", os.path.abspath(options.log_file))
    _set_up(options, conf)
    if not conf.use_stderr:
        logging.getLogger().addHandler(_warnings(options))


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


def _set_up(options: argparse.Namespace, conf: cfg.ConfigOpts) -> None:
    from oslo_log import log  # slow to import, and rarely wanted

    hook = sys.excepthook
    try:
        log.setup(conf, "compute-driver")
    except Exception as error:  # whatever the values lead to
        reason = getattr(error, "strerror", None) or error
        if options.log_file:
            raise errors.UsageError(
                f"--log-file: {options.log_file!r} is not usable: {reason}"
            ) from error
        raise exceptions.ConfigurationError(
            f"log options in [DEFAULT] are not usable: {reason}"
        ) from error
    finally:
        sys.excepthook = hook  # main reports errors itself
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # Where it finds no place to log to, oslo.log takes stdout, which is for results.
        if getattr(handler, "stream", None) is sys.stdout:
            root.removeHandler(handler)
