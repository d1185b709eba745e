"""What the body of an answer says: its encoding, keywords in it, and how it is taken in."""

from __future__ import annotations

import codecs
import gzip
import tracemalloc
import zlib

import gevent
import pytest

from cloudeye.services import answer as answers
from cloudeye.services.answer import Answer
from cloudeye.services.probe_body import Body
from cloudeye.services.probe_wire import Failed


def make(body: bytes, content_type: str | None = "text/html") -> Answer:
    headers = () if content_type is None else (("content-type", content_type),)
    return Answer(200, headers, body, "http://x/", False)


@pytest.mark.parametrize(
    ("content_type", "body", "codec"),
    [
        (None, b"", "utf-8"),
        ("text/html", b"x", "utf-8"),
        ("text/html; charset=ISO-8859-1", b"x", "cp1252"),  # as browsers take it
        ('text/html;charset="Shift_JIS"', b"x", "cp932"),
        ("text/html; charset = 'gb2312'", b"x", "gb18030"),
        ("text/html; charset=utf-16", b"x", "utf-16-le"),
        ("text/html; charset=iso-8859-2", codecs.BOM_UTF8 + b"x", "utf-8"),  # a byte order mark goes first
        ("text/html; charset=utf-8", codecs.BOM_UTF16_BE + b"x", "utf-16-be"),
        ("text/html", b"<html><head><meta charset=windows-1251>", "cp1251"),
        ("text/html", b"<META\nHTTP-EQUIV='Content-Type' content='text/html; charset=EUC-JP'>", "euc_jp"),
        ("text/html; charset=utf-8", b"<meta charset=windows-1251>", "utf-8"),  # the header goes before the page
        ("text/xml", b'<?xml version="1.0" encoding="koi8-r"?>', "koi8_r"),
        ("text/html", b"<meta charset=utf-16>", "utf-8"),
        ("text/html", b" " * 1020 + b"<meta charset=windows-1251>", "utf-8"),  # too far from the beginning
        ("text/html; charset=nonsense", b"<meta charset=big5>", "big5hkscs"),
        # Codecs of Python that are no encodings of text, or dear.
        ("text/html; charset=zip", b"x", "utf-8"),
        ("text/html; charset=punycode", b"x", "utf-8"),
        ("text/html; charset=unicode_escape", b"x", "utf-8"),
        ("text/html; charset=utf-7", b"+ADw-script+AD4-", "utf-8"),
        ("text/html; charset=../../etc/passwd", b"x", "utf-8"),
        ("text/html; charset=" + "x" * 9999, b"x", "utf-8"),
    ],
)
def test_the_encoding_is_the_one_a_browser_takes(content_type: str | None, body: bytes, codec: str) -> None:
    assert make(body, content_type).charset() == codec


def test_every_label_names_an_encoding_of_text_that_python_has() -> None:
    for codec in answers._LABELS:
        assert "Ab1" in codecs.decode(codecs.encode("Ab1", codec), codec)


@pytest.mark.parametrize("codec", sorted(answers._SEARCHED_AS_BYTES - {"utf-8"}))
def test_where_bytes_are_searched_each_byte_is_a_character_of_its_own(codec: str) -> None:
    for number in range(256):
        assert len(bytes([number]).decode(codec, "replace")) == 1


@pytest.mark.parametrize(
    ("charset", "text", "keyword", "held"),
    [
        ("utf-8", "Grüße aus Köln", "Köln", True),
        ("utf-8", "Grüße aus Köln", "köln", False),  # case and all
        ("iso-8859-1", "Grüße aus Köln", "Köln", True),
        ("windows-1251", "Привет, мир", "мир", True),
        ("windows-1251", "Привет, мир", "世", False),  # not to be written in it
        ("gb2312", "你好，世界", "世界", True),
        ("shift_jis", "ソフト", "フト", True),
        ("shift_jis", "ソフト", "\\", False),  # the second byte of ソ
        ("big5", "功能", "\\", False),
        ("iso-2022-jp", "日本語", "本語", True),
        ("euc-kr", "안녕하세요", "하세", True),
        ("utf-16le", "Ok 世界", "世界", True),
        ("utf-16le", "\u4100\u0042", "A", False),  # 41 lies in it, across two characters
    ],
)
def test_a_keyword_is_looked_for_in_the_text_not_in_its_bytes(
    charset: str, text: str, keyword: str, held: bool
) -> None:
    answer = make(text.encode(charset), f"text/html; charset={charset}")
    assert answer.holds(keyword) is held


