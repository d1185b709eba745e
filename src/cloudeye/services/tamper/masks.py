"""What moves in a text by itself is masked: numbers, times in any words, tokens. What is left is compared, as words in
the order of the alphabet: lists of tags, names and links stand in another order at each visit.

A mask hides what takes its place, not that it is there: a sentence with other words is another sentence. Kept as they
are: bank accounts, the addresses of Bitcoin and Ethereum, telephone numbers and mail addresses, which are what a thief
would replace. The words by which a time is told are those of the Unicode CLDR (words.txt),
and some more (more_words.txt).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

MARK = "#"
LONGEST_KEY = 2_000  # characters of what stays of a text; a longer one is told by its digest
MOST_KEPT = 6_400  # accounts and addresses in a text: as many as there are letters for private use

# A word: whatever is no blank, digit, mark or punctuation. (\w does not know the vowel signs of Indian scripts.)
WORD = re.compile(
    "[^\\s\\d#!-/:-@\\[-`{-~\u25b2-\u25bd\u2190-\u2193\u00a0-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u303f\uff00-\uff20"
    "\u060c\u061b\u061f\u0964|\u00b7\u2022]+"
)
# Scripts that put no blank between words: Han and kana, Thai, Lao, Burmese, Khmer.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_DIGIT = re.compile(r"\d")

_KEPT = re.compile(
    r"(?P<mail>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)"
    r"|(?P<iban>\b[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b)"
    r"|(?P<chain>\b(?:bc1[02-9ac-hj-np-z]{11,71}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b)"
    r"|(?P<ether>\b0x[0-9a-fA-F]{40}\b)"
    r"|(?P<phone>\+\d[\d ()./-]{6,18}\d)"
)
_PERHAPS_KEPT = re.compile(r"[@+]|[A-Z]{2}\d\d|[0-9A-Za-z]{26}")
# Each begins where nothing of its kind stands before it, so that no text is looked at twice.
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9+/_=.-])(?=[A-Za-z+/_=.-]*+\d)[A-Za-z0-9+/_=.-]{16,}"  # long, and with a digit
    r"|\b[0-9a-f]{6,}\b"
    r"|(?<!\w)[^\W\d]*+\d\w*"  # a number, or a word that holds one
    r"|[\u2605\u2606\u272d\u2b50]+"  # stars
)
_HELD = re.compile("\x00([\ue000-\uf8ff])\x00")
_KEY = re.compile(rf"#|{WORD.pattern.replace(chr(92) + 'd', '')}")  # what is left of digits by then is kept
_PLAIN = {number: " " for number in range(128) if not chr(number).isalnum() and chr(number) != MARK}


@dataclass(frozen=True)
class Words:
    """The words of both files: those that stand for a time by themselves, beside a number, and those for "ago"."""

    alone: frozenset[str]
    near: frozenset[str]
    ago: frozenset[str]
    unspaced: re.Pattern[str]


_CHINESE_NUMBER = re.compile("[〇零一二三四五六七八九十廿卅百千]+(?=[年月日号時时点分秒])")


def fold(text: str) -> str:
    """Return a text in the form in which texts are compared (NFKC, without case)."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


@cache
def words() -> Words:
    """Read the words, once."""
    parts: dict[str, set[str]] = {}
    for file in ("words.txt", "more_words.txt"):
        part: set[str] = set()
        for line in Path(__file__).with_name(file).read_text("utf-8").splitlines():
            if line.startswith("["):
                part = parts.setdefault(line[1:-1], set())
            elif not line.startswith("#"):
                # What is made holds one to a line, with blanks; what is written by hand is in the form of people.
                part.update([line] if file == "words.txt" else fold(line).split())
    phrases = sorted(filter(None, parts["unspaced"]), key=len, reverse=True)
    single, longer = _either(phrases), _either([each for each in phrases if len(each) > 1])
    return Words(
        frozenset(parts["alone"]),
        frozenset(parts["near"]),
        frozenset(parts["ago"]),
        re.compile(rf"(?:#\s*|{longer})(?:[\s(]*{single}[\s)]*)*"),
    )


