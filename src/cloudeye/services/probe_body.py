"""The body of an answer as it comes in: unpacked as it goes, bounded, and kept once."""

from __future__ import annotations

import zlib
from io import BytesIO

from cloudeye.services.probe_wire import Failed

MAX_CHUNKS = 8192  # each costs as much as some kilobytes
_GZIP_OR_ZLIB = 47  # wbits: told apart by their headers (zlib's inflateInit2)
_RAW = -15
_STEP = 65536  # bytes unpacked at a time


class Body:
    """Takes the parts of a body.

    Arguments:
        content_encoding: the header's value; a coding that cannot be undone makes the body empty and `packed`.
        limit: bytes kept at most, and read at most.
    """

    __slots__ = ("_buffer", "_inflate", "_limit", "_parts", "_received", "_start", "packed", "size", "truncated")

    def __init__(self, content_encoding: str, limit: int) -> None:
        codings = [
            word for word in content_encoding.lower().replace(" ", "").split(",") if word not in ("", "identity")
        ]
        self.packed: str | None = None
        self.size = 0
        self.truncated = False
        self._inflate: zlib._Decompress | None = None
        self._start: bytes | None = None  # of a deflated body, until it shows which of two forms it has
        if codings in (["gzip"], ["x-gzip"]):
            self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif codings == ["deflate"]:
            self._start = b""
        elif codings:
            # br and zstd, which nobody asked for, and one coding on top of another.
            self.packed = ", ".join(codings)[:60]
            self.truncated = True
        self._limit = limit
        self._received = self._parts = 0
        self._buffer = BytesIO()

    def take(self, data: bytes | bytearray) -> bool:
        """Take the next part in; whether more may come. Raises Failed when it cannot be unpacked."""
        self._parts += 1
        self._received += len(data)
        if self.packed is None:
            self._keep(data)
        if self.size > self._limit or self._received > self._limit or self._parts > MAX_CHUNKS:
            self.truncated = True
            self.size = min(self.size, self._limit)
            self._buffer.truncate(self.size)
            return False
        return True

    def end(self) -> None:
        """The last part has come."""
        if self._inflate is not None and self._received and not self._inflate.eof:
            self.truncated = True  # browsers show what there is

    def content(self) -> bytes:
        """All that was kept; no copy is made of it."""
        return self._buffer.getvalue()

    def _keep(self, data: bytes | bytearray) -> None:
        room = self._limit + 1 - self.size
        if self._start is not None:
            # "deflate" means zlib's form (RFC 9110, 8.4.1.2), but some send it without zlib's header.
            self._start += bytes(data)
            if len(self._start) < 2:
                return
            zlib_form = self._start[0] & 15 == 8 and int.from_bytes(self._start[:2], "big") % 31 == 0
            self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB if zlib_form else _RAW)
            data, self._start = self._start, None
        if self._inflate is None:
            self.size += self._buffer.write(memoryview(data)[:room])
            return
        try:
            # What follows the end of a packed body is not shown by browsers either.
            while not self._inflate.eof and self.size <= self._limit:
                step = self._inflate.decompress(data, min(_STEP, self._limit + 1 - self.size))
                self.size += self._buffer.write(step)
                data = self._inflate.unconsumed_tail
                if not data and len(step) < _STEP:
                    break
        except zlib.error:
            raise Failed("bad_encoding", "the compressed body cannot be unpacked") from None
