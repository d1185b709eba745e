"""Login by OpenID Connect: what a token must be to be believed, and whose account it opens.

Everything is checked here that OpenID Connect Core 1.0, section 3.1.3.7 (id tokens) and RFC 9068, section 4
(access tokens) ask for, with algorithms that we name and keys that the configured issuer publishes; a token has
no say in either. Signatures are Authlib's and joserfc's; what a token's claims must be stands here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc9068.claims import JWTAccessTokenClaims
from authlib.oidc.core.claims import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from cloudeye.config import LONGEST_TOKEN, OidcConfig
from cloudeye.models import Identity, User, utcnow
from cloudeye.services import users
from cloudeye.services.oidc_provider import Denied, Provider, Unavailable, provider

__all__ = ["Claims", "Refused", "Unavailable", "sign_in", "verify_access_token", "verify_id_token"]

ALGORITHMS = ("RS256", "ES256", "EdDSA")
LEEWAY = 60  # seconds by which the issuer's clock may differ
LONGEST_HEADER = 8_192  # some issuers put their certificates in it, which nobody looks at here
LONGEST_SUBJECT = 255  # OpenID Connect Core, section 2
LONGEST_EMAIL = 254
LONGEST_NAME = 80

# A Google account may be made with any address, which is verified then and never again: whoever has left a company can
# still show its address. Google speaks for its own domains, and for those of an organisation (claim hd) alone.
# https://developers.google.com/identity/gsi/web/guides/verify-google-id-token
GOOGLE = "https://accounts.google.com"
GMAIL = ("gmail.com", "googlemail.com")

ID_TOKEN_TYPES = (None, "jwt")
ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")  # RFC 9068, section 2.1

_B68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_SIGNED = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_ADDRESS = re.compile(r"[^\s@<>,;:\"\\\x00-\x1f]+@[^\s@<>,;:\"\\\x00-\x1f]+")

# Issuers sign with Ed25519 under this name, whatever its successor in RFC 9864 is called.
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)


class Refused(Exception):
    """A token that opens nothing. ``reason`` is for our log, never for the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Claims:
    """What the issuer vouches for."""

    issuer: str
    subject: str  # who, in the issuer's words; never given to anybody else
    email: str  # verified by the issuer
    name: str  # to be shown; may be empty


def verify_id_token(settings: OidcConfig, token: str, nonce: str, access_token: str | None = None) -> Claims:
    """Believe an id token, or not.

    Args:
        settings: which issuer, and who we are to it.
        token: the id token.
        nonce: the one that the login began with.
        access_token: what was given beside it: it must be the one that the id token was made with, and is used to
            ask for the e-mail where the id token names none.

    Raises:
        Refused: it is not to be believed.
        Unavailable: the issuer is needed, and does not answer.
    """
    if not nonce or not nonce.isascii():
        raise Refused("no nonce")
    if access_token is not None:
        _presentable(access_token)
    issuer = provider(settings.issuer)
    header, found = _signed(issuer, token, ID_TOKEN_TYPES)
    options = {**_required("exp", "iat", "sub"), **_equal(iss=settings.issuer, aud=settings.client_id, nonce=nonce)}
    params = {"nonce": nonce, "client_id": settings.client_id, "access_token": access_token}
    _validate(CodeIDToken(found, header, options, params))
    if access_token is not None and "at_hash" not in found:
        raise Refused("at_hash: the id token names no access token")
    if access_token is not None and "email" not in found:
        return claims_of(settings, _userinfo(issuer, access_token), found["sub"])
    return claims_of(settings, found, found["sub"])


def verify_access_token(settings: OidcConfig, token: str) -> Claims:
    """Believe an access token, or not.

    A signed one (RFC 9068) must have been given to us: one that another client was given would otherwise let that
    client log in here as its users. Of an opaque one only the issuer can say whose it is, so there
    ``settings.introspect`` is needed. Either way the issuer is asked whom it speaks for, which also shows whether
    it was revoked.

    Args:
        settings: which issuer, and who we are to it.
        token: the access token.

    Raises:
        Refused: it is not to be believed.
        Unavailable: the issuer does not answer.
    """
    _presentable(token)
    issuer = provider(settings.issuer)
    subject = None
    if _SIGNED.fullmatch(token):
        header, found = _signed(issuer, token, ACCESS_TOKEN_TYPES)
        options = {**_required("exp", "iat", "sub", "aud"), **_equal(iss=settings.issuer)}
        _validate(JWTAccessTokenClaims(found, header, options))
        _given_to(settings.client_id, found)
        subject = found["sub"]
    elif not settings.introspect:
        raise Refused("an opaque access token, and oidc.introspect is off")
    if settings.introspect:
        subject = _introspected(settings, issuer, token, subject)
    return claims_of(settings, _userinfo(issuer, token), subject)


