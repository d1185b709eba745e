"""What the sites of the benchmark are like: decided by their number alone, so that all its processes agree."""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ZONE = "bench.test"  # a name nobody can own (RFC 6761)
NETWORK = "127.83"
HOSTS = 32  # addresses that serve, so that no pair of them runs out of ports
REFUSING = f"{NETWORK}.255.1"  # nobody listens there
PAGES = 64  # different middles of pages

_TEXT = (
    "alder bread candle delta ember fathom garden harbour island juniper kettle lantern meadow number orchard paper "
    "quarry river summer timber umbrella valley winter yonder zephyr bridge copper dawn engine flower glass hollow"
)
_WORDS = _TEXT.split()


@dataclass(frozen=True)
class Mix:
    """Shares of all sites, each from 0 to 1. Whether a site has TLS or a name is independent of how it behaves."""

    tls: float = 0.5
    named: float = 0.9  # looked up by the name server; the others are addresses
    moving: float = 0.3  # a token, a counter and a date differ at each visit
    edited: float = 0.01  # a sentence differs at each visit
    slow: float = 0.05  # 1 to 2 s until the first byte
    refused: float = 0.01
    silent: float = 0.01  # take the request and never answer

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Mix:
        """The mix that `vars` of another one describes."""
        return cls(**values)

    def behaviour(self, number: int) -> str:
        """How site `number` behaves: the name of one of the shares, or `same`."""
        place = _fraction(number, "behaviour")
        for name in ("refused", "silent", "slow", "edited", "moving"):
            place -= getattr(self, name)
            if place < 0:
                return name
        return "same"

    def url(self, number: int, ports: Mapping[str, int]) -> str:
        """Where site `number` is; `ports` are those of http and https."""
        scheme = "https" if _fraction(number, "tls") < self.tls else "http"
        named = _fraction(number, "named") < self.named
        host = f"s{number}.{ZONE}" if named else self.address(number)
        return f"{scheme}://{host}:{ports[scheme]}/page/{number}"

    def address(self, number: int) -> str:
        """The address of site `number`."""
        return REFUSING if self.behaviour(number) == "refused" else f"{NETWORK}.0.{1 + number % HOSTS}"


def _fraction(number: int, salt: str) -> float:
    return zlib.crc32(f"{salt} {number}".encode()) / 2**32


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=chance.randint(6, 18))).capitalize() + "."


@lru_cache(PAGES)
def _middle(variant: int) -> str:
    """Some 20 kB as sites have them: a menu, articles, a form, a table, pictures, scripts inside and from elsewhere."""
    chance = random.Random(variant)
    menu = "".join(f'<li class="nav-item"><a href="/{word}/" class="nav-link">{word}</a></li>' for word in _WORDS[:16])
    articles = "".join(
        f'<article id="a{place}" class="post post-{place}"><h2><a href="/news/{variant}/{place}">'
        f'{_sentence(chance)}</a></h2><img src="/media/{chance.getrandbits(32):x}.jpg" alt="" loading="lazy">'
        + "".join(f"<p>{_sentence(chance)} {_sentence(chance)} {_sentence(chance)}</p>" for _ in range(4))
        + f'<a class="more" href="/news/{variant}/{place}#more">More</a></article>'
        for place in range(13)
    )
    rows = "".join(
        f"<tr><td>{chance.choice(_WORDS)}</td><td>{chance.randint(1, 999)}</td><td>{_sentence(chance)}</td></tr>"
        for _ in range(20)
    )
    inline = ";".join(f'var {word}={{"at":{chance.getrandbits(40)},"of":"{chance.choice(_WORDS)}"}}' for word in _WORDS)
    return (
        f"<header><nav><ul>{menu}</ul></nav></header><main>{articles}<table><tbody>{rows}</tbody></table></main>"
        f'<script>{inline}</script><script src="https://cdn.{ZONE}/lib/{variant}.js" defer></script>'
        f'<footer><a href="/imprint">Imprint</a> <a href="/privacy">Privacy</a></footer>'
    )


def page(number: int, behaviour: str, visit: int, now: str) -> bytes:
    """The page of a site.

    Arguments:
        visit: how often the site was asked before; with `moving` and `edited` pages differ by it.
        now: a date for people.
    """
    moving = ""
    if behaviour == "moving":
        token = f"{zlib.crc32(b'%d %d' % (number, visit)):08x}" * 4
        moving = (
            f'<form action="/subscribe" method="post"><input type="hidden" name="csrf_token" value="{token}">'
            f'<input name="email"></form><p class="visits">{1000 + visit} visitors</p><time>{now}</time>'
        )
    elif behaviour == "edited":
        moving = f"<p>Today: {_sentence(random.Random(f'{number} {visit}'))}</p>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Site {number}</title>'
        f'<link rel="stylesheet" href="/static/site.css"><script src="/static/site.js" defer></script></head><body>'
        f"<h1>Site {number}</h1>{_middle(number % PAGES)}{moving}</body></html>"
    ).encode()
