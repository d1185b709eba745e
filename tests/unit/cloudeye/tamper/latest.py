"""Four kinds of pages more, to see whether what was learned from those before holds for others."""

# ruff: noqa: E501, RUF001 - what sites write is not to be wrapped

from __future__ import annotations

import random

from tests.unit.cloudeye.tamper.moving import Moving, Template
from tests.unit.cloudeye.tamper.sentences import NAMES
from tests.unit.cloudeye.tamper.templates import data, left, nav, online, text


def elementor(still: random.Random, move: Moving, language: str) -> str:
    """WordPress with a page builder: settings of emoji, lazy pictures, a cache's comment, ids of elements."""
    lines = text(still, language, 5)
    return f"""<!DOCTYPE html><html lang="{language}" prefix="og: https://ogp.me/ns#"><head><meta charset="UTF-8"><title>{lines[0]}</title><meta property="og:updated_time" content="{move.stamp()}"><meta property="og:title" content="{lines[0]}">
<script>window._wpemojiSettings = {{"baseUrl":"https:\\/\\/s.w.example\\/images\\/core\\/emoji\\/15.0.{move.rng.randint(0, 9)}\\/72x72\\/","ext":".png","source":{{"concatemoji":"https:\\/\\/www.nova.example\\/wp-includes\\/js\\/wp-emoji-release.min.js?ver={move.rng.randint(5, 7)}.{move.rng.randint(0, 9)}"}}}};
!function(i,n){{var o,s,e;function c(e){{try{{var t={{supportTests:e,timestamp:(new Date).valueOf()}};sessionStorage.setItem(o,JSON.stringify(t))}}catch(e){{}}}}}}(window,document);</script>
<style id='core-block-supports-inline-css'>.wp-container-{move.rng.randint(1, 99)}{{flex-wrap:nowrap;}} .elementor-{move.count()} .elementor-element.elementor-element-{move.hexes(7)}{{--display:flex;}}</style>
<link rel='stylesheet' id='elementor-post-12-css' href='https://www.nova.example/wp-content/uploads/elementor/css/post-12.css?ver={int(move.now.timestamp())}' media='all'/></head><body class="page-id-12 elementor-page"><div data-elementor-id="12" data-id="{move.hexes(7)}">{nav(still, language)}<h2>{lines[1]}</h2><p>{lines[2]}</p>
<img src="data:image/svg+xml;base64,{move.base64(30)}" data-src="https://www.nova.example/a.jpg?x={move.count()}" class="lazyload"><p>{move.ago(language)}</p></div>
<script id="elementor-frontend-js-before">var elementorFrontendConfig = {data({"environmentMode": {"edit": False}, "version": "3.2", "nonces": {"a": move.hexes(10)}, "post": {"id": 12, "title": lines[0]}})};</script><script>document.addEventListener('DOMContentLoaded', function () {{ window.lazy = {{ delay: {move.rng.randint(100, 900)} }}; }});</script></body></html>
<!-- This website is like a Rocket, isn't it? Debug: cached@{int(move.now.timestamp())} -->"""


def storefront(still: random.Random, move: Moving, language: str) -> str:
    """A hosted shop's theme: sections with random ids, a monorail of events, availability, a free-shipping bar."""
    lines, names = text(still, language, 4), NAMES[language].split("|")
    cards = "".join(
        move.shuffled(
            f'<li class="grid__item"><a href="/products/{name}?_pos={move.rng.randint(1, 9)}&_sid={move.hexes(9)}&_ss=r&variant={move.count()}">Nova {name}</a><span class="price">{move.rng.randint(5, 99)},{move.rng.randint(10, 99)} kr</span></li>'
            for name in ("lamp", "chair", "vase")
        )
    )
    return f"""<!doctype html><html class="no-js" lang="{language}"><head><title>{names[1]} – Nova</title><script id="shopify-features" type="application/json">{{"accessToken":"{move.hexes(32)}","betas":["rich"]}}</script>
<script>var Shopify = Shopify || {{}}; Shopify.shop = "nova.myshop.example"; Shopify.theme = {{"name":"Dawn","id":{move.count()},"schema_version":"15.{move.rng.randint(0, 9)}.0"}}; Shopify.cdnHost = "www.nova.example/cdn";</script>
<script>window.performance && window.performance.mark && window.performance.mark('shopify.content_for_header.start');</script><meta id="shopify-digital-wallet" name="shopify-digital-wallet" content="/{move.count()}/digital_wallets/dialog">
<script>(function(){{var t = {data({"pageurl": "/collections", "t": "home", "s": move.uuid(), "reqid": f"{move.uuid()}-{int(move.now.timestamp())}"})}; window.ShopifyAnalytics = t;}})();</script><link href="//www.nova.example/cdn/shop/t/{move.rng.randint(1, 20)}/assets/base.css?v={move.count()}{move.count()}" rel="stylesheet"></head>
<body><div id="shopify-section-sections--{move.count()}__announcement-bar">{names[7]}: {move.rng.randint(1, 50)} kr</div><h1>{lines[0]}</h1><ul>{cards}</ul><p>{left(move, language)}</p><p>{lines[1]}</p><form method="post" action="/localization" id="FooterCountryForm{move.count()}"><input type="hidden" name="utf8" value="✓"><input type="hidden" name="return_to" value="/?r={move.count()}"></form>
<footer><small>© {move.now.year}, Nova</small> {lines[2]}</footer></body></html>"""


