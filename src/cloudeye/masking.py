"""What no line of a log may hold, taken out of it: the second net below code that logs no such thing.

Known by their shape are tokens (RFC 7519, and random ones in base64), API keys, what an Authorization header holds
and mail addresses; known by the name before them are passwords, secrets and whatever else is called one. A password
that stands alone in a sentence looks like any other word: that it is not logged is the first net's work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

HIDDEN = "***"
PATHS = 512  # that need not be looked at again

_NAMES = r"(?:pass(?:word|wd|phrase)|secret|token|credential|authorization|cookie|api[_-]?key)"
SECRET_NAME = re.compile(rf"{_NAMES}s?$", re.IGNORECASE)
SECRET_HEADER = re.compile(r"\b((?:set-)?cookie|(?:proxy-)?authorization|x-api-key)(\s*:\s*)[^\r\n]+", re.IGNORECASE)
SECRET_VALUE = re.compile(rf"""({_NAMES}s?["']?\s*[=:]\s*)("[^"\r\n]*"|'[^'\r\n]*'|[^\s"'&,;}})\]]+)""", re.IGNORECASE)
SCHEME = re.compile(r"\b(bearer|basic)(\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
USER_INFO = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]*@")
TOKEN = re.compile(r"\beyJ[\w-]{4,}(?:\.[\w-]*)*")
API_KEY = re.compile(r"\b(ce_[a-z0-9]+_)[\w-]+")
_LOCAL = r"""[^\s@<>"'(),;:\[\]/=&?]"""
# Tried once for each run of letters, or a long one without an @ would take time by its square.
ADDRESS = re.compile(rf"(?<!{_LOCAL})({_LOCAL}+)(@|%40)((?:[\w-]+\.)*[\w-]+)")
# 30 bytes and more in base64; digests and ids, which are hexadecimal, are no secrets.
OPAQUE = re.compile(r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*[0-9])[\w-]{40,}")
OPAQUE_PART = re.compile(r"(?<=/)[\w~.=-]{24,}(?=/|$)")  # of a path: 18 bytes and more


def masked(value: object, name: str = "") -> object:
    """Return a value as it may be logged: text without secrets, numbers as they are, anything else as such a text.

    Args:
        value: what is to be logged.
        name: what it is called; what is called a secret is hidden whatever it is.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if name and SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(str(key)): masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(inner) for inner in value]
    return mask(str(value))


def mask(text: str) -> str:
    """Return a text in which tokens, keys, named secrets and the local parts of mail addresses are hidden."""
    if "@" in text or "%40" in text:
        text = ADDRESS.sub(_shorten, text)
    if ":" in text or "=" in text:
        text = USER_INFO.sub(f"{HIDDEN}@", text)
        text = SECRET_HEADER.sub(rf"\1\2{HIDDEN}", text)
        text = SECRET_VALUE.sub(_hide_value, text)
    if "eyJ" in text:
        text = TOKEN.sub(f"eyJ{HIDDEN}", text)
    if "ce_" in text:
        text = API_KEY.sub(rf"\1{HIDDEN}", text)  # the part that names the key is no secret
    if len(text) >= 40:
        text = OPAQUE.sub(HIDDEN, text)
    return SCHEME.sub(rf"\1\2{HIDDEN}", text) if " " in text else text


@lru_cache(PATHS)
def mask_path(path: str) -> str:
    """Return a request's path as it may be logged: in it a long opaque part is taken for a token as well."""
    return OPAQUE_PART.sub(HIDDEN, mask(path))


def _hide_value(found: re.Match[str]) -> str:
    return found[0] if found[2].lower() in ("none", "null", "false", "true") else f"{found[1]}{HIDDEN}"


def _shorten(found: re.Match[str]) -> str:
    first = found[1][0] if len(found[1]) > 2 else ""
    return f"{first}{HIDDEN}{found[2]}{found[3]}"
