"""While the signing key is rotated, instances stand in different steps of it: who takes what another one has signed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloudeye.extensions import db
from cloudeye.models import AlertTarget, utcnow
from tests.integration.test_sessions import bearer, log_in
from tests.integration.world import World, end
from tests.unit.cloudeye.browser import Browser

OLD, NEW = "old" * 16, "new" * 16
# What the files of an instance hold in each step. The third file is the one that outlives every rotation.
STEPS = {
    "before": {"secret_key": OLD},
    "accepting": {"secret_key": OLD, "secret_key_next": NEW},
    "switched": {"secret_key": NEW, "secret_key_previous": OLD, "proof_key": OLD},
    "dropped": {"secret_key": NEW, "proof_key": OLD},
}
UNDERSTOOD = [
    ("before", "accepting"),
    ("accepting", "before"),
    ("before", "switched"),
    ("accepting", "switched"),
    ("switched", "accepting"),
    ("switched", "dropped"),
]
REFUSED = [("switched", "before"), ("before", "dropped"), ("accepting", "dropped")]
PAIRS = [(*pair, True) for pair in UNDERSTOOD] + [(*pair, False) for pair in REFUSED]
COLLEAGUE = "colleague@example.org"


@pytest.fixture(scope="module")
def lasting_instances(lasting_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """An instance in each step, all on one database."""
    found = {}
    for step, secrets in STEPS.items():
        folder = tmp_path_factory.mktemp(step)
        for name, value in secrets.items():
            (folder / name).write_text(f"{value}\n")
        names = ("secret_key", "secret_key_next", "secret_key_previous", "proof_key")
        files = {f"APP_{name.upper()}_FILE": str(folder / name) for name in names}
        found[step] = lasting_world.second_instance(APP_SYNC_ALLOW_PRIVATE="1", **files)
    yield found
    for instance in found.values():
        end(instance.app)


@pytest.fixture
def instances(world: World, lasting_instances: dict[str, World]) -> dict[str, World]:
    """The same, with the cast as new."""
    for instance in lasting_instances.values():
        instance.ids = world.ids
    return lasting_instances


pairs = pytest.mark.parametrize(("signer", "reader", "understood"), PAIRS)


@pairs
def test_access_tokens(instances: dict[str, World], signer: str, reader: str, understood: bool) -> None:
    pair = log_in(instances[signer].person("owner"))
    there = instances[reader].app.test_client()
    for _ in range(2):  # the second time the claims are known
        assert there.get("/api/v1/auth/me", headers=bearer(pair)).status_code == (200 if understood else 401)


@pairs
def test_refresh_tokens(instances: dict[str, World], signer: str, reader: str, understood: bool) -> None:
    pair = log_in(instances[signer].person("owner"))
    there = instances[reader].person("owner")
    answer = there.asks("POST", "auth/refresh", {"refresh_token": pair["refresh_token"]})
    assert answer.status_code == (200 if understood else 401)


@pairs
def test_cookies_and_forms_of_pages(instances: dict[str, World], signer: str, reader: str, understood: bool) -> None:
    here = Browser(instances[signer].app.test_client())
    here.logs_in("owner")
    form = here.opens("/account")
    cookie = here.client.get_cookie("cloudeye_session")
    assert cookie is not None
    there = Browser(instances[reader].app.test_client())
    there.client.set_cookie("cloudeye_session", cookie.value)
    assert there.is_in() == understood
    sent = there.sends(form, "/logout")
    assert (sent.status_code == 303) == understood
    assert here.is_in() != understood


@pairs
def test_links_that_end_alerts(instances: dict[str, World], signer: str, reader: str, understood: bool) -> None:
    from cloudeye.api.targets import place

    with instances[signer].app.app_context():
        row = AlertTarget(
            owner_id=instances[signer].ids["owner"],
            name="Colleague",
            kind="mail",
            address=COLLEAGUE,
            confirmed_at=utcnow(),
        )
        db.session.add(row)
        db.session.commit()
        token = place().stop_token(row.id, COLLEAGUE)
        number = row.id
    answer = (
        instances[reader].app.test_client().post(f"/unsubscribe?token={token}", data={"List-Unsubscribe": "One-Click"})
    )
    assert (answer.status_code == 200) == understood
    with instances[reader].app.app_context():
        assert db.session.get_one(AlertTarget, number).active != understood


def test_what_is_signed_is_signed_with_the_newest_key(instances: dict[str, World]) -> None:
    pair = log_in(instances["switched"].person("owner"))
    assert instances["dropped"].app.test_client().get("/api/v1/auth/me", headers=bearer(pair)).status_code == 200
    assert instances["before"].app.test_client().get("/api/v1/auth/me", headers=bearer(pair)).status_code == 401


def test_a_refresh_token_of_the_old_key_is_exchanged_for_a_pair_of_the_new_one(instances: dict[str, World]) -> None:
    old = log_in(instances["before"].person("owner"))
    answer = instances["switched"].person("owner").asks("POST", "auth/refresh", {"refresh_token": old["refresh_token"]})
    again = (
        instances["dropped"]
        .person("owner")
        .asks("POST", "auth/refresh", {"refresh_token": answer.json["data"]["refresh_token"]})
    )
    assert again.status_code == 200


def test_no_rotation_changes_the_token_that_an_owner_has_put_on_a_site(instances: dict[str, World]) -> None:
    number = instances["before"].log_in("owner").has_site()
    shown = {
        step: instance.log_in("owner").gets(f"sites/{number}/control").json["data"]["control"]["token"]
        for step, instance in instances.items()
    }
    assert len(set(shown.values())) == 1, shown


def test_a_token_of_neither_key_is_refused(instances: dict[str, World]) -> None:
    pair = log_in(instances["before"].person("owner"))
    token = pair["access_token"]
    forged = {"access_token": token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")}
    for instance in instances.values():
        assert instance.app.test_client().get("/api/v1/auth/me", headers=bearer(forged)).status_code == 401
