# SPDX-License-Identifier: Apache-2.0
"""Logging of the command line: one line for each warning, or everything by oslo.log.

oslo.log's options are in group ``[DEFAULT]`` of the configuration; the options of the command line
take precedence.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from compute_driver import exceptions
from compute_driver.cmd import errors, verb

if TYPE_CHECKING:
    from oslo_config import cfg

LOG = logging.getLogger(__name__)

#: Values of ``verbose_level``.
QUIET, NORMAL = 0, 1

#: oslo.log's options that set the target of the log.
_SINKS = ("log_config_append", "log_file", "log_dir", "use_syslog", "use_journal", "use_stderr")


@contextlib.contextmanager
def configured(options: argparse.Namespace) -> Iterator[None]:
    """Log warnings to stderr for the time of one command; with --quiet, log errors only.

    Python's warnings, such as libraries' deprecations, are messages of the log, too.
    """
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        root.addHandler(_warnings(options))
        logging.captureWarnings(True)
        yield
    finally:
        logging.captureWarnings(False)
        for handler in set(root.handlers).difference(before[0]):
            handler.close()
        root.handlers[:], root.level = before


def note(options: argparse.Namespace, error: Exception | KeyboardInterrupt) -> None:
    """Write the error that ends a command to the log, except to stderr, where the user reads it.

    The traceback is for debugging.
    """
    root = logging.getLogger()
    opened = any(isinstance(handler, logging.FileHandler) for handler in root.handlers)
    if options.log_file and not opened:  # the configuration has not been read
        with contextlib.suppress(exceptions.ComputeDriverError):
            follow(options, _defaults())
    # Without any handler, Python writes to stderr.
    elsewhere = [kept for kept in root.handlers if getattr(kept, "stream", None) is not sys.stderr]
    root.handlers[:] = elsewhere or [logging.NullHandler()]
    text, _status = errors.outcome(error)
    LOG.error("%s", text, exc_info=error if LOG.isEnabledFor(logging.DEBUG) else None)


def _defaults() -> cfg.ConfigOpts:
    """Return the defaults of oslo.log's options."""
    from oslo_config import cfg
    from oslo_log import log

    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    return conf


def follow(options: argparse.Namespace, conf: cfg.ConfigOpts) -> None:
    """Log by oslo.log if the global options or the configuration ask for a log.

    :raises UsageError: if the file of option --log-file is not usable.
    :raises ConfigurationError: if the configuration's log options are not usable.
    """
    verbose = options.debug or options.verbose_level > NORMAL
    quiet = options.verbose_level == QUIET
    has_target = options.log_file or any(conf[name] for name in _SINKS)
    if not (verbose or has_target or conf.debug):
        return
    if verbose or options.log_file:
        conf.set_override("log_config_append", None)
    if verbose or quiet or not has_target:
        conf.set_override("use_stderr", verbose or not quiet)
    if options.debug:
        conf.set_override("debug", True)
    if options.log_file:
        conf.set_override("log_file", verb.absolute("--log-file", options.log_file))
    _set_up(options, conf)
    if not conf.use_stderr:
        logging.getLogger().addHandler(_warnings(options))


class _Once(logging.Filter):
    """Passes every message of this package once, and no message of libraries."""

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
    from oslo_log import log  # slow to import, and rarely used

    hook = sys.excepthook
    try:
        log.setup(conf, "compute-driver")
    except Exception as error:  # bad values raise errors of many classes
        reason = getattr(error, "strerror", None) or error
        if options.log_file:
            raise errors.UsageError(
                f"--log-file: {options.log_file!r} is not usable: {reason}"
            ) from error
        raise exceptions.ConfigurationError(
            f"log options in [DEFAULT] are not usable: {reason}"
        ) from error
    finally:
        sys.excepthook = hook  # oslo.log has changed it; main reports errors itself
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # Without a target oslo.log logs to stdout, which takes results only.
        if getattr(handler, "stream", None) is sys.stdout:
            root.removeHandler(handler)
