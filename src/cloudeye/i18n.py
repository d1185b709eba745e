"""Which language and time zone an answer is in, and how its texts get there.

Texts are English in the code. A fixed one is translated where it leaves (errors.py, schemas.common.success); `N_`
marks one that is only a constant; one with values in it is translated where it is made, by
``gettext("%(name)s was added!", name=...)``. The catalogue lies in translations/ and is brought up to date by
``make messages``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Any

import marshmallow as ma
from flask import Flask, Response, g, has_request_context, request
from flask_babel import Babel, force_locale, get_locale, gettext
from flask_login import current_user
from marshmallow import fields, validate

from cloudeye.models import LANGUAGES, utcnow
from cloudeye.moments import show_time, zone_of
from cloudeye.phrases import N_, find_form
from cloudeye.services import outbox

__all__ = ["N_", "gettext", "language", "register", "speak", "time_zone", "translated"]

ENGLISH, CHINESE = LANGUAGES
# What browsers call the Chinese of the mainland and of Singapore (RFC 5646); those who ask for Taiwan's or Hong
# Kong's read other characters, and get English.
SIMPLIFIED = frozenset({"zh", "zh-cn", "zh-sg", "zh-my"})

LANGUAGE_COOKIE = "language"  # what a stranger chose at the foot of a page

babel = Babel()


def register(app: Flask) -> None:
    """Let the application speak the caller's language."""
    babel.init_app(app, locale_selector=_select_language)
    app.after_request(_say_which)
    # What is read from files at first use is read now: no request shall wait for that.
    outbox.prepare()
    for name in LANGUAGES:
        show_time(utcnow(), name, UTC)
        with app.app_context(), force_locale(name):
            gettext("up")
    app.jinja_env.globals.update(language_tag=lambda: language_tag(language()))
    app.jinja_env.filters["moment"] = lambda time: show_time(time, language(), zone_of(time_zone()))


def speak(name: str) -> None:
    """Let the answer to the request at hand be in one language, whoever asks; before any text is looked up."""
    g.own_language = name


def language() -> str:
    """Return the language of the answer to the request at hand, one of LANGUAGES."""
    return str(get_locale() or ENGLISH)


def time_zone() -> str | None:
    """Return the name of the time zone that whoever asks has set; None stands for UTC."""
    settings = _whose_settings()
    return settings.time_zone if settings is not None else None


def language_tag(name: str) -> str:
    """Return what HTTP and HTML call a language (RFC 5646)."""
    return name.replace("_", "-")


def translated(said: Any) -> Any:
    """Translate the messages in what an answer holds: a text, or texts in lists by the names of fields.

    A text that is in no catalogue, such as one that was translated already, stays as it is.
    """
    if isinstance(said, str):
        return _translate(said) if said else said  # the translation of nothing is the catalogue's header
    if isinstance(said, dict):
        return {name: inner if isinstance(inner, str) else translated(inner) for name, inner in said.items()}
    if isinstance(said, list):
        return [translated(inner) for inner in said]
    return said


def _translate(said: str) -> str:
    if language() == ENGLISH:
        return said
    found: str = gettext(said)
    form = find_form(said) if found == said else None
    if form is None:
        return found
    text, values = form
    translation: str = gettext(text)
    return translation.format(**{name: _translate(value) for name, value in values.items()})


def _is_page() -> bool:
    return (request.blueprint or "").startswith("pages")


def _whose_settings() -> Any:
    """Return whoever has a language and a time zone: the caller of the API, or the visitor of a page."""
    if not has_request_context():
        return None
    if "caller" in g:
        return g.caller
    # The API must not look into the session: its answers would vary with the cookie.
    if _is_page() and current_user.is_authenticated:
        return current_user
    return None


def _select_language() -> str:
    if not has_request_context():
        return ENGLISH
    if "own_language" in g:
        return str(g.own_language)
    settings = _whose_settings()
    if settings is not None and settings.language in LANGUAGES:
        return str(settings.language)
    chosen = request.cookies.get(LANGUAGE_COOKIE) if _is_page() else None
    if chosen in LANGUAGES:
        return chosen
    return preferred(tag for tag, quality in request.accept_languages if quality > 0)


