# SPDX-License-Identifier: Apache-2.0
"""Images by HTTP and HTTPS.

An interrupted fetch continues with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14),
even in another process: a file beside the partial file keeps its validator.  ``requests`` takes
proxies from the environment, and credentials from the URL or ``~/.netrc``.
"""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

import requests
import tenacity

from compute_driver import exceptions
from compute_driver.driver import Progress
from compute_driver.images.sources import ImageSource, basename, shown
from compute_driver.system import space

#: Seconds until an interrupted fetch continues.
PAUSE = tenacity.wait_exponential(multiplier=0.5, max=10)

#: Bytes that an interruption loses at most.
_CHUNK = 64 * 1024
_GONE = (404, 410)
#: Status codes that may be gone at the next attempt.
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
#: Status codes of servers that serve GET only; 403 comes from a link that is signed for GET.
_NO_HEAD = (403, 405, 501)

#: Header fields that change with the bytes; RFC 9110, section 8.8.
_VALIDATORS = ("ETag", "Last-Modified")

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")

#: Reasons for errors without an error number.
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "no byte came within [hypervisor] image_fetch_timeout"),
    (http.client.IncompleteRead, "the connection ended early"),
    (ConnectionError, "the connection ended early"),
)

R = TypeVar("R")


class _TransientError(Exception):
    """The transfer has failed, but the next attempt may succeed."""


class HttpSource(ImageSource):
    """Images of web servers: ``http://`` and ``https://`` URLs."""

    def identify(self, location: str) -> str | None:
        """Return the URL and the server's validators; None if the server sends no validator."""
        return self._persist(location, lambda: self._identify(location))

    def fetch(
        self, location: str, target: Path, progress: Progress, *, verified: bool = False
    ) -> None:
        """Download to *target*; continue from the bytes of an earlier fetch."""
        download = _Download(target)
        try:
            self._persist(location, lambda: self._continue(location, download, progress, verified))
        except BaseException as error:
            have, _ = download.state()
            if not have or isinstance(error, (exceptions.ImageNotFound, exceptions.HostError)):
                download.forget()
                target.unlink(missing_ok=True)
            raise
        download.forget()

    def _persist(self, location: str, attempt: Callable[[], R]) -> R:
        retries = self.conf.hypervisor.image_fetch_retries
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TransientError),
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=PAUSE,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _TransientError as error:
            raise exceptions.ImageFetchFailed(
                f"cannot fetch {shown(location)}: {error} (tried {retries + 1} times)"
            ) from None

    def _identify(self, location: str) -> str | None:
        with self._answer("HEAD", location, {}, accepted=_NO_HEAD) as answer:
            if answer.status_code not in _NO_HEAD:
                return _identity(location, answer)
        with self._answer("GET", location, {}) as answer:
            return _identity(location, answer)

    def _continue(
        self, location: str, download: _Download, progress: Progress, verified: bool
    ) -> None:
        have, validator = download.state()
        headers = {"Range": f"bytes={have}-", "If-Range": validator} if have else {}
        with self._answer("GET", location, headers, accepted=(416,)) as answer:
            start, total = _range(answer)
            if answer.status_code == 416 and total == have:
                return  # an earlier fetch has got all bytes
            if answer.status_code == 416 or start not in (0, have):
                download.forget()
                raise _TransientError(f"the server does not continue from byte {have}")
            if not (verified or _shows_its_end(answer, total)):
                raise exceptions.ImageFetchFailed(
                    f"cannot fetch {shown(location)}: the server does not tell the length of the"
                    " image, so that nobody would notice a missing end; give the image's checksum"
                )
            space.require(download.target.parent, total - start)
            with (
                space.writing(download.target.parent, total),
                download.opened(start, _validator(answer)) as file,
            ):
                done = start
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    progress(f"fetching {basename(location)}", done, total)
        if done < total:
            raise _TransientError(f"the connection ended after {done} of {total} bytes")

    @contextlib.contextmanager
    def _answer(
        self, method: str, location: str, headers: dict[str, str], accepted: tuple[int, ...] = ()
    ) -> Iterator[requests.Response]:
        """Send a request; turn errors, also of the caller's block, into errors without credentials.

        :param accepted: status codes that the caller understands, besides 200 and 206.
        """
        # Lengths and ranges count bytes without compression.
        headers = {"Accept-Encoding": "identity"} | headers
        try:
            with (
                requests.Session() as session,
                session.request(
                    method,
                    location,
                    headers=headers,
                    timeout=self.conf.hypervisor.image_fetch_timeout,
                    stream=True,
                    allow_redirects=True,
                ) as answer,
            ):
                _check(answer, location, accepted)
                yield answer
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidProxyURL,
            UnicodeError,
        ):
            raise exceptions.InvalidParameter("image", shown(location), "a valid URL") from None
        except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects) as error:
            raise exceptions.ImageFetchFailed(
                f"cannot fetch {shown(location)}: {_reason(error)}"
            ) from None
        except requests.exceptions.RequestException as error:
            raise _TransientError(_reason(error)) from None


