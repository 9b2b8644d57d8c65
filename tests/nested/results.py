# SPDX-License-Identifier: Apache-2.0
"""What became of the tests, as a subunit stream that stestr reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import testtools

#: The name under which a failure of the test host itself is reported.
HOST_TEST = "tests.nested.host"

_CLASS_SETUP = re.compile(r"setUpClass \((.+)\)")
_MIME_TYPE = "text/plain;charset=utf8"


class Ended(testtools.StreamResult):
    """Takes note of the tests that have ended, in whichever way."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: set[str] = set()

    def status(self, test_id: str | None = None, test_status: str | None = None, **_: Any) -> None:
        """Take an event of the stream."""
        if test_id is not None and test_status not in (None, "exists", "inprogress"):
            self._ids.add(test_id)

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Return those of which nothing was heard, nor of their class."""
        classes = {match[1] for each in self._ids if (match := _CLASS_SETUP.fullmatch(each))}
        return [
            each for each in wanted if not {each, each.rpartition(".")[0]} & (self._ids | classes)
        ]


def report_failure(stream: testtools.StreamResult, reason: str, console: str) -> None:
    """Add a test to a stream that has failed.

    :param reason: why.
    :param console: what the test host's console showed.
    """
    for name, text in (("console", console), ("reason", reason)):
        stream.status(
            test_id=HOST_TEST,
            file_name=name,
            file_bytes=text.encode(),
            mime_type=_MIME_TYPE,
        )
    stream.status(test_id=HOST_TEST, test_status="fail", eof=True)
