"""Kinds of pages, each written as such sites write them. What `still` draws stays; what `move` draws moves."""

# ruff: noqa: E501, RUF001 - what sites write is not to be wrapped or translated

from __future__ import annotations

import json
import random
from html import escape
from typing import Any

from tests.unit.cloudeye.tamper.moving import Moving, Template
from tests.unit.cloudeye.tamper.sentences import COUNTED, NAMES, SENTENCES

PHONE, IBAN, BITCOIN = "+49 30 5550 1234", "DE89 3704 0044 0532 0130 00", "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"


def text(still: random.Random, language: str, number: int) -> list[str]:
    """Some sentences of a language."""
    bank = SENTENCES[language].split("|")
    return still.sample(bank, min(number, len(bank)))


def data(value: Any) -> str:
    """Write JSON that can stand in a script."""
    return json.dumps(value).replace("</", "<\\/")


def nav(still: random.Random, language: str) -> str:
    names = NAMES[language].split("|")[:6]
    return "<ul>" + "".join(f'<li><a href="/{place}/">{name}</a></li>' for place, name in enumerate(names)) + "</ul>"


def counted(move: Moving, language: str, which: int) -> str:
    one, many = COUNTED[language][which * 2 : which * 2 + 2]
    space = "" if language in ("zh", "ja") else " "
    number = move.rng.choice([1, 2, 3, 17, 240])
    return f"{number}{space}{one if number == 1 else many}"


def online(move: Moving, language: str) -> str:
    return COUNTED[language][4].format(move.count(500))


def left(move: Moving, language: str) -> str:
    return COUNTED[language][5].format(move.rng.randint(1, 9))


def news(still: random.Random, move: Moving, language: str) -> str:
    """A newspaper's page of one article: ages, views, hashed files, rotated teasers."""
    lines = text(still, language, 6)
    names = NAMES[language].split("|")
    teasers = move.shuffled(
        f'<li class="teaser"><a href="/a/{place}?ref={move.hexes(6)}">{line}</a> <time datetime="{move.stamp()}">'
        f"{move.ago(language)}</time></li>"
        for place, line in enumerate(lines[3:])
    )
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{lines[0]} | {names[2]}</title>
<meta name="description" content="{lines[1]}"><link rel="stylesheet" href="/assets/app.{move.hexes(8)}.css">
<script src="https://cdn.publisher.example/js/core.min.js?v={move.hexes(10)}" nonce="{move.base64(12)}"></script>
<script nonce="{move.base64(12)}">window.__INITIAL_STATE__ = {data(move.state())};</script>
</head><body>{move.gap()}<header><span class="today">{move.long_date(language)}</span>{nav(still, language)}</header>
<article><h1>{lines[0]}</h1><p class="meta">{move.long_date(language)} · {counted(move, language, 0)} ·
{counted(move, language, 1)}</p><p>{lines[1]}</p><p>{lines[2]}</p></article><aside><ol>{"".join(teasers)}</ol></aside>
<p>{online(move, language)}</p><footer>© {move.now.year} <a href="mailto:desk@press.example">{names[4]}</a></footer>
<!-- generated in {move.rng.random():.4f}s by web-{move.rng.randint(1, 40)} --></body></html>"""


def shop(still: random.Random, move: Moving, language: str) -> str:
    """A shop: prices, stock, a token in each form, rotated products, an advertisement of its own."""
    names = NAMES[language].split("|")
    products = [f"Nova {word}" for word in still.sample(["Lamp", "Chair", "Desk", "Shelf", "Vase", "Clock", "Rug"], 5)]
    cards = move.shuffled(
        f"<div {move.attributes(class_='card', id=f'p-{move.hexes(6)}', data_sku=f'S{place}')}>"
        f'<img src="/media/{place}.jpg?width=300&v={move.count()}" alt=""><h3><a href="/p/{place}-nova?sid={move.hexes(32)}">'
        f"{name}</a></h3><span>€ {move.grouped('.')},{move.rng.randint(10, 99)}</span> <em>{left(move, language)}</em>"
        f'<form method="post" action="/cart/add"><input type="hidden" name="authenticity_token" '
        f'value="{move.base64(48)}"><input type=hidden name=product value="{place}"><button>{names[1]}</button></form></div>'
        for place, name in enumerate(products)
    )
    promotion = move.rng.choice(
        ["Spring sale: all rugs", "New in: oak shelves", "Join the club and save", "Gift cards for everyone"]
    )
    intro = text(still, language, 3)
    return f"""<!doctype html><html lang={language}><head><meta charset=utf-8><title>Nova – {names[1]}</title>
