"""Logging in by OpenID Connect, with tokens of a real authorization code flow; whose account that opens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from cloudeye.extensions import db
from cloudeye.models import AttemptCounter, Identity, OneTimeToken, User, utcnow
from cloudeye.services import oidc
from tests.integration.oidc.provider import CLIENT, Provider, part_of
from tests.integration.oidc.visitor import PATH, Visitor, account, counts
from tests.integration.world import CAST, World


def test_it_says_who_vouches_and_gives_each_visitor_a_nonce(world: World, provider: Provider) -> None:
    first, second = (world.app.test_client().get(PATH) for _ in range(2))
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == "no-store"
    data = first.json["data"]
    assert (data["issuer"], data["client_id"], data["expires_in"]) == (provider.issuer, CLIENT, 600)
    assert data["nonce"] != second.json["data"]["nonce"]


def test_the_first_login_with_an_id_token_makes_an_account(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    answer = visitor.sends(id_token=visitor.tokens()["id_token"], nonce=visitor.nonce)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    user = visitor.is_told(answer.json["data"]["access_token"])
    assert (user["username"], user["email"], user["role"]) == ("Alice Example", "alice@example.com", "user")
    assert counts(world) == (len(CAST) + 1, 1, 1)
    with account(world, "alice@example.com") as alice:
        assert alice.email_verified_at is not None
        assert alice.password_hash is None


def test_an_access_token_opens_the_same_account(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    first = visitor.sends(access_token=visitor.tokens()["access_token"])
    assert first.status_code == 200, first.text
    second = visitor.logs_in()
    assert (
        visitor.is_told(first.json["data"]["access_token"])["id"]
        == (visitor.is_told(second.json["data"]["access_token"])["id"])
    )
    assert counts(world) == (len(CAST) + 1, 1, 2)


def test_both_tokens_of_one_login_go_together(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    tokens = visitor.tokens()
    answer = visitor.sends(id_token=tokens["id_token"], access_token=tokens["access_token"], nonce=visitor.nonce)
    assert answer.status_code == 200, answer.text


def test_an_id_token_without_an_address_is_helped_by_its_access_token(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    tokens = visitor.tokens()
    bare = {
        name: value
        for name, value in part_of(tokens["id_token"], 1).items()
        if name not in ("email", "email_verified", "name")
    }
    body = {"id_token": provider.sign(bare), "nonce": visitor.nonce}
    assert visitor.sends(**body).status_code == 401
    assert visitor.sends(**body, access_token=tokens["access_token"]).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"id_token": "x"}, {"nonce": "x"}, {"access_token": ""}, {"access_token": 1}, {"password": "x"}]
)
def test_a_body_without_a_token_is_told_what_is_missing(world: World, provider: Provider, body: dict[str, str]) -> None:
    answer = Visitor(world, provider).sends(**body)
    assert answer.status_code == 400
    assert answer.json["message"] == "Invalid payload."
    assert answer.json["data"]


def test_an_account_keeps_its_link_when_its_address_changes_here(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    visitor.logs_in()
    with account(world, "alice@example.com") as alice:
        alice.email = "alice.married@example.com"
    answer = visitor.logs_in()
    assert visitor.is_told(answer.json["data"]["access_token"])["email"] == "alice.married@example.com"
    assert counts(world)[:2] == (len(CAST) + 1, 1)


def test_a_verified_address_links_the_account_that_has_it(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    with world.changing_user("owner") as owner:
        owner.email_verified_at = utcnow()
    answer = visitor.logs_in("owner")  # whose address the provider writes in capitals
    assert int(visitor.is_told(answer.json["data"]["access_token"])["id"]) == world.ids["owner"]
    assert counts(world) == (len(CAST), 1, 1)


def test_an_account_that_anybody_may_have_registered_is_not_linked(
    world: World, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with world.changing_user("owner") as owner:
        owner.email_verified_at = None
    assert Visitor(world, provider).logs_in("owner").status_code == 401
    assert "never verified here" in caplog.text
    assert counts(world) == (len(CAST), 0, 0)


def test_an_account_without_password_is_linked_and_its_address_verified(world: World, provider: Provider) -> None:
    with world.changing_user("owner") as owner:
        owner.email_verified_at, owner.password_hash = None, None
    assert Visitor(world, provider).logs_in("owner").status_code == 200
    with world.changing_user("owner") as owner:
        assert owner.email_verified_at is not None


def test_an_address_that_passed_to_another_person_does_not_open_the_account(
    world: World, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with world.changing_user("owner") as owner:
        owner.email_verified_at = utcnow()
        db.session.add(Identity(user_id=owner.id, issuer=provider.issuer, subject="who had the address before"))
    assert Visitor(world, provider).logs_in("owner").status_code == 401
    assert "another subject" in caplog.text
    assert counts(world) == (len(CAST), 1, 0)


def test_somebody_who_may_not_log_in_does_not_by_the_provider(world: World, provider: Provider) -> None:
    with world.changing_user("leaver") as leaver:
        leaver.email_verified_at = utcnow()
    assert Visitor(world, provider).logs_in("leaver").status_code == 401
    visitor = Visitor(world, provider)
    assert visitor.logs_in().status_code == 200
    with account(world, "alice@example.com") as alice:
        alice.active = False
    assert visitor.logs_in().status_code == 401
    assert counts(world) == (len(CAST) + 1, 1, 1)


def test_an_account_is_made_only_where_the_settings_say_so(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    claims = oidc.verify_id_token(visitor.settings, visitor.tokens()["id_token"], visitor.nonce)
    with world.app.app_context():
        with pytest.raises(oidc.Refused, match="create_accounts"):
            oidc.sign_in(db.session(), replace(visitor.settings, create_accounts=False), claims)
        db.session.rollback()
    assert counts(world) == (len(CAST), 0, 0)


def test_a_nonce_is_worth_nothing_after_its_time(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    body = {"id_token": visitor.tokens()["id_token"], "nonce": visitor.nonce}
    with world.app.app_context():
        db.session.execute(update(OneTimeToken).values(expires_at=utcnow() - timedelta(seconds=1)))
        db.session.commit()
    assert visitor.sends(**body).status_code == 401
    assert counts(world) == (len(CAST), 0, 0)


def test_racing_first_logins_make_one_account(world: World, provider: Provider) -> None:
    visitors = [Visitor(world, provider) for _ in range(8)]
    bodies = [{"id_token": one.tokens()["id_token"], "nonce": one.nonce} for one in visitors]
    with ThreadPoolExecutor(len(visitors)) as pool:
        answers = list(pool.map(lambda visitor, body: visitor.sends(**body), visitors, bodies))
    assert [answer.status_code for answer in answers] == [200] * len(visitors)
    assert counts(world) == (len(CAST) + 1, 1, len(visitors))


def test_one_nonce_lets_one_of_racing_logins_in(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    assert visitor.logs_in().status_code == 200
    nonce = visitor.get_nonce()
    body = {"id_token": visitor.tokens(nonce=nonce)["id_token"], "nonce": nonce}
    visitors = [Visitor(world, provider) for _ in range(6)]
    with ThreadPoolExecutor(len(visitors)) as pool:
        answers = list(pool.map(lambda one: one.sends(**body), visitors))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 5
    assert counts(world)[2] == 2


def test_the_user_row_is_found_by_the_link_and_not_by_the_address(world: World, provider: Provider) -> None:
    """Somebody else may have taken the address here meanwhile."""
    visitor = Visitor(world, provider)
    visitor.logs_in()
    with account(world, "alice@example.com") as alice:
        alice.email = "before@example.com"
        number = alice.id
    with world.changing_user("owner") as owner:
        owner.email = "alice@example.com"
        owner.email_verified_at = utcnow()
    answer = visitor.logs_in()
    assert int(visitor.is_told(answer.json["data"]["access_token"])["id"]) == number
    with world.app.app_context():
        linked = db.session.scalars(select(User.id).join(Identity, Identity.user_id == User.id)).all()
    assert linked == [number]


def test_refused_logins_are_counted_for_their_address_and_good_ones_are_not(world: World, provider: Provider) -> None:
    visitor = Visitor(world, provider)
    assert visitor.logs_in().status_code == 200
    for _ in range(3):
        assert visitor.sends(access_token="opaque").status_code == 401
    with world.app.app_context():
        assert sum(db.session.scalars(select(AttemptCounter.count))) == 3