@pytest.mark.parametrize("charset", ["gb18030", "utf-16le", "shift_jis"])
@pytest.mark.parametrize("before", [65530, 65533, 65535, 65536, 131070, 131072])
def test_a_keyword_is_found_across_the_pieces_a_body_is_decoded_in(charset: str, before: int) -> None:
    body = b"a" * before if charset != "utf-16le" else b"a\0" * (before // 2)
    answer = make(body + "世界".encode(charset) + b"a\0" * 9, f"text/html; charset={charset}")
    assert answer.holds("世界")
    assert not answer.holds("世世")


def test_others_get_their_turn_while_a_large_body_is_decoded() -> None:
    turns: list[int] = []

    def other() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0)

    greenlet = gevent.spawn(other)
    assert not make(b"\x81\x30\x81" * 350_000, "text/html; charset=gb18030").holds("x")
    greenlet.kill()
    assert len(turns) >= 16  # pieces of 64 KiB


# -- taking it in ------------------------------------------------------------------------------------------------


def take(parts: list[bytes], coding: str = "", limit: int = 1000) -> Body:
    body = Body(coding, limit)
    for part in parts:
        if not body.take(part):
            return body
    body.end()
    return body


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("", b"hello"),
        ("identity", b"hello"),
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("X-GZIP", gzip.compress(b"hello", mtime=0)),
        ("identity, gzip", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", raw(b"hello")),
        ("gzip", gzip.compress(b"hello", mtime=0) + b"junk" * 99),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 7, 999])
def test_a_body_is_unpacked_however_it_is_cut(coding: str, packed: bytes, size: int) -> None:
    body = take([packed[at : at + size] for at in range(0, len(packed), size)], coding)
    assert (body.content(), body.size, body.truncated, body.packed) == (b"hello", 5, False, None)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "deflate,gzip", "compress", "x" * 999, "gzip;q=1"])
def test_a_coding_that_is_not_undone_is_named_and_nothing_is_kept(coding: str) -> None:
    body = take([b"whatever"], coding)
    assert (body.content(), body.truncated) == (b"", True)
    assert body.packed
    assert len(body.packed) <= 60


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_cannot_be_unpacked_is_said_to(coding: str) -> None:
    with pytest.raises(Failed, match="cannot be unpacked"):
        take([b"\xff\xff plain text"], coding)


@pytest.mark.parametrize("cut", [1, 8, 12])
def test_a_packed_body_that_ends_early_is_kept_and_said_to_be_cut(cut: int) -> None:
    body = take([gzip.compress(bytes(range(200)))[:-cut]], "gzip")
    assert body.truncated
    assert bytes(range(200)).startswith(body.content())


@pytest.mark.parametrize(("sent", "kept", "truncated"), [(999, 999, False), (1000, 1000, False), (1001, 1000, True)])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_body_is_cut_at_the_limit(sent: int, kept: int, truncated: bool, coding: str) -> None:
    data = b"x" * sent
    body = take([gzip.compress(data) if coding else data], coding)
    assert (len(body.content()), body.size, body.truncated) == (kept, kept, truncated)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw, None], ids=["gzip", "zlib", "deflate", "plain"])
def test_a_body_is_held_in_memory_once(pack: object) -> None:
    size = 4_000_000
    coding = "" if pack is None else "gzip" if pack is gzip.compress else "deflate"
    data = pack(bytes(size * 20)) if callable(pack) else None
    tracemalloc.start()
    body = Body(coding, size)
    at = 0
    while body.take(data[at : at + 32768] if data is not None else bytes(32768)):
        at += 32768
    content = body.content()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(content) == size
    print(f"{size / 1e6:g} MB kept, {peak / 1e6:.1f} MB at the peak")
    # Growing a buffer may take half as much again; unpacking is done in small steps.
    assert peak < 1.6 * size