<meta name="csrf-token" content="{move.base64(32)}"><script defer src="/packs/js/application-{move.hexes(20)}.js"></script>
<script src="https://js.payments.example/v3/"></script><link rel="stylesheet" href="/packs/css/{move.hexes(20)}.css">
<script>dataLayer = window.dataLayer || []; dataLayer.push({data({"event": "view", **move.state()})});</script></head>
<body class="page-{move.hexes(5)}">{nav(still, language)}{move.gap()}<div id="cart">{move.rng.randint(0, 3)}</div>
<h1>Nova</h1><p>{intro[0]}</p><div class="ad-slot" id="ad-{move.hexes(6)}"><a href="/promo/{move.rng.randint(1, 60)}">
<img src="/promo/{move.rng.choice(["rug", "oak", "club"])}.webp"></a><p>{promotion}</p></div>{"".join(cards)}
<p>{intro[1]}</p><p>{PHONE}</p><p>IBAN: {IBAN}</p>
<footer>&copy; 2011-{move.now.year} Nova. {intro[2]}</footer></body></html>"""


def blog(still: random.Random, move: Moving, language: str) -> str:
    """A WordPress blog: nonces in inline scripts, versions of files, an archive by month, a cloud of tags."""
    lines, names = text(still, language, 5), NAMES[language].split("|")
    tags = move.shuffled(still.sample(["garden", "bread", "travel", "music", "python", "chess", "tea", "rain"], 6))
    cloud = " ".join(f'<a href="/tag/{tag}/" style="font-size:{move.rng.randint(8, 22)}pt">{tag}</a>' for tag in tags)
    params = json.dumps({"ajaxurl": "/wp-admin/admin-ajax.php", "nonce": move.hexes(10), "ts": move.count()})
    comments = "".join(
        f'<li id="comment-{place}"><cite>{name}</cite> <a href="#comment-{place}">{move.ago(language)}</a><p>{line}</p></li>'
        for place, (name, line) in enumerate(zip(["Ada", "Grace"], lines[3:], strict=False))
    )
    return f"""<!DOCTYPE html>
<html lang="{language}"><head><meta charset="UTF-8"><title>{lines[0][:40]} – {names[2]}</title>
<link rel='stylesheet' id='style-css' href='/wp-content/themes/oak/style.css?ver={move.count()}' media='all'>
<script src='/wp-includes/js/jquery/jquery.min.js?ver=3.7.{move.rng.randint(0, 9)}' id='jquery-core-js'></script>
<script id="comments-js-extra">/* <![CDATA[ */ var oak_params = {params}; /* ]]> */</script>
<script>var _wpnonce = "{move.hexes(10)}"; var post_views = {move.count()};
document.documentElement.className = "js";</script>
<meta name="generator" content="WordPress 6.{move.rng.randint(1, 9)}"></head><body class="home blog">
<div class="site">{nav(still, language)}<h1 class="entry-title">{lines[0]}</h1><p>{move.short_date(language)}</p>
<p>{lines[1]}</p><p>{lines[2]}</p><ol class="comments">{comments}</ol>{move.gap()}<p class="cloud">{cloud}</p>
<p>{counted(move, language, 0)}, {counted(move, language, 1)}</p><img src="/avatar/{move.hexes(32)}?s=48&amp;d=mm" alt="">
<form action="/wp-comments-post.php" method="post"><input name="author"><textarea name="comment"></textarea>
<input type="hidden" name="ak_js" value="{int(move.now.timestamp() * 1000)}"><input name="{move.word(12)}" type="hidden">
<input type="submit" value="{names[5]}"></form></div><footer>{names[3]} {move.now.year}</footer></body></html>
<!-- Performance optimized. Page cached {move.http_date()} -->"""


def forum(still: random.Random, move: Moving, language: str) -> str:
    """A forum: session ids in all links, ages, who is online, the time of the server."""
    sid, lines = move.hexes(32), text(still, language, 6)
    rows = "".join(
        f'<tr id="row{move.count()}"><td><a href="viewtopic.php?f=2&amp;t={place}&amp;sid={sid}">{line}</a></td>'
        f"<td>{move.count()}</td><td>{move.grouped()}</td><td>{move.ago(language)}</td><td>{move.short_ago()}</td></tr>"
        for place, line in enumerate(lines)
    )
    return f"""<html dir="ltr" lang="{language}"><head><meta charset="utf-8"><title>({move.rng.randint(1, 40)}) Forum</title>