def preferred(tags: Iterable[str]) -> str:
    """Return the first language of ours among the tags of an Accept-Language header, the most wanted first."""
    for tag in tags:
        tag = tag.lower().replace("_", "-")
        if tag in SIMPLIFIED or tag == "zh-hans" or tag.startswith("zh-hans-"):
            return CHINESE
        if tag == "en" or tag.startswith("en-"):
            return ENGLISH
    return ENGLISH


def _say_which(response: Response) -> Response:
    """Name the language, and what it was chosen by, on an answer in which a text was looked up."""
    known = g.get("_flask_babel")
    if known is not None and hasattr(known, "babel_locale"):
        response.content_language.add(language_tag(str(known.babel_locale)))
        if "own_language" in g:
            return response
        response.vary.add("Accept-Language")
        if _is_page():
            response.vary.add("Cookie")
    return response


# -- what marshmallow and Werkzeug say -------------------------------------------------------------------------


class Form(str):
    """A text of which marshmallow makes a message with `format`; it is translated at that moment."""

    __slots__ = ()

    def format(self, *args: object, **values: object) -> str:
        """Return the message in the language of the request at hand."""
        if not {"min_op", "max_op"}.isdisjoint(values):
            return Form(super().format(*args, **values))
        text: str = gettext(str(self))
        return text.format(*args, **values)


def _speak(kind: type[Any], **messages: str) -> None:
    kind.default_error_messages = {**getattr(kind, "default_error_messages", {}), **_forms(messages)}


def _forms(messages: dict[str, str]) -> dict[str, str]:
    return {name: Form(text) for name, text in messages.items()}


# Made when this module is loaded, which schemas/__init__.py sees to: a field takes its messages when it is made.
_speak(
    fields.Field,
    required=N_("Missing data for required field."),
    null=N_("Field may not be null."),
    validator_failed=N_("Invalid value."),
)
_speak(fields.String, invalid=N_("Not a valid string."), invalid_utf8=N_("Not a valid utf-8 string."))
_speak(fields.Number, invalid=N_("Not a valid number."), too_large=N_("Number too large."))
_speak(fields.Integer, invalid=N_("Not a valid integer."))
_speak(fields.Float, special=N_("Special numeric values (nan or infinity) are not permitted."))
_speak(fields.Boolean, invalid=N_("Not a valid boolean."))
_speak(fields.List, invalid=N_("Not a valid list."))
_speak(fields.Mapping, invalid=N_("Not a valid mapping type."))
_speak(fields.Nested, type=N_("Invalid type."))
_speak(
    fields.DateTime,
    invalid=N_("Not a valid {obj_type}."),
    invalid_awareness=N_("Not a valid {awareness} {obj_type}."),
)
# These two leave as they are, without `format`: errors.py translates them.
ma.Schema.error_messages = {"type": N_("Invalid input type."), "unknown": N_("Unknown field.")}
INVALID_JSON = N_("Invalid JSON body.")  # webargs

for _validator, _messages in {
    validate.Length: {
        "message_min": N_("Shorter than minimum length {min}."),
        "message_max": N_("Longer than maximum length {max}."),
        "message_all": N_("Length must be between {min} and {max}."),
        "message_equal": N_("Length must be {equal}."),
    },
    # Put together when the validator is made: "Must be {min_op} {{min}}." and the like; see Form.
    validate.Range: {
        "message_min": validate.Range.message_min,
        "message_max": validate.Range.message_max,
        "message_all": validate.Range.message_all,
    },
    validate.OneOf: {"default_message": N_("Must be one of: {choices}.")},
    validate.Equal: {"default_message": N_("Must be equal to {other}.")},
    validate.Email: {"default_message": N_("Not a valid email address.")},
    validate.URL: {"default_message": N_("Not a valid URL.")},
    validate.Regexp: {"default_message": N_("String does not match expected pattern.")},
}.items():
    for _name, _text in _messages.items():
        setattr(_validator, _name, Form(_text))
