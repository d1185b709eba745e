"""The form in which an answer is kept: what was sent, compressed. Nothing here needs more than the standard library."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from hashlib import sha256

from cloudeye.services.answer import Answer

LEVEL = 6
LONGEST_HEAD = 20_000  # bytes, more than a URL and a header take
KEPT_HEADERS = ("content-type", "location", "refresh")


def pack(answer: Answer) -> bytes:
    """Return an answer compressed."""
    return zlib.compress(_plain(answer), LEVEL)


def unpack(data: bytes) -> Answer:
    """Return the answer that was packed.

    Raises:
        ValueError: it is none of ours.
    """
    try:
        return _read(zlib.decompress(data))
    except zlib.error as error:
        raise ValueError("not a page that was kept") from error


@dataclass(frozen=True, slots=True)
class Beginning:
    """The beginning of an answer that was kept, and whether that is all of it."""

    answer: Answer
    complete: bool


def beginning(data: bytes, most: int) -> Beginning:
    """Return an answer with at most so many bytes of its body, without unpacking more of it.

    Raises:
        ValueError: it is none of ours.
    """
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(data, LONGEST_HEAD + most)
    except zlib.error as error:
        raise ValueError("not a page that was kept") from error
    answer = _read(plain)
    return Beginning(replace(answer, body=answer.body[:most]), unpacking.eof and len(answer.body) <= most)


def name(answer: Answer) -> str:
    """The name under which an answer is kept: SHA-256 of all that is kept of it (64 hexadecimal digits)."""
    return sha256(_plain(answer)).hexdigest()


def size(answer: Answer) -> int:
    """How many bytes are kept, before they are compressed."""
    return len(_plain(answer))


def _plain(answer: Answer) -> bytes:
    headers = [[key, value] for key, value in answer.headers if key in KEPT_HEADERS]
    facts = {"status": answer.status, "headers": headers, "url": answer.url, "truncated": answer.truncated}
    return json.dumps(facts, sort_keys=True).encode() + b"\n" + answer.body


def _read(plain: bytes) -> Answer:
    head, _, body = plain.partition(b"\n")
    try:
        facts = json.loads(head)
        return Answer(
            status=facts["status"],
            headers=tuple((key, value) for key, value in facts["headers"]),
            body=body,
            url=facts["url"],
            truncated=facts["truncated"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("not a page that was kept") from error
