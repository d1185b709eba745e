"""Tokens that open nothing. Most are signed with the provider's own key, so that nothing but the one flaw speaks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.oidc.provider import OTHER_CLIENT, Provider, new_key, part_of, sign_with
from tests.integration.oidc.visitor import Visitor, counts
from tests.integration.world import World

DOCUMENT = Path(__file__).parents[3] / "docs" / "oidc.md"
Body = dict[str, str]


def changed(visitor: Visitor, header: dict[str, Any] | None = None, **claims: Any) -> Body:
    """A real id token with other claims (None: without one), signed anew with the provider's key."""
    found = {**part_of(visitor.tokens()["id_token"], 1), **claims}
    token = visitor.provider.sign({name: value for name, value in found.items() if value is not None}, **header or {})
    return {"id_token": token, "nonce": visitor.nonce}


def real(visitor: Visitor, person: str = "alice", **options: str) -> Body:
    """What the provider gave somebody."""
    return {"id_token": visitor.tokens(person, **options)["id_token"], "nonce": visitor.nonce}


def signed_with_another_key(visitor: Visitor) -> Body:
    claims = part_of(visitor.tokens()["id_token"], 1)
    stranger = new_key("stranger")
    return {"id_token": sign_with(stranger, claims, kid=visitor.provider.keys[0].kid), "nonce": visitor.nonce}


def signed_with_an_unknown_key(visitor: Visitor) -> Body:
    claims = part_of(visitor.tokens()["id_token"], 1)
    return {"id_token": sign_with(new_key("stranger"), claims, kid="stranger"), "nonce": visitor.nonce}


def bringing_its_own_key(visitor: Visitor) -> Body:
    claims = part_of(visitor.tokens()["id_token"], 1)
    stranger = new_key("stranger")
    own = {name: stranger.as_dict(private=False)[name] for name in ("kty", "n", "e")}
    return {"id_token": sign_with(stranger, claims, kid="stranger", jwk=own), "nonce": visitor.nonce}