</head><body id="phpbb"><p>{move.long_date(language)}</p><table>{rows}</table><p>{online(move, language)}</p>
<p>Most users ever online was {move.count()} on {move.long_date("en")}</p><form action="./ucp.php?mode=login&sid={sid}"
method="post"><input name="username"><input type="password" name="password"><input type="hidden" name="sid"
value="{sid}"><input type="hidden" name="form_token" value="{move.hexes(40)}"><input type="hidden" name="creation_time"
value="{int(move.now.timestamp())}"><input type="submit" value="Login"></form><p>It is currently {move.short_date("en")},
{move.now.year} {move.now.hour % 12 or 12}:{move.now.minute:02} {"am" if move.now.hour < 12 else "pm"}</p>
<p>Time: {move.rng.random():.3f}s | Queries: {move.rng.randint(9, 40)} | Peak Memory Usage: {move.rng.random() * 9:.2f} MiB</p>
<img src="./cron.php?cron_type=cron.task.core.tidy&sid={sid}" width="1" height="1" alt=""></body></html>"""


def login(still: random.Random, move: Moving, language: str) -> str:
    """A login page: tokens, a sum to be solved, names of fields and classes made anew at each visit."""
    names, lines = NAMES[language].split("|"), text(still, language, 2)
    trap = move.word(10)
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{names[6]}</title>
<meta name="csrf-param" content="_token"><meta name="csrf-token" content="{move.jwt()}">
<style nonce="{move.base64(16)}">.f-{move.hexes(5)}{{display:none}} .css-{move.word(7)}{{margin:0 auto;width:{
        move.rng.randint(300, 400)
    }px}}</style></head><body><main class="css-{move.word(7)} css-{move.word(7)}">
<h1>{names[6]}</h1><p>{lines[0]}</p><form id="f{move.hexes(8)}" action="/login;jsessionid={move.hexes(32).upper()}"
method="post" autocomplete="off"><label for="u-{move.hexes(4)}">E-mail</label><input type="email" name="email"
id="u-{move.hexes(4)}"><input type="password" name="password"><input type="text" class="f-{move.hexes(5)}" name="hp_{
        trap
    }">
<input type="hidden" name="__RequestVerificationToken" value="{move.base64url(92)}"><p>{move.rng.randint(1, 9)} + {
        move.rng.randint(1, 9)
    } = ?</p><input name="captcha"><img src="/captcha/image?{move.rng.random()}" alt="captcha">
<button {move.attributes(type="submit", class_=f"btn btn-{move.hexes(4)}", aria_describedby=move.uuid())}>{
        names[6]
    }</button>
</form><p>{lines[1]}</p><script nonce="{move.base64(16)}">(function(){{var t="{move.base64(24)}";
document.getElementById("f{
        move.hexes(8)
    }").addEventListener("submit",function(e){{e.target.dataset.t=t}})}})();</script>
<footer>Request ID: {move.uuid()} · {move.clock()} · node-{move.rng.randint(1, 9)}</footer></main></body></html>"""


