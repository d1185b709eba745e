"""What the body of a page says: what it loads from where, by what it was made, whether it is a folder's listing.

The page is read as a stream of elements and no tree of it is kept, so its size bounds the memory that it takes.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from cloudeye.services.answer import Answer
from cloudeye.services.findings.found import Found, find
from cloudeye.services.findings.headers import tells_version

LARGEST = 1_048_576  # bytes of a page that are looked into
_PIECE = 65_536
_MOST = 1_000  # references kept of a page

# Which attribute of which element loads something (HTML; Mixed Content, W3C, section 3.1).
_ACTIVE = {
    "script": ("src",), "iframe": ("src",), "frame": ("src",), "embed": ("src",), "object": ("data",),
}  # fmt: skip
_PASSIVE = {
    "img": ("src",), "audio": ("src",), "video": ("src", "poster"), "source": ("src",), "input": ("src",),
}  # fmt: skip
_ACTIVE_LINKS = frozenset({"stylesheet", "modulepreload", "manifest", "import"})
_PASSIVE_LINKS = frozenset({"icon", "apple-touch-icon"})


class Page:
    """What matters of a page, gathered while it is parsed."""

    def __init__(self) -> None:
        self.base: str | None = None
        self.metas: dict[str, list[str]] = defaultdict(list)
        self.active: list[str] = []
        self.passive: list[str] = []
        self.forms: list[str] = []
        self.scripts: list[tuple[str, bool]] = []  # where from, and whether with integrity
        self._kept = 0

    # -- called by the parser ---------------------------------------------------------------------------------

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._kept > _MOST:
            return
        if tag == "meta":
            self._meta(attributes)
        elif tag == "base":
            self.base = self.base or attributes.get("href")
        elif tag == "link":
            kinds = set((attributes.get("rel") or "").lower().split())
            if kinds & _ACTIVE_LINKS:
                self._keep(self.active, attributes.get("href"))
            elif kinds & _PASSIVE_LINKS:
                self._keep(self.passive, attributes.get("href"))
        elif tag == "form":
            self._keep(self.forms, attributes.get("action"))
        if "formaction" in attributes:
            self._keep(self.forms, attributes.get("formaction"))
        for name in _ACTIVE.get(tag, ()):
            self._keep(self.active, attributes.get(name))
        for name in _PASSIVE.get(tag, ()):
            self._keep(self.passive, attributes.get(name))
        if tag in ("img", "source") and attributes.get("srcset"):
            for candidate in attributes["srcset"].split(",")[:20]:
                self._keep(self.passive, next(iter(candidate.split()), None))
        if tag == "script" and attributes.get("src"):
            self.scripts.append((attributes["src"], bool((attributes.get("integrity") or "").strip())))

    def end(self, tag: str) -> None:
        """Nothing ends that was kept."""

    def data(self, text: str) -> None:
        """Texts are not looked into."""

    def comment(self, text: str) -> None:
        """Nothing is loaded by a comment."""

    def close(self) -> Page:
        return self

    def _meta(self, attributes: Mapping[str, str]) -> None:
        name = (attributes.get("http-equiv") or attributes.get("name") or "").strip().lower()
        if name in ("content-security-policy", "referrer", "generator", "refresh"):
            self._keep(self.metas[name], attributes.get("content"))

    def _keep(self, where: list[str], value: str | None) -> None:
        if value:
            where.append(value)
            self._kept += 1


def read(answer: Answer) -> Page:
    """Return what matters of a page; of one that no parser gets through, what came before."""
    from lxml import etree  # a process of the web has no use for it

    # Decoded by Python, which knows more encodings than the parser and refuses none of their bytes.
    text = answer.body[:LARGEST].decode(answer.charset(), "replace").removeprefix("\ufeff")
    body = text.encode("utf-8", "replace")
    page = Page()
    parser: Any = etree.HTMLParser(target=page, encoding="utf-8", huge_tree=False)
    try:
        for start in range(0, len(body), _PIECE):
            parser.feed(body[start : start + _PIECE])
        parser.close()
    except (etree.LxmlError, ValueError):
        pass  # nested too deeply, or empty
    return page


def inspect(answer: Answer, page: Page) -> Iterator[Found]:
    """Find what is wrong with a page and what it loads."""
    if is_listing(answer.body):
        yield find("directory_listing", urlsplit(answer.url).path or "/", _title(answer.body))
    for generator in page.metas["generator"]:
        if tells_version(generator):
            yield find("generator_disclosed", evidence=f"generator: {generator}")
            break
    base = _joined(answer.url, page.base) if page.base else answer.url
    if urlsplit(answer.url).scheme == "https":
        yield from _mixed(answer, page, base)
    own = urlsplit(answer.url).hostname or ""
    for source, pinned in page.scripts:
        host = _host(_joined(base, source))
        if host and not pinned and not _is_own(host, own):
            yield find("script_no_integrity", host, source)


def _mixed(answer: Answer, page: Page, base: str) -> Iterator[Found]:
    said = [value for name, value in answer.headers if name == "content-security-policy"]
    said += page.metas["content-security-policy"]
    # Browsers then load everything encrypted (Upgrade Insecure Requests, W3C).
    if any("upgrade-insecure-requests" in value.lower() for value in said):
        return
    for code, sources in (
        ("mixed_active", page.active),
        ("mixed_passive", page.passive),
        ("form_insecure", page.forms),
    ):
        for source in sources:
            url = _joined(base, source)
            host = _host(url)
            if urlsplit(url).scheme == "http" and host and not _is_local(host):
                yield find(code, f"http://{host}", url)


def _joined(base: str, reference: str) -> str:
    try:
        url = urljoin(base, "".join(reference.split("\n")).strip())
        urlsplit(url).hostname  # noqa: B018 - may refuse what urljoin lets through
    except ValueError:
        return ""
    return url


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_local(host: str) -> bool:
    """What a browser takes for trustworthy without encryption (Secure Contexts, W3C, section 3.1)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_own(host: str, own: str) -> bool:
    """Do two hosts belong together: the last two labels are the same. Too generous to names as under co.uk."""
    return host == own or (not _is_address(own) and host.split(".")[-2:] == own.split(".")[-2:] and "." in own)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# -- listings of folders ---------------------------------------------------------------------------------------

_TITLE = re.compile(rb"<title>\s*([^<]{1,200})", re.IGNORECASE)
# What the title begins with, and what stands in the body as well.
_LISTINGS = (
    (b"index of /", (b"parent directory", b'<a href="../"', b"<h1>index of /")),  # Apache, nginx, lighttpd
    (b"directory listing for /", (b"<ul>", b"<hr")),  # Python
    (b"directory: /", (b"<table", b"parent directory")),  # Jetty
    (b"directory listing for [/", (b"<table",)),  # Tomcat
)


def is_listing(body: bytes) -> bool:
    """Is this the listing that a server makes of a folder: by its form, whatever its status says."""
    beginning = body[:_PIECE]
    lowered = beginning.lower()
    if b"<listbucketresult" in lowered[:500] and b"<name>" in lowered:
        return True  # an object store's
    if b"[to parent directory]" in lowered and b"<pre>" in lowered:
        return True  # IIS
    title = _TITLE.search(lowered)
    return title is not None and any(
        title[1].startswith(begins) and any(sign in lowered for sign in signs) for begins, signs in _LISTINGS
    )


def _title(body: bytes) -> str:
    title = _TITLE.search(body[:_PIECE])
    return title[1].decode("utf-8", "replace").strip() if title else "a listing of files"
