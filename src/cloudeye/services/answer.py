"""What a site answered: status, headers and body, and what its body says.

A body is looked at as it was sent: nothing is rendered, and entities of HTML stay what they are.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

import gevent

# Labels of the WHATWG Encoding standard that are in use, and Python's name for what they mean. Only these: other
# codecs of Python are no text at all (zip), cost quadratic time (punycode), or are remembered for ever when
# somebody asks for a name that does not exist.
_LABELS = {
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8",
    "cp1252": "ascii us-ascii latin1 l1 iso-8859-1 iso8859-1 iso_8859-1 cp1252 windows-1252 x-cp1252",
    "cp1250": "windows-1250 cp1250 x-cp1250",
    "cp1251": "windows-1251 cp1251 x-cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1254": "windows-1254 cp1254 iso-8859-9 iso8859-9 latin5",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "cp866": "ibm866 cp866 866",
    "cp874": "windows-874 tis-620 iso-8859-11",
    "iso8859_2": "iso-8859-2 iso8859-2 latin2",
    "iso8859_3": "iso-8859-3",
    "iso8859_4": "iso-8859-4",
    "iso8859_5": "iso-8859-5 cyrillic",
    "iso8859_6": "iso-8859-6 arabic",
    "iso8859_7": "iso-8859-7 greek",
    "iso8859_8": "iso-8859-8 hebrew iso-8859-8-i",
    "iso8859_10": "iso-8859-10",
    "iso8859_13": "iso-8859-13",
    "iso8859_14": "iso-8859-14",
    "iso8859_15": "iso-8859-15 latin9",
    "iso8859_16": "iso-8859-16",
    "koi8_r": "koi8-r koi8 koi",
    "koi8_u": "koi8-u koi8-ru",
    "mac_roman": "macintosh mac x-mac-roman",
    "gb18030": "gb18030 gbk gb2312 gb_2312-80 x-gbk chinese",
    "big5hkscs": "big5 big5-hkscs cn-big5 x-x-big5",
    "euc_jp": "euc-jp x-euc-jp",
    "cp932": "shift_jis shift-jis sjis x-sjis windows-31j ms_kanji",
    "iso2022_jp": "iso-2022-jp",
    "cp949": "euc-kr ks_c_5601-1987 korean windows-949 ksc5601",
    "utf-16-le": "utf-16 utf-16le unicode",
    "utf-16-be": "utf-16be",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
# Where a keyword's bytes cannot begin in the middle of another character, so that the body need not be decoded.
_SEARCHED_AS_BYTES = frozenset(_LABELS) - {
    "gb18030",
    "big5hkscs",
    "euc_jp",
    "cp932",
    "iso2022_jp",
    "cp949",
    "utf-16-le",
    "utf-16-be",
}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_IN_HEADER = re.compile(r"charset\s*=\s*[\"']?([^\s\"';,]{1,40})", re.IGNORECASE)
_IN_PAGE = re.compile(
    rb"<meta[^>]{1,300}?charset\s*=\s*[\"']?\s*([\w:.-]{1,40})|<\?xml[^>]{1,100}?encoding\s*=\s*[\"']([\w:.-]{1,40})",
    re.IGNORECASE,
)
_SNIFFED = 1024  # bytes in which a page must say its encoding (HTML, 4.2.5.4)
_PIECE = 65536  # bytes decoded before other greenlets get their turn


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are lower-case, headers in the order they were sent in, undecodable bytes Latin-1.

    `body` is unpacked and bounded. `truncated` says that it is not all there: larger than wanted, ended early, or
    packed in a way that cannot be undone; `packed` then names that coding, and the body is empty.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str
    truncated: bool
    packed: str | None = None

    def header(self, name: str) -> str | None:
        """The first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    def charset(self) -> str:
        """Python's name of the body's encoding, by its byte order mark, Content-Type, or its first bytes; else utf-8.

        Source: WHATWG Encoding, and HTML, "determining the character encoding".
        """
        for bom, codec in _BOMS:
            if self.body.startswith(bom):
                return codec
        in_header = _IN_HEADER.search(self.header("content-type") or "")
        if in_header is not None and in_header[1].lower() in _CODECS:
            return _CODECS[in_header[1].lower()]
        in_page = _IN_PAGE.search(self.body, 0, _SNIFFED)
        if in_page is not None:
            codec = _CODECS.get((in_page[1] or in_page[2]).decode("ascii", "replace").lower(), "utf-8")
            # A page that says so in ASCII is no UTF-16.
            return "utf-8" if codec.startswith("utf-16") else codec
        return "utf-8"

    def holds(self, keyword: str) -> bool:
        """Whether the body's text holds `keyword`. Other greenlets get their turn while a large body is read."""
        codec = self.charset()
        if codec in _SEARCHED_AS_BYTES:
            try:
                return keyword.encode(codec) in self.body
            except UnicodeEncodeError:
                return False
        decoder = codecs.getincrementaldecoder(codec)("replace")
        carried = ""
        for start in range(0, len(self.body), _PIECE):
            text = carried + decoder.decode(self.body[start : start + _PIECE], start + _PIECE >= len(self.body))
            if keyword in text:
                return True
            carried = text[len(text) - len(keyword) + 1 :] if len(keyword) > 1 else ""
            gevent.sleep(0)
        return False


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What TLS came to with the site of the last answer; `certificate` is the leaf in DER."""

    version: str
    cipher: str
    certificate: bytes
