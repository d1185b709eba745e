"""More kinds of pages, written after the masks were, to see how they fare with what they were not made for."""

# ruff: noqa: E501 - what sites write is not to be wrapped or translated

from __future__ import annotations

import random
from html import escape

from tests.unit.cloudeye.tamper.moving import Moving, Template
from tests.unit.cloudeye.tamper.sentences import NAMES
from tests.unit.cloudeye.tamper.templates import counted, data, nav, text


def svelte(still: random.Random, move: Moving, language: str) -> str:
    """SvelteKit: a name made anew in the code itself, hydration with arrays of data, hashed class names."""
    lines, name, css = (
        text(still, language, 4),
        f"__sveltekit_{move.word(6, '0123456789abcdefghijklmnopqrstuvwxyz')}",
        move.word(12, "abcdefghij0123456789"),
    )
    return f"""<!doctype html><html lang="{language}"><head><meta charset="utf-8"/><title>{lines[0]}</title>
<link href="../_app/immutable/assets/0.{move.word(8)}.css" rel="stylesheet"><link rel="modulepreload" href="../_app/immutable/entry/start.{move.word(8)}.js">
</head><body data-sveltekit-preload-data="hover"><div style="display: contents"><h1 class="svelte-{css}">{lines[1]}</h1>
<p class="svelte-{css}">{lines[2]}</p><p>{move.ago("en")}</p><script>{{
{name} = {{ base: new URL(".", location).pathname.slice(0, -1), assets: "" }};
const element = document.currentScript.parentElement;
const data = [null,{data(move.state())}];
Promise.all([import("../_app/immutable/entry/start.{move.word(8)}.js"),import("../_app/immutable/entry/app.{move.word(8)}.js")]).then(([kit, app]) => {{
kit.start(app, element, {{ node_ids: [0, {move.rng.randint(1, 40)}], data, form: null, error: null }}); }});
}}</script></div></body></html>"""


def drupal(still: random.Random, move: Moving, language: str) -> str:
    """Drupal: form build ids, settings as JSON, dom ids of views, the time in words, a weekday's greeting."""
    lines, names = text(still, language, 4), NAMES[language].split("|")
    settings = data(
        {
            "path": {"baseUrl": "/", "currentPath": "node/7"},
            "ajaxPageState": {"theme": "olivero", "libraries": move.base64url(60)},
            "user": {"uid": 0, "permissionsHash": move.hexes(64)},
        }
    )
    return f"""<!DOCTYPE html><html lang="{language}" dir="ltr"><head><meta charset="utf-8"/><meta name="Generator" content="Drupal {move.rng.randint(9, 11)}"/>
<title>{names[0]} | {names[3]}</title><link rel="stylesheet" media="all" href="/sites/default/files/css/css_{move.base64url(32)}.css?delta=0&amp;language=en&amp;theme=olivero&amp;include={move.base64url(80)}"/></head>
<body>{nav(still, language)}<div class="views-element-container js-view-dom-id-{move.hexes(64)}"><h2>{lines[0]}</h2><p>{lines[1]}</p></div>
<p>Submitted by <a href="/user/4">editor</a> on {move.now:%a, %m/%d/%Y - %H:%M}</p><p>{move.ago(language)}</p>
<form action="/node/7?check_logged_in=1" method="post" id="search-block-form"><input name="keys" type="search"/><input autocomplete="off" data-drupal-selector="form-{move.base64url(32).lower()}" type="hidden" name="form_build_id" value="form-{move.base64url(32)}"/><input type="hidden" name="honeypot_time" value="{move.base64url(40)}"/></form>
<script type="application/json" data-drupal-selector="drupal-settings-json">{settings}</script><script src="/sites/default/files/js/js_{move.base64url(32)}.js?scope=footer&amp;delta=0&amp;include={move.base64url(50)}"></script>
<p>{lines[2]}</p><time datetime="{move.stamp()}">{move.long_date(language)}</time></body></html>"""


