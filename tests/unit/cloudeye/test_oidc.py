"""What an issuer must vouch for, in the words of its claims."""

from __future__ import annotations

from typing import Any

import pytest

from cloudeye.config import OidcConfig
from cloudeye.services import oidc

GOOD = {"sub": "1", "email": "a@example.com", "email_verified": True, "name": "A"}


def issuer_of(issuer: str = "https://id.example.com", *domains: str) -> OidcConfig:
    """Settings by which an issuer vouches, for addresses of some domains or of all."""
    return OidcConfig(
        issuer=issuer,
        client_id="us",
        client_secret_file=None,
        create_accounts=True,
        domains=domains,
        introspect=False,
    )


@pytest.mark.parametrize("verified", [True, "true"])
def test_a_verified_address_is_enough(verified: Any) -> None:
    claims = oidc.claims_of(issuer_of(), {**GOOD, "email_verified": verified}, "1")
    assert claims == oidc.Claims("https://id.example.com", "1", "a@example.com", "A")


@pytest.mark.parametrize("verified", [None, False, "false", "True", 1, ["true"]])
def test_anything_else_is_no_verified_address(verified: Any) -> None:
    with pytest.raises(oidc.Refused, match="not verified"):
        oidc.claims_of(issuer_of(), {**GOOD, "email_verified": verified}, "1")


@pytest.mark.parametrize(
    ("name", "shown"), [(None, ""), (7, ""), ("", ""), (" \n", ""), ("A\nB\x1b[1m", "AB[1m"), (" \u674e ", "\u674e")]
)
def test_a_name_is_shown_without_what_cannot_be(name: Any, shown: str) -> None:
    assert oidc.claims_of(issuer_of(), {**GOOD, "name": name}, "1").name == shown


@pytest.mark.parametrize(
    "email", [None, 7, "", "a", "a@", "@b", "a@b@c", "a b@example.com", "<a@example.com>", "\ud800@b", "x" * 300 + "@b"]
)
def test_what_is_no_address_is_refused(email: Any) -> None:
    with pytest.raises(oidc.Refused, match="e-mail"):
        oidc.claims_of(issuer_of(), {**GOOD, "email": email}, "1")


@pytest.mark.parametrize("subject", [None, 7, "", "s" * 256, "a\nb", "\ud800"])
def test_what_names_nobody_is_refused(subject: Any) -> None:
    with pytest.raises(oidc.Refused, match="no subject"):
        oidc.claims_of(issuer_of(), {**GOOD, "sub": subject}, None)


def test_somebody_elses_claims_are_refused() -> None:
    with pytest.raises(oidc.Refused, match="another subject"):
        oidc.claims_of(issuer_of(), GOOD, "2")


@pytest.mark.parametrize("email", ["a@sub.example.com", "a@example.com.evil.net", "a@notexample.com"])
def test_an_address_of_a_domain_that_only_looks_alike_is_refused(email: str) -> None:
    with pytest.raises(oidc.Refused, match="foreign domain"):
        oidc.claims_of(issuer_of("https://id.example.com", "example.com"), {**GOOD, "email": email}, "1")


def test_a_domain_is_compared_without_regard_to_case() -> None:
    strict = issuer_of("https://id.example.com", "EXAMPLE.com")
    assert oidc.claims_of(strict, {**GOOD, "email": "a@Example.COM"}, "1").email == "a@Example.COM"


def test_google_is_believed_where_it_manages_the_address() -> None:
    google = issuer_of(oidc.GOOGLE)
    with pytest.raises(oidc.Refused, match="Google does not manage"):
        oidc.claims_of(google, GOOD, "1")
    assert oidc.claims_of(google, {**GOOD, "hd": "example.com"}, "1").email == "a@example.com"
    assert oidc.claims_of(google, {**GOOD, "email": "a@gmail.com"}, "1").email == "a@gmail.com"