def sign_in(session: Session, settings: OidcConfig, claims: Claims) -> User:
    """Return the account that the issuer's word opens, linked or made where the rules allow it.

    1. An account that this subject was linked to before: its address may have changed since, on either side.
    2. Else the account with that address. The issuer has verified it, but that says nothing of who made the
       account here: anybody may have registered somebody else's address, with a password of their own, and would
       then share the account with the person who logs in. So it is linked only if the address was verified here
       too, or if the account has no password, which means that an admin made it. And only if no other subject of
       this issuer is linked to it: an address that was given to another person is not the same person.
    3. Else a new account, where ``settings.create_accounts`` says so.

    Args:
        session: committed by the caller. Where another process was faster, its transaction has been rolled back and
            begun anew, so nothing else may be in it yet.
        settings: whether accounts are made.
        claims: what the issuer vouches for.

    Raises:
        Refused: no account, or none that may be used.
    """
    for last in (False, True):
        try:
            user = _linked(session, claims) or _link(session, settings, claims)
            session.flush()
            break
        except (IntegrityError, StaleDataError, users.Taken):
            # Somebody has just linked or made the same account: it is there when we look again.
            session.rollback()
            if last:
                raise
    if not user.active:
        raise Refused("the account is not active")
    return user


def _linked(session: Session, claims: Claims) -> User | None:
    return session.scalar(
        select(User)
        .join(Identity, Identity.user_id == User.id)
        .where(Identity.issuer == claims.issuer, Identity.subject == claims.subject)
    )


def _link(session: Session, settings: OidcConfig, claims: Claims) -> User:
    user = users.find_user(session, claims.email)
    if user is not None:
        if user.email_verified_at is None and user.password_hash is not None:
            raise Refused("an account has this address, which was never verified here")
        known = select(Identity.subject).where(Identity.user_id == user.id, Identity.issuer == claims.issuer)
        subjects = session.scalars(known).all()
        if claims.subject in subjects:
            return user  # linked by somebody else since we looked
        if subjects:
            raise Refused("the account with this address is linked to another subject of the issuer")
        user.email_verified_at = user.email_verified_at or utcnow()
        user.updated_at = utcnow()  # raises its version, so that of two who link it at once one looks again
    elif settings.create_accounts:
        user = users.create_user(session, username=_username(claims), email=claims.email, email_verified_at=utcnow())
    else:
        raise Refused("no account has this address, and oidc.create_accounts is off")
    session.add(Identity(user_id=user.id, issuer=claims.issuer, subject=claims.subject))
    return user


def _username(claims: Claims) -> str:
    return (claims.name or claims.email.partition("@")[0])[:LONGEST_NAME].strip()


