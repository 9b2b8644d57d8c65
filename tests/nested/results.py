# SPDX-License-Identifier: Apache-2.0
"""Results of tests, as a subunit stream that stestr reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import testtools

#: Name of the test that reports a failure of the test host itself.
HOST_TEST = "tests.nested.host"

_CLASS_SETUP = re.compile(r"setUpClass \((.+)\)")
_MIME_TYPE = "text/plain;charset=utf8"


class Ended(testtools.StreamResult):
    """Collects the IDs of tests that have ended, with any result."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: set[str] = set()

    def status(self, test_id: str | None = None, test_status: str | None = None, **_: Any) -> None:
        """Take an event of the stream."""
        if test_id is not None and test_status not in (None, "exists", "inprogress"):
            self._ids.add(test_id)

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Return the tests without a result of their own or of their class."""
        classes = {match[1] for name in self._ids if (match := _CLASS_SETUP.fullmatch(name))}
        return [
            name for name in wanted if not {name, name.rpartition(".")[0]} & (self._ids | classes)
        ]


def report_failure(stream: testtools.StreamResult, reason: str, console: str) -> None:
    """Add a failed test to a stream.

    :param reason: of the failure.
    :param console: text of the test host's console.
    """
    for name, text in (("console", console), ("reason", reason)):
        stream.status(
            test_id=HOST_TEST,
            file_name=name,
            file_bytes=text.encode(),
            mime_type=_MIME_TYPE,
        )
    stream.status(test_id=HOST_TEST, test_status="fail", eof=True)
