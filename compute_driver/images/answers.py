# SPDX-License-Identifier: Apache-2.0
"""The facts about an image in the answer of a web server (RFC 9110)."""

from __future__ import annotations

import email.utils
import re

import requests

GZIP = "gzip"

#: Accepted codings of the content.
CODINGS = frozenset({"", GZIP})

#: Object stores also send the coding of the upload, or an empty coding.
_UNCODED = frozenset({"", "identity", "aws-chunked"})
_GZIP_NAMES = {"x-gzip": GZIP}

#: Header fields that change with the bytes; RFC 9110, section 8.8.
_VALIDATORS = ("ETag", "Last-Modified")

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")

#: Parameters that show a signed URL: of S3's two versions and CloudFront, Google, Azure and Swift.
_SIGNATURES = {"x-amz-signature", "signature", "x-goog-signature", "sig", "temp_url_sig"}

#: Parameters that belong to signatures, and beginnings of their names.  None chooses the image.
_SIGNING = _SIGNATURES | {
    *("awsaccesskeyid", "expires", "policy", "key-pair-id", "googleaccessid"),
    *("sv", "se", "st", "sp", "sr", "spr", "sip", "skoid", "sktid", "skt", "ske", "sks", "skv"),
}
_SIGNING_PREFIXES = ("x-amz-", "x-goog-", "temp_url_")


def coding(answer: requests.Response) -> str:
    """Return the coding of the content, in lower case; empty if there is none."""
    header = answer.headers.get("Content-Encoding", "")
    names = (_GZIP_NAMES.get(name, name) for name in map(_normal, header.split(",")))
    found = ",".join(name for name in names if name not in _UNCODED)
    return found if found.isascii() else "?"


def _normal(name: str) -> str:
    return name.strip().lower()


def identity(location: str, answer: requests.Response) -> str | None:
    """Return a string that changes with the bytes at a URL; None if the server sends no validator.

    The string may contain secrets of the URL.
    """
    if not any(name in answer.headers for name in _VALIDATORS):
        return None  # an image can change without changing its length
    names = (*_VALIDATORS, "Content-Length")
    return "\n".join([_unsigned(location), *(answer.headers.get(name, "") for name in names)])


def _unsigned(location: str) -> str:
    """Return a URL without the parameters that only sign it: each signature is another one."""
    url, mark, query = location.partition("?")
    parameters = [(part.partition("=")[0].lower(), part) for part in query.split("&")]
    if not _SIGNATURES & {name for name, _ in parameters}:
        return location
    kept = (
        part
        for name, part in parameters
        if name not in _SIGNING and not name.startswith(_SIGNING_PREFIXES)
    )
    return url + mark + "&".join(kept)


def validator(answer: requests.Response) -> str:
    """Return a validator for If-Range: a strong ETag or the date; RFC 9110, section 13.1.5."""
    etag = answer.headers.get("ETag", "")
    strong = "" if etag.startswith("W/") else etag
    found = strong or _strong_date(answer)
    return found if found.isascii() else ""


def _strong_date(answer: requests.Response) -> str:
    """Return Last-Modified if the image cannot have changed since; RFC 9110, section 8.8.2.2."""
    header = answer.headers.get("Last-Modified", "")
    try:
        modified = email.utils.parsedate_to_datetime(header).timestamp()
        sent = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return ""
    return header if modified < sent else ""


def has_changed(answer: requests.Response, start: int, expected: str) -> bool:
    """Tell whether a continuation belongs to another image.

    Some servers and proxies ignore If-Range.  They send the ETag with each part, and may leave out
    Last-Modified (RFC 9110, section 15.3.7).
    """
    if start == 0:
        return False
    sent = {answer.headers.get(name) for name in _VALIDATORS} - {None}
    return bool(sent) and expected not in sent


def position(answer: requests.Response) -> tuple[int, int]:
    """Return the position of the body's first byte, and the length of the image or 0."""
    if answer.status_code == 200:
        return 0, _number(answer.headers.get("Content-Length"))
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return (_number(found[1]), _number(found[2])) if found else (-1, 0)


def shows_its_end(answer: requests.Response, total: int) -> bool:
    """Tell whether a cut connection differs from the end of the body; RFC 9112, section 6.3."""
    chunked = answer.headers.get("Transfer-Encoding", "").lower() == "chunked"
    framed = chunked or answer.headers.get("Content-Length", "").isdecimal()
    return total > 0 or (answer.status_code == 200 and framed)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