class _Download:
    """A partial file and its validator; both stay when the process ends."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._note = target.with_name(target.name + ".validator")

    def state(self) -> tuple[int, str]:
        """Return the number of bytes in the file and their validator; 0 if they are of no use."""
        try:
            validator = self._note.read_text("ascii")
            have = self.target.stat().st_size
        except FileNotFoundError:
            return 0, ""
        return (have, validator) if validator else (0, "")

    @contextlib.contextmanager
    def opened(self, start: int, validator: str) -> Iterator[IO[bytes]]:
        """Open the file for writing at byte *start*, the end of the file or 0."""
        if start == 0:
            self.forget()
        with open(self.target, "ab" if start else "wb") as file:
            if start == 0:
                # The old bytes are gone and no new byte is there: the validator fits all bytes.
                self._note.write_text(validator, "ascii")
            yield file

    def forget(self) -> None:
        """Make the next attempt begin at byte 0."""
        self._note.unlink(missing_ok=True)


def _check(answer: requests.Response, location: str, accepted: tuple[int, ...]) -> None:
    status = answer.status_code
    reply = f"the server answered {status} {answer.reason or ''}".rstrip()
    if status in _GONE:
        raise exceptions.ImageNotFound(f"there is no image {shown(location)}: {reply}")
    if status in _TRANSIENT:
        raise _TransientError(reply)
    if status not in (200, 206, *accepted):
        raise exceptions.ImageFetchFailed(f"cannot fetch {shown(location)}: {reply}")
    coding = answer.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise exceptions.ImageFetchFailed(
            f"cannot fetch {shown(location)}: the server sends the image in coding {coding!r}"
        )


def _identity(location: str, answer: requests.Response) -> str | None:
    if not any(name in answer.headers for name in _VALIDATORS):
        return None  # an image can change without changing its length
    names = (*_VALIDATORS, "Content-Length")
    return "\n".join([location, *(answer.headers.get(name, "") for name in names)])


def _validator(answer: requests.Response) -> str:
    """Return a validator for If-Range: a strong ETag or the date; RFC 9110, section 13.1.5."""
    etag = answer.headers.get("ETag", "")
    strong = "" if etag.startswith("W/") else etag
    validator = strong or answer.headers.get("Last-Modified", "")
    return validator if validator.isascii() else ""


def _range(answer: requests.Response) -> tuple[int, int]:
    """Return the position of the body's first byte, and the length of the image or 0."""
    if answer.status_code == 200:
        return 0, _number(answer.headers.get("Content-Length"))
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return (_number(found[1]), _number(found[2])) if found else (-1, 0)


def _shows_its_end(answer: requests.Response, total: int) -> bool:
    """Tell whether a cut connection differs from the end of the body; RFC 9112, section 6.3."""
    chunked = answer.headers.get("Transfer-Encoding", "").lower() == "chunked"
    framed = chunked or "Content-Length" in answer.headers
    return total > 0 or (answer.status_code == 200 and framed)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _reason(error: BaseException) -> str:
    """Return the reason inside *error*; the text of *error* itself shows the whole URL."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        inner = todo.pop(0)
        if not isinstance(inner, BaseException) or inner in seen:
            continue
        seen.append(inner)
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        for kind, reason in _REASONS:
            if isinstance(inner, kind):
                return reason
        todo += [*inner.args, getattr(inner, "reason", None), inner.__context__]
    return type(error).__name__