def wiki(still: random.Random, move: Moving, language: str) -> str:
    """A wiki's page: last edit, views, configuration for its scripts, a report of its parser in a comment."""
    lines, names = text(still, language, 7), NAMES[language].split("|")
    config = json.dumps({
        "wgRequestId": move.uuid(), "wgBackendResponseTime": move.count(400), "wgRevisionId": move.count(),
        "wgUserName": None, "wgCSPNonce": False, "wgPageName": "Main",
    })  # fmt: skip
    categories = " | ".join(
        f'<a href="/wiki/Category:{word}">{word}</a>' for word in move.shuffled(["Art", "Law", "Sea"])
    )
    return f"""<!DOCTYPE html><html class="client-nojs" lang="{language}"><head><meta charset="UTF-8"><title>{names[3]}</title>
<script>document.documentElement.className="client-js";RLCONF={config};RLSTATE={{"site.styles":"ready"}};
RLPAGEMODULES=["site","mediawiki.page.ready"];</script><script async="" src="/w/load.php?lang=en&amp;modules=startup&amp;
only=scripts&amp;raw=1&amp;v={move.word(5)}"></script></head><body><div id="content"><h1>{names[3]}</h1><p>{lines[0]}</p>
<h2>{lines[1]}</h2><p>{lines[2]} {lines[3]}</p><ul><li>{lines[4]}</li></ul>{move.gap()}<div>{categories}</div></div>
<footer><ul><li>This page was last edited on {move.now.day} {move.now:%B} {move.now.year}, at {move.now:%H:%M}.</li>
<li>{move.long_date(language)}</li><li>{counted(move, language, 0)}</li><li>This page has been accessed {move.grouped()}
times.</li></ul></footer><!-- NewPP limit report Cached time: {move.now:%Y%m%d%H%M%S} CPU time usage: {move.rng.random():.3f}
seconds --><script>(RLQ=window.RLQ||[]).push(function(){{mw.config.set({{"wgHostname":"mw{move.count()}",
"wgBackendResponseTime":{move.count()}}});}});</script></body></html>"""


def government(still: random.Random, move: Moving, language: str) -> str:
    """An authority: the date in official form, a gazette, contact, a hit counter with leading zeros."""
    lines, names = text(still, language, 6), NAMES[language].split("|")
    date = move.chinese_date() if language in ("zh", "ja") else move.long_date(language)
    return f"""<html lang="{language}"><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8">
<title>{names[0]}</title><script src="https://stats.authority.example/piwik.js" async></script>
<script>var _paq=_paq||[];_paq.push(['setCustomVariable',1,'node','{move.hexes(6)}','page']);_paq.push(['trackPageView']);
</script></head><body><div class="date">{date}</div>{nav(still, language)}<h1>{lines[0]}</h1><p>{lines[1]}</p>
<table><tr><th>{names[2]}</th><th>{move.short_date(language)}</th></tr><tr><td>{lines[2]}</td><td>{move.clock()}</td></tr>
</table><iframe src="https://maps.authority.example/embed?place=hall&amp;ts={move.count()}"></iframe>
<p>{lines[3]}</p><p>Tel. {PHONE}</p><p><a href="/docs/form-a.pdf?download={move.count()}">{lines[4]}</a></p>
<p>{online(move, language)} – {move.count():07}</p><p>{names[2]}: {move.short_date(language)}</p></body></html>"""


def shell(still: random.Random, move: Moving, language: str) -> str:
    """A single-page application as Vite builds it: nearly nothing but hashed files and a state."""
    names = NAMES[language].split("|")
    preload = "".join(
        f'<link rel="modulepreload" crossorigin href="/assets/{name}-{move.base64url(6)}.js">'
        for name in move.shuffled(["vendor", "router", "i18n"])
    )
    return f"""<!doctype html><html lang="{language}"><head><meta charset="UTF-8"/><title>{names[0]}</title>
<script type="module" crossorigin src="/assets/index-{move.base64url(6)}.js"></script>{preload}
<link rel="stylesheet" crossorigin href="/assets/index-{move.base64url(6)}.css"><link rel="icon" href="/favicon.ico?v={
        move.hexes(7)
    }"></head><body><div id="root" data-build="{move.hexes(40)}" data-time="{move.stamp()}"></div><noscript>
{text(still, language, 1)[0]}</noscript><script id="__APP_STATE__" type="application/json">{
        data(move.state())
    }</script><script>window.__BUILD__="{move.hexes(12)}";window.__NOW__={
        int(move.now.timestamp() * 1000)
    };window.__ENV__={json.dumps({"API": "/api", "SENTRY": move.hexes(32)})}</script>
</body></html>"""