def turbo(still: random.Random, move: Moving, language: str) -> str:
    """Rails with Turbo: import map of digested files, signed streams, tokens of each form, presence."""
    lines, names = text(still, language, 4), NAMES[language].split("|")
    modules = {
        name: f"/assets/{name}-{move.hexes(64)}.js" for name in ("application", "@hotwired/turbo-rails", "controllers")
    }
    return f"""<!DOCTYPE html><html lang="{language}"><head><title>{names[0]}</title><meta name="csrf-token" content="{move.base64url(64)}"><meta name="csp-nonce" content="{move.base64(16)}"><link rel="stylesheet" href="/assets/tailwind-{move.hexes(64)}.css" data-turbo-track="reload">
<script type="importmap" data-turbo-track="reload" nonce="{move.base64(16)}">{data({"imports": modules})}</script><script type="module" nonce="{move.base64(16)}">import "application"</script></head><body>{nav(still, language)}
<turbo-cable-stream-source channel="Turbo::StreamsChannel" signed-stream-name="{move.base64(40)}--{move.hexes(64)}"></turbo-cable-stream-source><turbo-frame id="post_{move.count()}"><h1>{lines[0]}</h1><p>{lines[1]}</p></turbo-frame>
<form class="button_to" method="post" action="/likes?post={move.count()}"><button type="submit">{names[5]} ({move.rng.randint(0, 90)})</button><input type="hidden" name="authenticity_token" value="{move.base64url(64)}" autocomplete="off"></form><p>{online(move, language)}</p><p>{lines[2]}</p><p>{move.long_date(language)}</p></body></html>"""


def dashboard(still: random.Random, move: Moving, language: str) -> str:
    """A status page: bars of ninety days, figures, durations, incidents' ages, drawings whose paths move."""
    lines = text(still, language, 4)
    bars = "".join(
        f'<rect x="{day * 3}" height="{move.rng.randint(1, 34)}" fill="#{move.hexes(6)}" data-html="true"><title>{move.now:%d %b}: {move.rng.random() * 100:.2f}%</title></rect>'
        for day in range(20)
    )
    points = " ".join(f"{x},{move.rng.randint(0, 99)}" for x in range(0, 100, 10))
    return f"""<!DOCTYPE html><html lang="{language}"><head><title>Status: {move.rng.random() * 100:.1f}%</title><meta http-equiv="refresh" content="{move.rng.randint(30, 90)}"></head><body><h1>{lines[0]}</h1><svg>{bars}<polyline points="{points}"/></svg><p>p95 {move.rng.randint(10, 900)} ms · {move.rng.random() * 9:.1f} req/s · {move.short_count()}</p>
<p>{move.plural("incident", "incidents")} · {move.rng.randint(1, 59)}m {move.rng.randint(1, 59)}s · {move.rng.randint(0, 9)} d {move.rng.randint(0, 23)} h</p><p>{lines[1]}</p><p>{move.ago(language)}</p><p>Next refresh: {move.clock()}</p><p>{lines[2]}</p><script>var chart = new Chart('c', {{type: 'line', data: {data([move.rng.random() for _ in range(move.rng.randint(3, 30))])}, options: {{animation: false}}}}); var updated = "{move.http_date()}";</script></body></html>"""


LATEST: tuple[Template, ...] = (elementor, storefront, turbo, dashboard)
