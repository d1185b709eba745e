"""What moves in texts, addresses and scripts is masked, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from babel.dates import format_date, format_datetime, format_timedelta

from cloudeye.services.tamper import masks, scripts
from cloudeye.services.tamper.addresses import Base, Place
from cloudeye.services.tamper.masks import mask
from tests.unit.cloudeye.tamper import cldr

ROOT = Path(__file__).parents[3]
# The months of these take endings or beginnings of the sentence's own, which CLDR does not list.
INFLECTED = {"he", "eu"}
MOMENTS = [datetime(2026, 1, 3, 4, 5, tzinfo=UTC) + timedelta(days=37.31 * step) for step in range(24)]
AGES = [timedelta(seconds=-seconds) for seconds in (5, 61, 150, 3600, 8000)]
AGES += [timedelta(days=-days) for days in (1, 3, 9, 16, 40, 100, 400, 1200)]


@pytest.mark.parametrize("locale", [name for name in cldr.LOCALES if name not in INFLECTED])
def test_a_time_in_any_language_is_masked(locale: str) -> None:
    for form in ("full", "long", "medium", "short"):
        assert len({mask(f"Posted: {format_datetime(at, form, locale=locale)}") for at in MOMENTS}) == 1, form
        assert len({mask(format_date(at, form, locale=locale)) for at in MOMENTS}) == 1, form
    try:
        ages = {
            mask(f"X {format_timedelta(age, add_direction=True, locale=locale, format=form)}")
            for age in AGES
            for form in ("long", "short", "narrow")
        }
    except KeyError:  # Babel has no such patterns for some
        return
    assert len(ages) == 1


def test_the_words_are_those_of_the_cldr() -> None:
    # Babel resolves its data as it is used, so what it gives depends on what was asked before: hence a new process.
    command = [sys.executable, "-X", "utf8", "-m", cldr.__name__, "--print"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=120, check=True)
    assert done.stdout.decode() == cldr.TARGET.read_text("utf-8"), "python -m tests.unit.cloudeye.tamper.cldr"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1 comment", "230 comments"),
        ("▲ 1.2 %", "-0,34%"),
        ("© 2011-2026 Nova", "© 2011–2027 Nova"),  # noqa: RUF001 - a dash
        ("Updated just now", "Updated Nov 3"),
        ("garden, bread and tea", "tea, garden and bread"),
        ("★★★☆☆ (12)", "★★★★★ (13)"),
        ("Request 550e8400-e29b-41d4-a716-446655440000", "Request 9b2d7a10-1111-4abc-8def-00aa11bb22cc"),
        ("Ends in 2 days 3 hours", "Ends in 59 minutes"),
        ("二〇二六年三月十四日", "二〇二七年十二月二日"),
        ("٣ مارس ٢٠٢٦", "١٢ أبريل ٢٠٢٧"),
    ],
)
def test_texts_that_differ_by_what_moves_are_the_same(one: str, other: str) -> None:
    assert mask(one) == mask(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("We sell lamps.", "We sell chairs."),
        ("We sell lamps.", "We sell lamps. Hacked!"),
        ("Open 9 to 5", "Closed 9 to 5"),
        ("Call +49 30 5550 1234", "Call +49 30 5550 9876"),
        ("desk@press.example", "desk@press-office.example"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN DE02 1203 0000 0000 2020 51"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ("bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh", "bc1q9d4ywgfnd8h43da5tpcxcn6ajv590cg6d3tg6a"),
        ("0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D"),
        ("paypal", "pаypal"),  # noqa: RUF001 - the second is written with a Cyrillic letter
        ("数据安全", "黑客入侵"),
    ],
)
def test_texts_that_say_something_else_are_not(one: str, other: str) -> None:
    assert mask(one) != mask(other)


def test_what_has_the_form_of_an_account_but_no_valid_checksum_is_a_token() -> None:
    assert mask("IBAN DE89 3704 0044 0532 0130 01") == mask("IBAN DE89 3704 0044 0532 0130 02")
    assert mask("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb") == mask("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNc")


def test_a_long_text_is_compared_to_its_end() -> None:
    long = "word " * masks.LONGEST_KEY
    assert mask(long + "one 5") == mask(long + "one 6")
    assert mask(long + "one") != mask(long + "two")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/assets/app.3f2a1b9c.js", "/assets/app.00ff11ee.js"),
        ("/assets/index-BX3k2a9z.js", "/assets/index-D_x-9QwE.js"),
        (
            "/_next/static/Zx81kd03mdkeo20dkcow/_buildManifest.js",
            "/_next/static/Qw8dj2kd9dk2lsk20dkw/_buildManifest.js",
        ),
        ("/style.css?ver=6.1", "/style.css?ver=6.2"),
        ("/login;jsessionid=AA00?next=/", "/login;jsessionid=BB11?next=/"),
        ("viewtopic.php?f=2&t=5&sid=aa11", "viewtopic.php?sid=bb22&t=7&f=2"),
        ("/a?b=1&c=2", "/a?c=2&b=1"),
        ("/a#top", "/a#end"),
        ("/pixel.gif?0.123", "/pixel.gif?0.9"),
        ("https://cdn1.media.example/a.js", "https://cdn2.media.example/a.js"),
        ("https://www.nova.example/a", "http://nova.example/a"),
        ("https://www.nova.example:443/a", "/a"),
    ],
)
def test_addresses_that_differ_by_what_moves_are_the_same(one: str, other: str) -> None:
    base = Base("https://www.nova.example/shop/")
    assert same(base.place(one)) == same(base.place(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/a.js", "/b.js"),
        ("/docs/form.pdf", "/docs/form.exe"),
        ("https://tags.example/gtag/js?id=G-12AB34CD", "https://tags.example/gtag/js?id=G-98ZY76XW"),
        ("/a.js", "//evil.example/a.js"),
        ("/a.js", "/\\evil.example/a.js"),
        ("/a.js", "https:\\\\evil.example/a.js"),
        ("/a.js", "\thttps://ev\nil.example/a.js"),
        ("https://pay.example/a", "https://pay.example.evil.example/a"),
        ("https://pay.example/a", "https://pay.example:8443/a"),
        ("https://user1.github.io/a.js", "https://user2.github.io/a.js"),
        ("mailto:a@b.example", "mailto:c@b.example"),
        ("/go?to=https://a.example/", "/go?to=https://b.example/"),
    ],
)
def test_addresses_that_lead_elsewhere_are_not(one: str, other: str) -> None:
    base = Base("https://www.nova.example/shop/")
    assert same(base.place(one)) != same(base.place(other))


def same(place: Place | None) -> tuple[str, str] | None:
    return None if place is None else (place.origin, place.key)


@pytest.mark.parametrize(
    "address", ["http://[::1", "//[", "https://a:99999999/", "http://\x00/", "a" * 100_000, "?", ";", "//"]
)
def test_an_address_that_cannot_be_read_leads_somewhere_all_the_same(address: str) -> None:
    place = Base("https://www.nova.example/").place(address)
    assert place is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('var t="rz7lHBUVkiwpN+lP";go(t)', 'var t="qKjubyOEF3PDTdoW";go(t)'),
        ("window.S = {a: 1, b: [1, 2, {c: 'x'}]};", 'window.S={"a":2,"b":[],"d":null};'),
        ("go(1.5e-05)", "go(3)"),
        ("/* built 1 */ go()", "go() // built 2"),
        ("x = JSON.parse('{\"a\":1}')", 'x = JSON.parse("[]")'),
    ],
)
def test_scripts_that_differ_by_data_are_the_same(one: str, other: str) -> None:
    assert scripts.read(one) == scripts.read(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("go()", "go();steal()"),
        ("location='/login'", "location='//evil.example/'"),
        ('eval(atob("ZG9jdW1lbnQx"))', 'eval(atob("ZG9jdW1lbnQy"))'),
        ("var m = 'Welcome'", "var m = 'Hacked'"),
        ("window.S={a:1}", "window.S={a:steal()}"),
        ("x='//';go()", "x='//';steal()"),
    ],
)
def test_scripts_that_do_something_else_are_not(one: str, other: str) -> None:
    assert scripts.read(one) != scripts.read(other)


def test_a_script_in_data_is_a_host_that_is_named() -> None:
    assert scripts.read(
        'window.S={"load":["https://evil.example/x.js"],"image":"https://cdn.example/i.png"}'
    ).hosts == {"evil.example"}
