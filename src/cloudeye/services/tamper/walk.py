"""One walk through an HTML page: its texts, and everything in it that runs, sends, frames, leads or shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice

from lxml import etree

from cloudeye.services.answer import Answer
from cloudeye.services.tamper import scripts
from cloudeye.services.tamper.addresses import Base
from cloudeye.services.tamper.masks import MARK, mask
from cloudeye.services.tamper.page import LONGEST_LINE, MAXIMUM_BLOCKS, Item
from cloudeye.services.tamper.rules import IgnoreRules

MAXIMUM_ELEMENTS = 60_000
MAXIMUM_ITEMS = 10_000
MAXIMUM_ATTRIBUTES = 1_000  # of an element
LONGEST_STYLE = 65_536  # characters

_INLINE = frozenset(
    (  # noqa: SIM905 - as one reads it
        "a abbr acronym b bdi bdo big cite code data del dfn em font i img ins kbd label mark nobr q rb rp rt ruby s"
        " samp small span strike strong sub sup time tt u var wbr"
    ).split()
)
_APART = frozenset({"a", "img", "label", "time"})  # words of their own, also where no blank is around them
_WORDLESS_TAGS = frozenset({"script", "style", "title"})
_HIDDEN, _IGNORED, _MUTED, _WORDLESS = 1, 2, 4, 8
_SILENT = _IGNORED | _MUTED | _WORDLESS

# The places that sites keep for their own advertisements, by the words of classes and ids.
_ADVERTISED = re.compile(
    r"(?:^|[\s_-])(?:ads?|adv|advert|advertis(?:ing|ement|ements)|adslot|adunit|adbox|adsbygoogle|dfp)(?:$|[\s_-])",
    re.I,
)
_UNSEEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|(?:left|top|right|text-indent|margin-left|margin-top)\s*:\s*-\d{3}"
    r"|font-size\s*:\s*[01](?:px|pt|em)?\s*(?:;|!|$)|opacity\s*:\s*0?\.?0*\s*(?:;|!|$)|clip\s*:\s*rect\(\s*0",
    re.I,
)
_PAGE_HIDDEN = re.compile(
    r"(?:^|[\s},;/])(html|body|main|\*)(?=[\s,.:#{>\[])[^{}]{0,200}\{[^}]{0,500}?"
    r"(display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0*)?\s*(?=[;}!]))",
    re.I,
)
_WRITTEN = re.compile(r"content\s*:\s*(?:\"([^\"\n]{2,500})\"|'([^'\n]{2,500})')", re.I)
_STYLE_ADDRESS = re.compile(r"(?:url\(\s*|@import\s+)[\"']?([^\"')\s;]{3,2048})", re.I)
_REFRESH = re.compile(r"^\s*[\d.]*\s*[;,\s]\s*(?:url\s*=\s*)?[\"']?\s*([^\"']+)", re.I)
_SENSITIVE = re.compile(
    r"(card.?num|cardno|ccnum|credit.?card|cvv|cvc|iban|passw|passwd|\bpin\b|\bssn\b|passport|kreditkarte|seed.?phrase|mnemonic)",
    re.I,
)
_TOLD = frozenset({"description", "robots", "googlebot", "og:title", "og:description", "twitter:title"})


class Walk:
    """Goes through one page once. Afterwards `title`, `blocks` and `items` hold what was found."""

    def __init__(self, answer: Answer, rules: IgnoreRules) -> None:
        self.title = ""
        self.blocks: list[tuple[str, str]] = []
        self.items: dict[tuple[str, str, str], Item] = {}
        self.limited = False
        self._answer = answer
        self._matcher = rules.matcher()
        self._clean = rules.cleaner()
        self._base = Base(answer.url)
        self._buffer: list[str] = []
        self._flags = [0]
        self._form: list[str] = [""]  # where the form posts to that one is in
        self._advertised: dict[str, bool] = {}
        self._keys: dict[str, str] = {}
        self._elements = 0
        self._special_given: Mapping[str, str] = {}
        self._special_text: list[str] = []

    def run(self) -> None:
        """Parse and walk.

        The parser calls the methods below for what it reads and builds no tree: a tree takes quadratic time for a
        tag with a hundred thousand attributes, and ends at some depth, behind which a script could hide.
        """
        text = self._answer.body.decode(self._answer.charset(), "replace").replace("\0", "\ufffd")
        # A parser of its own for each page: one shared by threads would let them wait for each other.
        parser = etree.HTMLParser(encoding="utf-8", target=self, no_network=True)
        try:
            etree.fromstring(text.encode("utf-8", "replace"), parser)
        except etree.XMLSyntaxError:
            self._flush()  # what a parser finds no page in; all that it could read was read

    def start(self, tag: str, given: Mapping[str, str]) -> None:
        """An element begins (called by the parser)."""
        self._elements += 1
        if self.limited or self._is_full():
            return
        if self._buffer:
            if tag not in _INLINE:
                self._flush()
            elif tag in _APART:
                self._buffer.append(" ")
        flags = self._flags[-1]
        given = given if len(given) <= MAXIMUM_ATTRIBUTES else dict(islice(given.items(), MAXIMUM_ATTRIBUTES))
        if self._matcher is not None and self._matcher.enter(tag, given):
            flags |= _IGNORED
        if tag == "form":
            self._form.append("")
        if not flags & _IGNORED:
            if given:
                flags = self._attributes(tag, given, flags)
                reader = _READERS.get(tag)
                if reader is not None:
                    reader(self, given, flags)
            if tag in _WORDLESS_TAGS:
                # Their texts are none of the page's.
                flags |= _WORDLESS
                self._special_given = given
                self._special_text.clear()
        self._flags.append(flags)

    def data(self, text: str) -> None:
        """Text, or a part of it (called by the parser)."""
        flags = self._flags[-1]
        if not flags & _SILENT:
            self._buffer.append(text)
        elif flags & _WORDLESS and not flags & _IGNORED:
            self._special_text.append(text)

    def end(self, tag: str) -> None:
        """An element ends (called by the parser)."""
        if self.limited:
            return
        if self._buffer:
            if tag not in _INLINE:
                self._flush()
            elif tag in _APART:
                self._buffer.append(" ")
        if tag == "form":
            self._form.pop()
        if self._matcher is not None:
            self._matcher.leave()
        flags = self._flags.pop()
        if tag in _WORDLESS_TAGS and not flags & _IGNORED:
            self._special(tag, self._special_given, "".join(self._special_text))

    def close(self) -> None:
        """The page ends (called by the parser)."""
        self._flush()

    def _is_full(self) -> bool:
        if self._elements > MAXIMUM_ELEMENTS or len(self.items) > MAXIMUM_ITEMS or len(self.blocks) > MAXIMUM_BLOCKS:
            self._flush()
            self.limited = True
            self._flags.append(_IGNORED)
        return self.limited

    def _attributes(self, tag: str, given: Mapping[str, str], flags: int) -> int:
        """Look at what any element may carry; returns what follows for what is in it."""
        style = given.get("style")
        if style:
            style = style[:LONGEST_STYLE]
            if _UNSEEN.search(style):
                flags |= _HIDDEN
                if tag in ("html", "body"):
                    self._add("look", "", "the page is hidden", f"<{tag} style={style[:100]!r}>")
            if "(" in style:
                self._style_addresses(style)
        if "hidden" in given:
            flags |= _HIDDEN
        for words in (given.get("class"), given.get("id")):
            if words and self._is_advertised(words):
                flags |= _MUTED
        for name, value in given.items():
            if name[:2] == "on" and len(name) > 3 and not scripts.is_empty(value):
                code = scripts.read(value)
                self._add("handler", "", f"{tag} {name} {code.key}", f"<{tag} {name}={value[:200]!r}>")
                self._reach(code)
        return flags

    def _is_advertised(self, words: str) -> bool:
        known = self._advertised.get(words)
        if known is None:
            known = self._advertised[words] = _ADVERTISED.search(words[:500]) is not None
        return known

    # -- texts ------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._buffer:
            text = "".join(self._buffer)
            self._buffer.clear()
            self._words(text)

    def _words(self, text: str) -> None:
        shown = " ".join(text.split())
        if not shown:
            return
        key = self._keys.get(shown)
        if key is None:
            key = self._keys[shown] = mask(self._clean(shown) if self._clean else shown)
        if key and key != MARK:  # a number alone says nothing; badges show one or nothing
            self.blocks.append((key, shown[:LONGEST_LINE]))

    # -- items ------------------------------------------------------------------------------------------------

    def _add(self, kind: str, origin: str, key: str, shown: str, *, hidden: bool = False) -> None:
        identity = (kind, origin, key)
        if identity not in self.items:
            self.items[identity] = Item(kind, origin, key, " ".join(shown[:400].split())[:300], hidden)

    def _reach(self, code: scripts.Code) -> None:
        for host in code.hosts:
            place = self._base.place(f"//{host}/")
            if place is not None and place.origin:
                self._add("reach", host, "", host)

    def _special(self, tag: str, given: Mapping[str, str], text: str) -> None:
        if tag == "title":
            if not self.title:
                text = " ".join(text[:4000].split())[:1000]
                self.title = self._clean(text) if self._clean else text
        elif tag == "style":
            self._style(text)
        elif tag == "script" and scripts.is_run(given.get("type")):
            source = given.get("src")
            if source is not None:
                self._address("script", source, 0)
            elif not scripts.is_empty(text):
                code = scripts.read(text)
                self._add("inline", "", code.key, text.strip()[:300])
                self._reach(code)

    def _style(self, text: str) -> None:
        text = text[:LONGEST_STYLE]
        for found in _PAGE_HIDDEN.finditer(text):
            self._add("look", "", f"{found[1].lower()} is hidden", found[0])
        for found in _WRITTEN.finditer(text):
            words = found[1] or found[2]
            if sum(letter.isalpha() for letter in re.sub(r"\\[0-9a-fA-F]{1,6}", "", words)) >= 2:
                self._add("look", "", mask(words), f"content: {words}")
        self._style_addresses(text)

    def _style_addresses(self, text: str) -> None:
        for address in _STYLE_ADDRESS.findall(text):
            place = self._base.place(address)
            if place is not None and place.origin and place.scheme in ("", "http", "https"):
                self._add("style", place.origin, "", place.shown)

    def _address(self, kind: str, address: str | None, flags: int, *, own: bool = True) -> None:
        """Note where something leads.

        Args:
            kind: of the item.
            address: as it stands in the page.
            flags: of the element.
            own: is an address of the page's own site worth a note.
        """
        place = self._base.place(address) if address else None
        if place is None or (not place.origin and not own):
            return
        if place.scheme in ("javascript", "vbscript") and kind in ("link", "form", "frame"):
            if not scripts.is_empty(place.key):
                code = scripts.read(place.key)
                self._add("jslink", "", code.key, place.shown, hidden=bool(flags & _HIDDEN))
                self._reach(code)
        elif place.scheme in ("data", "blob") and kind != "script":
            if kind == "frame":
                self._add("srcdoc", "", place.scheme, place.shown)
        else:
            self._add(kind, place.origin, place.key, place.shown, hidden=bool(flags & _HIDDEN))

    def _link(self, given: Mapping[str, str], flags: int) -> None:
        if flags & _MUTED:
            place = self._base.place(given.get("href", ""))
            if place is None or not place.origin:
                return
        self._address("link", given.get("href") or given.get("xlink:href"), flags)

    def _image(self, given: Mapping[str, str], flags: int) -> None:
        own = not flags & _MUTED
        for name in ("src", "poster", "background"):
            address = given.get(name)
            place = self._base.place(address) if address else None
            if place is not None and place.scheme not in ("data", "blob") and (own or place.origin):
                # Of a host in use, which picture it is does not matter: shops and news change them all the time.
                self._add("image", place.origin, "" if place.origin else place.key, place.shown)
        srcset = given.get("srcset")
        for each in srcset.split(",", 10)[:10] if srcset else ():
            place = self._base.place(each.strip().partition(" ")[0])
            if place is not None and place.origin and place.scheme in ("http", "https"):
                self._add("image", place.origin, "", place.shown)

    def _input(self, given: Mapping[str, str], flags: int) -> None:
        kind = given.get("type", "").lower()
        name = given.get("name", "")
        if kind in ("submit", "button", "reset") and not flags & _MUTED:
            self._words(given.get("value", ""))
        elif kind == "image":
            self._image(given, flags)
        elif kind == "hidden" and self._form[-1]:
            # What goes to another site with the form: to whom money is sent is said there.
            value = mask(given.get("value", ""))
            self._add("value", self._form[-1], f"{mask(name)}={value}", f"{name}={given.get('value', '')}")
        if kind in ("password", "file"):
            self._add("field", "", kind, f"<input type={kind}>")
        asked = _SENSITIVE.search(name[:200]) or _SENSITIVE.search(given.get("autocomplete", "")[:100])
        if asked and kind != "hidden":
            self._add("field", "", asked[1].lower(), f"<input name={name!r}>")
        self._button(given, flags)

    def _button(self, given: Mapping[str, str], flags: int) -> None:
        self._address("form", given.get("formaction"), flags)

    def _form_start(self, given: Mapping[str, str], flags: int) -> None:
        place = self._base.place(given.get("action", ""))
        self._form[-1] = "" if place is None else place.origin
        self._address("form", given.get("action"), flags)

    def _frame(self, given: Mapping[str, str], flags: int) -> None:
        if "srcdoc" in given:
            self._add("srcdoc", "", mask(given["srcdoc"]), given["srcdoc"], hidden=bool(flags & _HIDDEN))
        source = given.get("src") or given.get("data") or ""
        if not source.startswith("about:"):
            self._address("frame", source, flags)

    def _base_element(self, given: Mapping[str, str], flags: int) -> None:
        place = self._base.place(given.get("href", ""))
        if place is not None:
            self._add("base", place.origin, place.key, place.shown)
            self._base = self._base.moved(given["href"])

    def _meta(self, given: Mapping[str, str], flags: int) -> None:
        name = (given.get("name") or given.get("property") or "").strip().lower()
        content = given.get("content", "")
        if given.get("http-equiv", "").strip().lower() == "refresh":
            found = _REFRESH.match(content)
            if found is not None:
                self._address("refresh", found[1], flags)
        elif name in _TOLD:
            self._add("meta", "", f"{name} {mask(content)}", f"{name}: {content}")

    def _link_element(self, given: Mapping[str, str], flags: int) -> None:
        relations = given.get("rel", "").lower().split()
        if "stylesheet" in relations:
            self._address("style", given.get("href"), flags)
        elif "canonical" in relations:
            self._address("canonical", given.get("href"), flags, own=False)


_Reader = Callable[[Walk, Mapping[str, str], int], None]
_READERS: dict[str, _Reader] = {
    "a": Walk._link,
    "area": Walk._link,
    "img": Walk._image,
    "source": Walk._image,
    "video": Walk._image,
    "audio": Walk._image,
    "body": Walk._image,
    "table": Walk._image,
    "input": Walk._input,
    "button": Walk._button,
    "form": Walk._form_start,
    "iframe": Walk._frame,
    "frame": Walk._frame,
    "embed": Walk._frame,
    "object": Walk._frame,
    "portal": Walk._frame,
    "base": Walk._base_element,
    "meta": Walk._meta,
    "link": Walk._link_element,
}