def next_app(still: random.Random, move: Moving, language: str) -> str:
    """A page rendered by Next.js: a build id in paths, chunks, props as JSON."""
    lines, build = text(still, language, 4), move.base64url(15)
    chunks = "".join(
        f'<script src="/_next/static/chunks/{name}-{move.hexes(16)}.js" defer=""></script>'
        for name in move.shuffled(["webpack", "framework", "main", "pages/_app"])
    )
    props = data({"props": {"pageProps": move.state()}, "buildId": build, "query": {}})
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charSet="utf-8"/><title>{lines[0]}</title>
<link rel="preload" href="/_next/static/css/{move.hexes(16)}.css" as="style"/><link rel="stylesheet" data-n-g=""
href="/_next/static/css/{move.hexes(16)}.css"/>{chunks}<script src="/_next/static/{build}/_buildManifest.js" defer></script>
<style data-styled="" data-styled-version="6.1.{move.rng.randint(0, 9)}">.{move.word(6)}{{color:red;}}/*!sc*/
.{move.word(6)}{{margin:{move.rng.randint(1, 9)}px;}}</style></head><body><div id="__next"><main class="sc-{move.word(6)}
{move.word(6)}"><h1>{lines[0]}</h1><p>{lines[1]}</p><p class="{move.word(5)}__{move.word(5)}">{lines[2]}</p><p>Updated
{move.ago("en")}</p><p>{counted(move, language, 0)}</p><img src="/_next/image?url=%2Fhero.{move.hexes(8)}.png&amp;w=1080&amp;q=75"
srcset="/_next/image?url=%2Fhero.{move.hexes(8)}.png&amp;w=1920&amp;q=75 2x" alt=""><p>{lines[3]}</p></main></div>
<script id="__NEXT_DATA__" type="application/json">{props}</script></body></html>"""


def admin(still: random.Random, move: Moving, language: str) -> str:
    """An administration rendered on the server, Livewire and ASP.NET manners mixed: figures in tables."""
    names = NAMES[language].split("|")
    rows = "".join(
        f"<tr><td>{escape(line[:30])}</td><td>{move.grouped()}</td><td>{move.signed()}</td><td>{move.clock()}</td></tr>"
        for line in move.shuffled(text(still, language, 5))
    )
    snapshot = escape(json.dumps({"data": {"count": move.count()}, "checksum": move.hexes(64)}), quote=True)
    return f"""<!DOCTYPE html><html lang="{language}"><head><title>Console · {names[0]}</title></head><body>
<form method="post" action="./Default.aspx?t={move.count()}" id="aspnetForm"><input type="hidden" name="__VIEWSTATE"
value="{move.base64(180)}"><input type="hidden" name="__EVENTVALIDATION" value="{move.base64(60)}"></form>
<div wire:snapshot="{snapshot}" wire:id="{move.word(20)}"><h2>{names[2]}</h2><table>{rows}</table></div>
<progress value="{move.count()}" max="100000"></progress><p>CPU {move.rng.randint(1, 99)}% · RAM {
        move.rng.random() * 64:.1f}
GB / 64 GB · Uptime {move.rng.randint(1, 400)} days, {move.rng.randint(1, 23)}:{move.rng.randint(10, 59)}</p><p>{
        move.plural("job", "jobs")
    } in the queue, {move.plural("worker", "workers")}</p><p>Session expires in {
        move.plural("minute", "minutes")
    }</p><p>Server time: {move.http_date()}</p><p>{move.stamp()}</p><a