def remix(still: random.Random, move: Moving, language: str) -> str:
    """React Router or Remix: a context in code, a manifest by hash, streamed data, ids of elements by useId."""
    lines = text(still, language, 5)
    key = move.base64url(5)
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charSet="utf-8"/><title>{lines[0]}</title><meta name="sentry-trace" content="{move.hexes(32)}-{move.hexes(16)}-1"/><meta name="baggage" content="sentry-environment=production,sentry-trace_id={move.hexes(32)}"/>
<link rel="modulepreload" href="/assets/entry.client-{move.base64url(6)}.js"/></head><body><main id=":r{move.hexes(1)}:"><h1>{lines[0]}</h1><p>{lines[1]}</p><p>{counted(move, language, 1)}</p><button aria-controls="radix-:R{move.word(6)}:">{lines[2][:12]}</button></main>
<script>window.__reactRouterContext = {data({"basename": "/", "future": {"v8": True}, "state": move.state()})};window.__reactRouterContext.stream = new ReadableStream({{start(controller){{window.__reactRouterContext.streamController = controller;}}}}).pipeThrough(new TextEncoderStream());</script>
<script type="module" async="">import "/assets/manifest-{move.hexes(8)}.js";
import * as route0 from "/assets/root-{move.base64url(6)}.js";
window.__reactRouterRouteModules = {{"root":route0}};
import("/assets/entry.client-{key}A.js");</script></body></html>"""


def tracked(still: random.Random, move: Moving, language: str) -> str:
    """A campaign's page: the snippets of analytics, a pixel, an experiment, consent, a countdown with days by name."""
    lines, names = text(still, language, 4), NAMES[language].split("|")
    return f"""<!DOCTYPE html><html lang="{language}"><head><title>{lines[0]}</title>
<script async src="https://www.tagmanager.example/gtag/js?id=G-7Q2XW4N9PL"></script><script>window.dataLayer = window.dataLayer || [];
function gtag(){{dataLayer.push(arguments);}} gtag('js', new Date()); gtag('config', 'G-7Q2XW4N9PL', {{'client_id': '{move.count()}.{move.count()}', 'page_load': '{move.stamp()}'}});</script>
<script>!function(f,b,e,v,n,t,s){{if(f.fbq)return;n=f.fbq=function(){{n.callMethod?n.callMethod.apply(n,arguments):n.queue.push(arguments)}};t=b.createElement(e);t.async=!0;t.src=v;s=b.getElementsByTagName(e)[0];s.parentNode.insertBefore(t,s)}}(window,document,'script','https://connect.social.example/en_US/fbevents.js');
fbq('init', '{still.randint(10**14, 10**15)}'); fbq('track', 'PageView', {{eventID: '{move.uuid()}'}});</script>
<script>window._exp = {{"variant":"{move.rng.choice("AB")}","bucket":{move.count()}}}; window.NREUM||(NREUM={{}});NREUM.info={{"beacon":"bam.monitor.example","licenseKey":"{still.randint(10**9, 10**10)}","applicationTime":{move.count()},"queueTime":{move.rng.randint(0, 9)},"atts":"{move.base64(30)}"}};</script></head>
<body><h1>{lines[0]}</h1><p>{lines[1]}</p><p>Offer ends {move.now:%A}</p><p>Only {move.plural("hour", "hours")} and {move.plural("minute", "minutes")} left!</p><p>{lines[2]}</p>
<noscript><img height="1" width="1" style="display:none" src="https://www.social.example/tr?id=123&ev=PageView&noscript=1&r={move.count()}"/></noscript>
<div class="cookie" data-consent-id="{move.uuid()}"><button>{names[7]}</button></div><div class="g-recaptcha" data-sitekey="6Lc_aXkUAAAAAKq" data-s="{move.base64url(60)}"></div></body></html>"""


def discussion(still: random.Random, move: Moving, language: str) -> str:
    """A discussion as Discourse serves it to those without scripts: preloaded data in an attribute, likes, ages."""
    lines = text(still, language, 6)
    posts = "".join(
        f'<div id="post_{place}" itemprop="comment" class="topic-body"><span class="creator"><a href="/u/ada{place}">ada{place}</a></span> <time datetime="{move.stamp()}">{move.long_date(language)}</time><p>{line}</p><meta itemprop="userInteractionCount" content="{move.count()}"/><span>{move.plural("Like", "Likes")}</span></div>'
        for place, line in enumerate(lines[1:])
    )
    return f"""<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{lines[0]} - Forum</title><meta name="description" content="{lines[1]}"><meta name="discourse_theme_id" content="2">
<meta name="theme-color" content="#{move.hexes(6)}"><link rel="canonical" href="https://www.nova.example/t/{move.rng.randint(1, 9)}"><link rel="preload" href="/theme-javascripts/{move.hexes(40)}.js?__ws=forum" as="script">
<script defer src="/theme-javascripts/{move.hexes(40)}.js?__ws=forum" data-theme-id="2" nonce="{move.base64url(16)}"></script><meta id="data-discourse-setup" data-environment="production" data-shared-session-key="{move.hexes(32)}"></head>
<body class="crawler"><div class="hidden" id="data-preloaded" data-preloaded="{escape(data(move.state()), quote=True)}"></div><h1>{lines[0]}</h1>{posts}<p>{move.short_count()} views · {move.plural("reply", "replies")} · {move.short_ago()}</p></body></html>"""


def angular(still: random.Random, move: Moving, language: str) -> str:
    """Angular rendered on the server: attributes named anew at each build, state as JSON, the build in the body."""
    lines, scope = text(still, language, 4), f"_ngcontent-ng-c{move.rng.randint(10**6, 10**10)}"
    return f"""<!DOCTYPE html><html lang="{language}" data-beasties-container><head><title>{lines[0]}</title><base href="/"><style ng-app-id="ng">.mat[{scope}]{{width:{move.count(90)}px}} .x[{scope}]:before{{content:"\\{move.hexes(4)}"}}</style>
<link rel="stylesheet" href="styles-{move.word(8, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")}.css" media="print" onload="this.media='all'"></head><body><app-root {scope} ng-version="19.{move.rng.randint(0, 9)}.{move.rng.randint(0, 20)}" ng-server-context="ssr">
<h1 {scope}>{lines[0]}</h1><p {scope}>{lines[1]}</p><p>{lines[2]}</p><span>v{move.rng.randint(1, 9)}.{move.rng.randint(0, 30)}.0-rc.{move.rng.randint(1, 9)}+{move.hexes(7)}</span> <span>{move.http_date()}</span></app-root>
<script src="polyfills-{move.word(8, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")}.js" type="module"></script><script src="main-{move.word(8, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")}.js" type="module"></script><script id="ng-state" type="application/json">{data(move.state())}</script></body></html>"""


LATER: tuple[Template, ...] = (svelte, drupal, remix, tracked, discussion, angular)