def _either(phrases: list[str]) -> str:
    """A pattern of all phrases, sorted by how they begin: trying hundreds of them at each letter takes long."""
    rests: dict[str, list[str]] = {}
    for phrase in phrases:
        rests.setdefault(phrase[0], []).append(re.escape(phrase[1:]))
    heads = "".join(map(re.escape, rests))
    each = "|".join(f"{re.escape(head)}(?:{'|'.join(ends)})" for head, ends in rests.items())
    return f"(?:(?=[{heads}])(?:{each}))"


def mask(text: str) -> str:
    """Return a text without what moves in it; two texts that differ by such parts alone give the same."""
    if "\x00" in text:
        text = text.replace("\x00", " ")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    known = words()
    if _DIGIT.search(text) or "\u2605" in text or "\u2606" in text:
        kept: list[str] = []

        def keep(found: re.Match[str]) -> str:
            if len(kept) >= MOST_KEPT or not _is_kept(found):
                return found[0]
            kept.append(found[0])
            return f"\x00{chr(0xDFFF + len(kept))}\x00"  # letters for private use, of which there are enough

        if _PERHAPS_KEPT.search(text):
            text = _KEPT.sub(keep, text)
        text = _TOKENS.sub(" # ", text.replace(MARK, " ")).casefold()
        if kept:
            text = _HELD.sub(lambda held: "".join(kept[ord(held[1]) - 0xE000].split()), text)
    else:
        text = text.replace(MARK, " ").casefold()
    if not text.isascii() and UNSPACED.search(text):
        text = known.unspaced.sub(" # ", _CHINESE_NUMBER.sub(" # ", text))
    found = text.translate(_PLAIN).split() if text.isascii() else _KEY.findall(text)
    if MARK in text or not known.alone.isdisjoint(found) or not known.ago.isdisjoint(found):
        found = _absorb(found, known)
    found.sort()
    key = " ".join(found)
    return key if len(key) <= LONGEST_KEY else sha256(key.encode("utf-8", "replace")).hexdigest()


def _absorb(pieces: list[str], known: Words) -> list[str]:
    """Let numbers take in each other and the words of time beside them, and cut the endings of what is counted."""
    done: list[str] = []
    held: list[str] = []  # words of time that a number may follow
    hot = False  # nothing but such words since the last number
    for piece in pieces:
        if piece == MARK or piece in known.alone:
            if not hot:
                done.append(MARK)
            held, hot = [], True
        elif piece in known.near:
            if not hot:
                held.append(piece)
        elif hot:
            # One view, two views: the beginning of the word is the same.
            done.append(piece[:3])
            hot = False
        else:
            if held:
                done += _told(held, known)
                held = []
            done.append(piece)
    return done + _told(held, known)


def _told(held: list[str], known: Words) -> list[str]:
    """An hour ago, without any number: words of time alone, one of them for "ago"."""
    return [MARK] if len(held) > 1 and not known.ago.isdisjoint(held) else held


def _is_kept(found: re.Match[str]) -> bool:
    text = found[0]
    match found.lastgroup:
        case "iban":  # ISO 13616: the check digits make it 1 modulo 97
            compact = text.replace(" ", "")
            digits = "".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])
            return int(digits) % 97 == 1
        case "chain":
            return text.startswith("bc1") or _is_base58_address(text)
        case "phone":
            return sum(letter.isdigit() for letter in text) >= 7
        case _:
            return True


def _is_base58_address(text: str) -> bool:
    """Does the checksum hold (https://en.bitcoin.it/wiki/Base58Check_encoding)."""
    number = 0
    for letter in text:
        number = number * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(letter)
    try:
        data = number.to_bytes(25, "big")
    except OverflowError:
        return False
    return sha256(sha256(data[:21]).digest()).digest()[:4] == data[21:]
