"""Scripts that stand in a page: what stays of them from visit to visit, and where they reach.

Data moves, code does not. Literals made of nothing but data are cut out of the code, what is left is compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from cloudeye.services.tamper.addresses import still_address
from cloudeye.services.tamper.masks import mask

LONGEST = 262_144  # characters of a script that are looked at
DEEPEST = 40  # nested literals

# What a browser does not run (HTML, "the script element"); importmap and speculationrules say what it runs.
_RUN = re.compile(r"^(?:module|importmap|(?:text|application)/(?:x-)?(?:java|ecma|live|j)script[\d.]*)$", re.I)
# A text or comment without an end reaches to the end of its line or of all, so nothing is looked at twice.
_STRING = (
    r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+(?:"|(?=\n)|\\?\Z)'
    r"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+(?:'|(?=\n)|\\?\Z)"
)
_QUOTED = rf"{_STRING}|`[^`\\]*+(?:\\.[^`\\]*+)*+(?:`|\\?\Z)"
_COMMENT = re.compile(rf"({_QUOTED})|/\*.*?(?:\*/|\Z)|(?<![:\\])//[^\n]*|<!--|-->", re.DOTALL)
_ATOM = rf"(?:{_STRING}|[+-]?\d[\w.]*+(?:(?<=[eE])[+-]\d+)?|true|false|null|undefined|void 0|!0|!1|NaN|\x01)"
_PAIR = rf"(?:{_STRING}|[\w$]++):{_ATOM}"
# What is tight already (see _TIGHT); each bracket is the beginning of one attempt that ends at the next bracket.
_DATA = re.compile(
    rf"\{{(?>{_PAIR}(?:,{_PAIR})*+,?)?\}}|\[(?>{_ATOM}(?:,{_ATOM})*+,?)?\]|JSON\.parse\((?:{_STRING})\)",
    re.DOTALL,
)
_SPACE = re.compile(r"\s+")
_TIGHT = re.compile(r"\s*([^\w\s$\"'`])\s*")
_NUMBER = re.compile(r"(?<![\w$])[+-]?\d[\w.]*+(?:(?<=[eE])[+-]\d+)?")
_STRINGS = re.compile(_QUOTED, re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]*\d[A-Za-z0-9+/_=-]*|[A-Za-z0-9+/_=-]{12,}")
_LIKE_ADDRESS = re.compile(r"^(?:https?:/)?\.{0,2}/[\w./@~%-]*\.[a-z]{2,5}(?:\?[\w.&=%-]*)?$")
# Names that a program made: with digits between letters, or in the manner of __framework_1a2b3c.
_MADE_NAME = re.compile(r"(?<![\w$])(?:(__[A-Za-z]+_)[0-9a-z]{5,10}|(?=[A-Za-z_$]+\d[A-Za-z_$]*\d)[\w$]{6,})(?![\w$])")
_ADDRESS = re.compile(r"(?:https?:)?\\?/\\?/([\w-]+(?:\.[\w-]+)+(?::\d+)?)", re.I)
_CODE_ADDRESS = re.compile(r"(?:https?:)?\\?/\\?/([\w-]+(?:\.[\w-]+)+(?::\d+)?)[\w./\\@~-]*\.m?js\b", re.I)
# Code that makes code of texts: there a text is code, whatever it looks like.
_MAKER = re.compile(r"\b(?:eval|atob|unescape|decodeURIComponent|Function|fromCharCode|document\.write(?:ln)?)\s*\(")


@dataclass(frozen=True, slots=True)
class Code:
    """What stays of a script: its key, and the hosts that it names."""

    key: str
    hosts: frozenset[str]


def is_run(kind: str | None) -> bool:
    """Would a browser run a script of this type."""
    kind = (kind or "").partition(";")[0].strip()
    return not kind or _RUN.match(kind) is not None


def read(code: str) -> Code:
    """Return what stays of a script, for any text that claims to be one."""
    code = code[:LONGEST]
    making = _MAKER.search(code) is not None
    bare = _COMMENT.sub(lambda found: found[1] or " ", code)
    bare = _TIGHT.sub(r"\1", _SPACE.sub(" ", bare)).strip(" ;")
    hosts = {host.lower() for host in _CODE_ADDRESS.findall(bare)} if "js" in bare else set()
    if not making:
        for _ in range(DEEPEST):
            bare, count = _DATA.subn("\x01", bare)
            if not count:
                break
    hosts |= {host.lower() for host in _ADDRESS.findall(bare)}
    if not making:
        bare = _STRINGS.sub(_still, bare)
        bare = _MADE_NAME.sub(lambda name: f"{name[1] or ''}#", bare)
    bare = _NUMBER.sub("0", bare)
    return Code(sha256(bare.encode("utf-8", "replace")).hexdigest()[:20], frozenset(hosts))


def is_empty(code: str) -> bool:
    """Does it do nothing: blanks, comments, or the customary way to say nothing."""
    bare = _COMMENT.sub(lambda found: found[1] or " ", code[:LONGEST])
    return not bare.strip(" \t\r\n;") or bare.strip(" ;").replace(" ", "") in ("void(0)", "void0", "returnfalse", "//")


def _still(found: re.Match[str]) -> str:
    """What stays of a text in code: its words, not its tokens; of an address, where it leads."""
    text = found[0]
    if "/" in text and len(text) <= 500 and _LIKE_ADDRESS.match(text[1:-1]):
        return f"{text[0]}{still_address(text[1:-1])}{text[-1]}"
    if " " in text:
        return f'"{mask(text)}"'
    return _TOKEN.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    text = found[0]
    if any(letter.isdigit() for letter in text) or len(re.findall("[a-z][A-Z]", text)) >= 2:
        return "#"
    return text