href="/logout?token={move.hexes(40)}">Log out</a><script>setTimeout(function(){{ location.reload(); }}, {
        move.rng.randint(30, 90)
    }000);</script></body></html>"""


def docs(still: random.Random, move: Moving, language: str) -> str:
    """Documentation: code, an edit date, contributors in any order, a build number."""
    lines = text(still, language, 5)
    people = ", ".join(move.shuffled(["ada", "grace", "linus", "margaret"]))
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>Guide — Docs</title>
<link rel="stylesheet" href="_static/pygments.css?v={move.hexes(8)}"><script src="_static/documentation_options.js?v={
        move.hexes(8)
    }"></script><script src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-mml-chtml.js" async></script></head>
<body><h1>Guide</h1><p>{lines[0]}</p><pre><code class="language-sh">$ pip install nova
$ nova serve --port 8000
</code></pre><p>{lines[1]}</p><p>{lines[2]}</p>{move.gap()}<p>Last updated on <time>{move.now:%b %d, %Y}</time> by {
        people
    }</p>
<p>{move.short_date(language)}</p><p>Built from commit <code>{move.hexes(40)}</code> ({move.hexes(7)}), build #{
        move.count()
    }</p>
<p>★ {move.short_count()} · {move.rng.randint(80, 4000)} forks · {
        move.plural("contributor", "contributors")
    }</p></body></html>"""


def bank(still: random.Random, move: Moving, language: str) -> str:
    """A bank: rates, the state of markets, and a challenge script as content networks inject it."""
    lines = text(still, language, 4)
    rates = "".join(
        f"<tr><td>{code}</td><td>{move.rng.random() * 9:.4f}</td><td class='{move.rng.choice(['up', 'down'])}'>"
        f"{move.signed()}</td></tr>"
        for code in move.shuffled(["EUR", "USD", "JPY", "CHF", "CNY"])
    )
    params = f"r:'{move.hexes(16)}',t:'{move.base64(14)}'"
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>Bank</title></head><body><h1>
{lines[0]}</h1><table>{rates}</table><p>{lines[1]}</p><p>{move.long_date(language)}</p><p>{lines[2]}</p>
<a href="/cdn-cgi/l/email-protection#{move.hexes(42)}"><span class="__cf_email__" data-cfemail="{
        move.hexes(42)
    }">[email&#160;
protected]</span></a><p>Bitcoin: {BITCOIN}</p><p>Next update in {move.rng.randint(1, 59)} min</p><p>{lines[3]}</p>
<form action="https://secure.bank.example/session/{move.uuid()}" method="post"><input name="pin" type="password"></form>
<script>(function(){{function c(){{var b=a.contentDocument||a.contentWindow.document;if(b){{var d=b.createElement('script');
d.innerHTML="window.__CF$cv$params={{{
        params
    }}};var a=document.createElement('script');a.src='/cdn-cgi/challenge-platform/scripts/jsd/main.js';document.getElementsByTagName('head')[0].appendChild(a);";
b.getElementsByTagName('head')[0].appendChild(d)}}}}if(document.body){{var a=document.createElement('iframe');a.height=1;
document.body.appendChild(a);c()}}}})();</script><script defer src="https://static.insights.example/beacon.min.js/v{
        move.hexes(32)
    }" data-cf-beacon='{{"rayId":"{move.hexes(16)}","token":"{move.hexes(32)}"}}'></script></body></html>"""


def event(still: random.Random, move: Moving, language: str) -> str:
    """An event: a countdown, places left, a poll, a calendar of the month, sponsors in any order."""
    lines, names = text(still, language, 4), NAMES[language].split("|")
    days = "".join(
        f"<td{' class=today' if day == move.now.day else ''}>{day}</td>" for day in range(1, move.rng.randint(28, 32))
    )
    sponsors = "".join(
        f'<li><img src="/logos/{name}.svg"> {name}</li>' for name in move.shuffled(["Ada", "Borealis", "Cirrus"])
    )
    poll = "".join(
        f"<li>{word}: {move.rng.randint(0, 100)} % ({move.count()})</li>" for word in move.shuffled(names[:3])
    )
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{lines[0]}</title>
<script type="application/ld+json">{
        json.dumps({"@type": "Event", "startDate": move.stamp(), "offers": move.count()})
    }</script>
