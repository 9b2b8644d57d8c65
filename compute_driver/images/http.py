# SPDX-License-Identifier: Apache-2.0
"""Images by HTTP and HTTPS.

An interrupted fetch continues with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14),
even in another process: a file beside the partial file keeps its validator.  ``requests`` takes
proxies from the environment, and credentials from the URL or ``~/.netrc``.

The driver asks for images without content coding, but many servers send ``Content-Encoding: gzip``
all the same: web servers for files with suffix .gz, which stay as they are, and object stores for
objects that were stored compressed, which are decoded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, TypeVar

import requests
import tenacity

from compute_driver import exceptions
from compute_driver.driver import Progress
from compute_driver.images import answers, compression
from compute_driver.images.inspect import Refusal, refused
from compute_driver.images.pieces import pour
from compute_driver.images.sources import ImageSource, basename, shown
from compute_driver.system import space, tools

#: Seconds until an interrupted fetch continues.
PAUSE = tenacity.wait_exponential(multiplier=0.5, max=10)

#: Bytes that an interruption loses at most.
_CHUNK = 64 * 1024
_GONE = (404, 410)
#: Status codes that may be gone at the next attempt.
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)

#: The end of a URL whose file is compressed by gzip.
_GZIPPED = re.compile(r"(?i)\.(gz|tgz)$")

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
            if not download.state().have or isinstance(
                error, (exceptions.ImageNotFound, exceptions.HostError)
            ):
                download.forget()
                target.unlink(missing_ok=True)
            raise
        coding = download.state().coding
        download.forget()
        if coding == answers.GZIP and not _GZIPPED.search(shown(location)):
            self._decode(location, target, progress)

    def _decode(self, location: str, target: Path, progress: Progress) -> None:
        """Remove the gzip coding of a file, if the file has the coding."""
        decoded, limits = target.with_name(f"{target.name}.decoded"), tools.limits(self.conf)
        try:
            with target.open("rb") as file:
                kind = compression.recognise(file.read(compression.MAGIC_BYTES))
                if kind is None or kind.name != "gzip":  # a proxy has decoded the content
                    return
                file.seek(0)
                for _ in pour(compression.decompress(file, kind, limits), decoded, limits):
                    progress(f"decoding {basename(location)}", file.tell(), target.stat().st_size)
            decoded.replace(target)
        except BaseException as error:
            decoded.unlink(missing_ok=True)
            target.unlink()
            if isinstance(error, Refusal):
                raise refused(shown(location), None, error) from error
            raise

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
        # Many servers refuse HEAD, above all for URLs that are signed for GET.
        with self._answer("HEAD", location, {}, accepted=range(200, 600)) as answer:
            if answer.status_code == 200:
                return answers.identity(location, answer)
        with self._answer("GET", location, {}) as answer:
            return answers.identity(location, answer)

    def _continue(
        self, location: str, download: _Download, progress: Progress, verified: bool
    ) -> None:
        before = download.state()
        headers = {"Range": f"bytes={before.have}-", "If-Range": before.validator}
        with self._answer(
            "GET", location, headers if before.have else {}, accepted=(416,)
        ) as answer:
            start, total = answers.position(answer)
            if answer.status_code == 416 and total == before.have:
                return  # an earlier fetch has got all bytes
            if not 0 <= start <= before.have or answers.has_changed(
                answer, start, before.validator
            ):
                download.forget()
                raise _TransientError(f"the server does not continue from byte {before.have}")
            if not verified:
                check_trust(location, answer, total)
            space.require(download.target.parent, total - start)
            partial = _Partial(start, answers.validator(answer), answers.coding(answer))
            with (
                space.writing(download.target.parent, total),
                download.opened(partial) as file,
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
        self, method: str, location: str, headers: dict[str, str], accepted: Collection[int] = ()
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
                _check_status(answer, location, accepted)
                # Otherwise requests decodes the content, and ranges and lengths do not fit.
                answer.raw.headers.pop("Content-Encoding", None)
                yield answer
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidProxyURL,
            UnicodeError,
        ):
            raise exceptions.InvalidParameter("image", shown(location), "a valid URL") from None
        except requests.exceptions.InvalidSchema:
            raise exceptions.ImageFetchFailed(
                f"cannot fetch {shown(location)}: the server redirects to an address, or the proxy "
                "has an address, that is not HTTP"
            ) from None
        except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects) as error:
            raise exceptions.ImageFetchFailed(
                f"cannot fetch {shown(location)}: {_reason(error)}"
            ) from None
        except requests.exceptions.RequestException as error:
            raise _TransientError(_reason(error)) from None


@dataclasses.dataclass(frozen=True)
class _Partial:
    """The first bytes of an image.

    :param have: their number.
    :param validator: their validator; empty if they are of no use for the next fetch.
    :param coding: the coding of the content.
    """

    have: int = 0
    validator: str = ""
    coding: str = ""


class _Download:
    """A partial file with a note of validator and coding; both stay when the process ends."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._note = target.with_name(target.name + ".validator")

    def state(self) -> _Partial:
        """Return the number of bytes in the file; 0 if they are of no use."""
        try:
            validator, _, coding = self._note.read_text("ascii").partition("\n")
            have = self.target.stat().st_size
        except FileNotFoundError:
            return _Partial()
        return _Partial(have if validator else 0, validator, coding)

    @contextlib.contextmanager
    def opened(self, partial: _Partial) -> Iterator[IO[bytes]]:
        """Open the file for writing after its first bytes."""
        if partial.have == 0:
            self.forget()
        with open(self.target, "r+b" if partial.have else "wb") as file:
            file.truncate(partial.have)
            file.seek(partial.have)
            if partial.have == 0:
                # The old bytes are gone and no new byte is there: the validator fits all bytes.
                self._note.write_text(f"{partial.validator}\n{partial.coding}", "ascii")
            yield file

    def forget(self) -> None:
        """Make the next attempt begin at byte 0."""
        self._note.unlink(missing_ok=True)


def _check_status(answer: requests.Response, location: str, accepted: Collection[int]) -> None:
    status = answer.status_code
    reply = f"the server answered {status} {answer.reason or ''}".rstrip()
    if status in _GONE:
        raise exceptions.ImageNotFound(f"there is no image {shown(location)}: {reply}")
    if status in (200, 206) and answers.coding(answer) not in answers.CODINGS:
        raise exceptions.ImageFetchFailed(
            f"cannot fetch {shown(location)}: the server sends the image in coding "
            f"{answers.coding(answer)!r}; accepted: gzip, or no coding"
        )
    if status in (200, 206, *accepted):
        return
    if status in _TRANSIENT:
        raise _TransientError(reply)
    raise exceptions.ImageFetchFailed(f"cannot fetch {shown(location)}: {reply}")


def check_trust(location: str, answer: requests.Response, total: int) -> None:
    """Refuse an answer whose bytes only a checksum could prove.

    :raises ImageFetchFailed: if the end is not told, or a redirect leaves HTTPS.
    """
    urls = [location, *(hop.url for hop in answer.history), answer.url]
    secure = [url.lower().startswith("https:") for url in urls]
    doubts = {
        "the server does not tell the length of the image, so that nobody would notice a missing"
        " end": not answers.shows_its_end(answer, total),
        "the server redirects from HTTPS to HTTP, so that others could change the image": (
            any(secure) and not secure[-1]
        ),
    }
    for doubt, holds in doubts.items():
        if holds:
            raise exceptions.ImageFetchFailed(
                f"cannot fetch {shown(location)}: {doubt}; give the image's checksum"
            )


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