def _signed(issuer: Provider, token: str, types: Iterable[str | None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token that the issuer signed with an algorithm of ours."""
    if len(token) > LONGEST_TOKEN:
        raise Refused("longer than a token may be")
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = LONGEST_HEADER
    try:
        header = jws.extract_compact(token.encode(), registry=registry).headers()
    except (JoseError, ValueError) as error:
        raise Refused(f"no signed token: {_why(error)}") from None
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if algorithm not in ALGORITHMS:
        raise Refused(f"signed with {str(algorithm)[:20]!r}, which is not allowed")
    if not isinstance(kid, str | None) or not isinstance(kind, str | None):
        raise Refused("no signed token: its header holds what is no text")
    if (kind.lower() if kind else None) not in types:
        raise Refused(f"a token of type {str(kind)[:20]!r} in the place of another")
    key = issuer.key(kid, algorithm)
    if key is None:
        raise Refused("signed with a key that the issuer does not publish")
    try:
        verified = jwt.decode(token, key, algorithms=ALGORITHMS, registry=registry)
    except (JoseError, ValueError) as error:
        raise Refused(f"not signed by the issuer: {_why(error)}") from None
    return verified.header, verified.claims


def _required(*names: str) -> dict[str, Any]:
    return {name: {"essential": True} for name in names}


def _equal(**values: str) -> dict[str, Any]:
    return {name: {"essential": True, "value": value} for name, value in values.items()}


def _validate(claims: CodeIDToken | JWTAccessTokenClaims) -> None:
    try:
        claims.validate(now=None, leeway=LEEWAY)
    except JoseError as error:
        raise Refused(f"{getattr(error, 'claim', 'claims')}: {_why(error)}") from None
    except (TypeError, ValueError) as error:
        raise Refused(f"claims: {error}") from None


def _why(error: JoseError | ValueError) -> str:
    return error.description or error.error if isinstance(error, JoseError) else "not decodable"


def _given_to(client_id: str, found: Mapping[str, Any]) -> None:
    """Was an access token given to this client; ``azp`` is what some issuers call it."""
    holder = found.get("client_id", found.get("azp"))
    audience = found.get("aud")
    ours = (
        holder == client_id
        if holder is not None
        else client_id in (audience if isinstance(audience, list) else [audience])
    )
    if not ours:
        raise Refused("an access token that was given to another client")


def _introspected(settings: OidcConfig, issuer: Provider, token: str, subject: str | None) -> str | None:
    """Let the issuer confirm a token; return whom it names."""
    if settings.client_secret_file is None:
        raise Unavailable("APP_OIDC_CLIENT_SECRET_FILE is empty, and oidc.introspect needs it")
    secret = settings.client_secret_file.read_text(encoding="utf-8").strip()
    try:
        answer = issuer.introspect(token, settings.client_id, secret)
    except Denied as denied:
        raise Unavailable(f"{settings.issuer} does not accept our client secret: {denied}") from None
    if answer.get("active") is not True:
        raise Refused("the issuer calls the access token inactive")
    if str(answer.get("token_type", "bearer")).lower() not in ("bearer", "access_token"):
        raise Refused("the issuer calls the access token something else")
    if answer.get("iss", settings.issuer) != settings.issuer:
        raise Refused("an access token of another issuer")
    _given_to(settings.client_id, answer)
    named: str | None = answer.get("sub", subject)
    if subject is not None and named != subject:
        raise Refused("the issuer names another subject")
    return named


def _userinfo(issuer: Provider, token: str) -> dict[str, Any]:
    try:
        return issuer.userinfo(token)
    except Denied as denied:
        raise Refused(f"the issuer does not accept the access token: {denied}") from None


def _presentable(token: str) -> None:
    """Refuse what cannot be a token before it becomes part of a request's header."""
    if len(token) > LONGEST_TOKEN or not _B68.fullmatch(token):
        raise Refused("no access token")


def claims_of(settings: OidcConfig, found: Mapping[str, Any], subject: str | None) -> Claims:
    """Return what is vouched for, if that is enough to open an account.

    Args:
        settings: which issuer, and which domains may come.
        found: what a token or the issuer's userinfo says, already verified.
        subject: whom it must be about; None where nothing else has said so.

    Raises:
        Refused: it is not enough.
    """
    named, email = found.get("sub"), found.get("email")
    if not isinstance(named, str) or not 0 < len(named) <= LONGEST_SUBJECT or not named.isprintable():
        raise Refused("no subject")
    if subject is not None and named != subject:
        raise Refused("the issuer's userinfo is about another subject")  # OpenID Connect Core, section 5.3.2
    email = email.strip() if isinstance(email, str) else ""
    if not email:
        raise Refused("no e-mail")
    if len(email) > LONGEST_EMAIL or not email.isprintable() or not _ADDRESS.fullmatch(email):
        raise Refused("the e-mail is no address")
    verified = found.get("email_verified")
    if verified is not True and verified != "true":  # some issuers write it as text
        raise Refused("the e-mail is not verified")
    domain = email.rpartition("@")[2].lower()
    if settings.issuer == GOOGLE and domain not in GMAIL and not found.get("hd"):
        raise Refused("Google does not manage this e-mail's domain")
    domains = {allowed.lower() for allowed in settings.domains}
    if domains and domain not in domains:
        raise Refused("an e-mail of a foreign domain")
    name = found.get("name")
    shown = "".join(filter(str.isprintable, name)).strip() if isinstance(name, str) else ""
    return Claims(settings.issuer, named, email, shown)