</head><body><h1>{lines[0]}</h1><p class="countdown">{move.rng.randint(0, 99)} days {move.rng.randint(0, 23)} hours {
        move.rng.randint(0, 59)
    } minutes {move.rng.randint(0, 59)} seconds</p><p>{lines[1]}</p><ul>{sponsors}</ul><table><caption>{move.now:%B} {
        move.now.year
    }</caption><tr>{days}</tr></table><ul class="poll">{poll}</ul><p>{left(move, language)}</p><p>
{online(move, language)}</p><p>{lines[2]}</p><p>{move.long_date(language)}</p><img src="/pixel.gif?{
        move.rng.random()
    }"></body>
</html>"""


def feed(still: random.Random, move: Moving, language: str) -> str:
    """A social feed: short ages, short counts, avatars with signed addresses, ids of elements made by a framework."""
    lines = text(still, language, 6)
    posts = move.shuffled(
        f'<article id="ember{move.count()}" data-id="{move.uuid()}"><img src="/avatars/{place}.png?sig={move.base64url(20)}&amp;'
        f'exp={int(move.now.timestamp())}"><b>user_{place}</b> <time title="{move.long_date("en")}">{move.short_ago()}</time>'
        f"<p>{line}</p><span>♥ {move.short_count()}</span> <span>{counted(move, language, 1)}</span></article>"
        for place, line in enumerate(lines)
    )
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>({
        move.rng.randint(0, 20)
    }) Feed</title>
</head><body><div id="__nuxt" data-server-rendered="true"><h1>Feed</h1>{
        "".join(posts)
    }</div><script>window.__NUXT__=(function(a,b,c){{
return {{layout:"default",data:[{{total:{move.count()},token:b,posts:{
        data(move.state()["items"])
    }}}],error:a}}}}(null,"{move.hexes(24)}",{move.count()}));</script></body></html>"""


def old(still: random.Random, move: Moving, language: str) -> str:
    """A page of the nineties: frames of tables, a counter of digits as images, sloppy markup, upper case."""
    lines = text(still, language, 4)
    digits = "".join(f'<IMG SRC="/cgi-bin/digits/{digit}.gif">' for digit in f"{move.count():06}")
    return f"""<HTML><HEAD><TITLE>Welcome</TITLE></HEAD><BODY BGCOLOR=white><CENTER><H1>{lines[0]}</H1>
<P>{lines[1]}<P>{lines[2]}<BR>{lines[3]}{move.gap()}<TABLE BORDER=1><TR><TD>{move.long_date(language)}<TD>You are visitor
number {move.grouped()}</TABLE>{digits}<P><FONT SIZE=2>Last modified: {move.now:%m/%d/%y} by <A
HREF="mailto:webmaster@old.example">webmaster</A></FONT><P>{move.clock()}</CENTER></BODY></HTML>"""


def weather(still: random.Random, move: Moving, language: str) -> str:
    """A town's page with the weather, the sun, tides, departures and the water's level."""
    lines = text(still, language, 4)
    departures = "".join(
        f"<tr><td>{move.rng.randint(0, 23):02}:{move.rng.randint(0, 59):02}</td><td>{line}</td><td>{place}</td></tr>"
        for line, place in move.shuffled(zip(["U1", "S7", "Bus 12"], ["North", "Harbour", "Airport"], strict=True))
    )
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>Town, {
        move.rng.randint(-9, 35)
    }°C</title>
</head><body><h1>Town</h1><p>{move.rng.randint(-9, 35)} °C · {move.rng.randint(20, 99)} % · {
        move.rng.randint(990, 1040)
    } hPa ·
{move.rng.random() * 20:.1f} km/h</p><p>☀ {move.rng.randint(4, 8)}:{move.rng.randint(10, 59)} – {
        move.rng.randint(16, 22)
    }:{move.rng.randint(10, 59)}</p><table>{departures}</table><p>{lines[0]}</p><p>{lines[1]}</p><p>{
        move.long_date(language)
    }</p>
<p>{lines[2]} ({move.ago(language)})</p><p>{lines[3]}</p><footer>{move.now.year} · v{move.rng.randint(1, 9)}.{
        move.rng.randint(0, 30)
    }.{move.rng.randint(0, 9)}</footer></body></html>"""


TEMPLATES: tuple[Template, ...] = (
    news, shop, blog, forum, login, wiki, government, shell, next_app, admin, docs, bank, event, feed, old, weather,
)  # fmt: skip