def not_signed(visitor: Visitor) -> Body:
    claims = visitor.tokens()["id_token"].split(".")[1]
    return {"id_token": f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{claims}.", "nonce": visitor.nonce}


def signed_with_the_public_key(visitor: Visitor) -> Body:
    claims = part_of(visitor.tokens()["id_token"], 1)
    key = visitor.provider.keys[0]
    # By hand: a library that is any good does not do it.
    signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT', 'kid': key.kid})}.{_segment(claims)}"
    public = key.as_bytes(encoding="PEM", private=False)
    signature = _text(hmac.new(public, signed.encode(), hashlib.sha256).digest())
    return {"id_token": f"{signed}.{signature}", "nonce": visitor.nonce}


def changed_after_signing(visitor: Visitor) -> Body:
    header, claims, signature = visitor.tokens()["id_token"].split(".")
    better = {**part_of(f"{header}.{claims}", 1), "email": "admin@example.com"}
    return {"id_token": f"{header}.{_segment(better)}.{signature}", "nonce": visitor.nonce}


def with_a_used_nonce(visitor: Visitor) -> Body:
    body = real(visitor)
    assert visitor.sends(**body).status_code == 200
    return body


def beside_an_access_token_of_another_login(visitor: Visitor) -> Body:
    return {**real(visitor), "access_token": visitor.tokens()["access_token"]}


def a_revoked_access_token(visitor: Visitor) -> Body:
    token = visitor.tokens()["access_token"]
    visitor.provider.revoke(token)
    return {"access_token": token}


def an_access_token_signed_by_somebody_else(visitor: Visitor) -> Body:
    claims = part_of(visitor.tokens()["access_token"], 1)
    token = sign_with(new_key("stranger"), claims, kid=visitor.provider.keys[0].kid, typ="at+jwt")
    return {"access_token": token}


def an_expired_access_token(visitor: Visitor) -> Body:
    claims = {**part_of(visitor.tokens()["access_token"], 1), "exp": int(time.time()) - 61}
    return {"access_token": visitor.provider.sign(claims, typ="at+jwt")}


def soon(seconds: int) -> int:
    return int(time.time()) + seconds


Forge = Callable[[Visitor], Body]
# What it is, how it comes about, and what our log says of it.
BAD: list[tuple[str, Forge, str]] = [
    ("signed with another key", signed_with_another_key, "not signed by the issuer: bad_signature"),
    ("signed with an unknown key", signed_with_an_unknown_key, "signed with a key that the issuer does not publish"),
    ("brings its own key", bringing_its_own_key, "signed with a key that the issuer does not publish"),
    ("not signed (alg none)", not_signed, "signed with 'none', which is not allowed"),
    ("HS256 with the public key", signed_with_the_public_key, "signed with 'HS256', which is not allowed"),
    ("changed after signing", changed_after_signing, "not signed by the issuer: bad_signature"),
    ("truncated", lambda v: {"id_token": real(v)["id_token"][:-20], "nonce": v.nonce}, "not signed by the issuer: "),
    ("garbage", lambda v: {"id_token": "garbage", "nonce": v.nonce}, "no signed token: "),
    ("of another issuer", lambda v: changed(v, iss="https://accounts.example.net"), "iss: "),
    ("for another client", lambda v: real(v, client=OTHER_CLIENT), "aud: "),
    ("several audiences, given to another", lambda v: changed(v, aud=["cloudeye", "x"], azp="x"), "azp: "),
    (
        "several audiences, given to nobody",
        lambda v: changed(v, aud=["cloudeye", "x"], azp=None),
        "azp: ",
    ),
    ("expired", lambda v: changed(v, exp=soon(-61)), "exp: "),
    ("without expiry", lambda v: changed(v, exp=None), "exp: "),
    ("not yet valid", lambda v: changed(v, nbf=soon(120)), "nbf: "),
    ("issued in the future", lambda v: changed(v, iat=soon(120)), "iat: "),
    ("made for another nonce", lambda v: real(v, nonce="another"), "nonce: "),
    ("without nonce", lambda v: changed(v, nonce=None), "nonce: "),
    ("made for a nonce of the client's own", lambda v: {**real(v, nonce="own"), "nonce": "own"}, "nonce: not of ours"),
    ("made for a nonce that is no text", lambda v: {**real(v), "nonce": "\ud800"}, "no nonce"),
    ("used before (its nonce is)", with_a_used_nonce, "nonce: not of ours, expired, or used before"),
    ("e-mail not verified", lambda v: real(v, "claimant"), "the e-mail is not verified"),
    ("e-mail verified said as a number", lambda v: changed(v, email_verified=1), "the e-mail is not verified"),
    ("no e-mail", lambda v: real(v, "silent"), "no e-mail"),
    ("e-mail of a foreign domain", lambda v: real(v, "foreigner"), "an e-mail of a foreign domain"),
    ("e-mail with a line break", lambda v: changed(v, email="a\n@example.com"), "the e-mail is no address"),
    ("no subject", lambda v: changed(v, sub=None), "sub: "),
    ("subject too long", lambda v: changed(v, sub="s" * 256), "no subject"),
    ("beside an access token of another login", beside_an_access_token_of_another_login, "at_hash: "),
    (
        "access token in the place of an id token",
        lambda v: {"id_token": v.tokens()["access_token"], "nonce": v.nonce},
        "a token of type 'at+jwt' in the place of another",
    ),
    (
        "id token in the place of an access token",
        lambda v: {"access_token": v.tokens()["id_token"]},
        "a token of type 'JWT' in the place of another",
    ),
    (
        "access token of another client",
        lambda v: {"access_token": v.tokens(client=OTHER_CLIENT)["access_token"]},
        "an access token that was given to another client",
    ),
    ("access token signed with another key", an_access_token_signed_by_somebody_else, "not signed by the issuer: "),
    ("access token expired", an_expired_access_token, "exp: "),
    ("access token revoked", a_revoked_access_token, "the issuer does not accept the access token: "),
    (
        "access token opaque, while the issuer is not asked about those",
        lambda _: {"access_token": secrets.token_urlsafe(32)},
        "an opaque access token, and oidc.introspect is off",
    ),
    ("access token that is no header's text", lambda _: {"access_token": "a b\r\nX: y"}, "no access token"),
]


@pytest.mark.parametrize(("name", "forge", "reason"), BAD, ids=[name for name, _, _ in BAD])
def test_a_bad_token_opens_nothing(
    world: World, provider: Provider, caplog: pytest.LogCaptureFixture, name: str, forge: Forge, reason: str
) -> None:
    visitor = Visitor(world, provider)
    body = forge(visitor)
    before = counts(world)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "cloudeye.api.oidc"):
        answer = visitor.sends(**body)

    assert answer.status_code == 401
    assert answer.json == {"status": "fail", "message": "This login was refused.", "data": None}
    assert counts(world) == before
    said = [record.getMessage() for record in caplog.records if record.name == "cloudeye.api.oidc"]
    assert len(said) == 1
    logged = said[0].removeprefix("login by OpenID Connect refused: ")
    print(f"| {name} | {logged} |")
    assert logged.startswith(reason)
    assert f"| {name} | `{logged}` |" in DOCUMENT.read_text("utf-8"), "docs/oidc.md lists what is refused"
    assert not [part for token in body.values() for part in token.split(".") if len(part) > 8 and part in said[0]]


def test_a_good_token_made_in_the_same_way_opens_an_account(world: World, provider: Provider) -> None:
    """Or else the flaws above may not be what was refused."""
    visitor = Visitor(world, provider)
    answers = [
        visitor.sends(**changed(visitor, aud=["cloudeye", "x"], azp="cloudeye", exp=soon(-30), iat=soon(30))),
        visitor.sends(access_token=provider.sign(part_of(visitor.tokens()["access_token"], 1), typ="at+jwt")),
    ]
    assert [answer.status_code for answer in answers] == [200, 200]


def _segment(value: dict[str, Any]) -> str:
    return _text(json.dumps(value).encode())


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
