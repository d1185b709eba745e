"""Status pages over the API: who may publish what, and what there can be."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete

from cloudeye.extensions import db
from cloudeye.models import User
from cloudeye.services import status_pages
from tests.integration.world import Person, World

PAGE = {"slug": "our-shop", "title": "Our shop"}


def has_page(person: Person, **given: Any) -> dict[str, Any]:
    """Add a page and return it."""
    answer = person.asks("POST", "status-pages", {**PAGE, **given})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json["data"]["page"]
    return found


def test_a_page_is_published_read_changed_and_removed(world: World) -> None:
    owner = world.log_in("owner")
    page = has_page(owner, tag="shop", language="zh_Hans")
    assert {name: page[name] for name in ("slug", "title", "tag", "language", "url")} == {
        **PAGE, "tag": "shop", "language": "zh_Hans", "url": "/status/our-shop",
    }  # fmt: skip
    path = f"status-pages/{page['id']}"
    assert owner.gets(path).json["data"]["page"] == page
    changed = owner.asks("PATCH", path, {"slug": "our-shops", "tag": None}).json["data"]["page"]
    assert (changed["url"], changed["tag"], changed["title"]) == ("/status/our-shops", None, "Our shop")
    assert world.stranger().gets("/status/our-shop").status_code == 404
    assert world.stranger().gets("/status/our-shops").status_code == 200
    assert owner.asks("DELETE", path).status_code == 200
    assert owner.gets(path).status_code == 404
    assert world.stranger().gets("/status/our-shops").status_code == 404


def test_a_page_speaks_the_language_of_who_adds_it_unless_told_otherwise(world: World) -> None:
    with world.changing_user("owner") as user:
        user.language = "zh_Hans"
    assert has_page(world.log_in("owner"))["language"] == "zh_Hans"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"slug": "ab"}, "slug"),
        ({"slug": "x" * 65}, "slug"),
        ({"slug": "Our-Shop"}, "slug"),
        ({"slug": "our_shop"}, "slug"),
        ({"slug": "our-shop\n"}, "slug"),
        ({"title": " "}, "title"),
        ({"title": "x" * 121}, "title"),
        ({"tag": "two words"}, "tag"),
        ({"tag": ""}, "tag"),
        ({"language": "de"}, "language"),
        ({"owner_id": 1}, "owner_id"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(world: World, given: dict[str, Any], field: str) -> None:
    answer = world.log_in("owner").asks("POST", "status-pages", {**PAGE, **given})
    assert (answer.status_code, list(answer.json["data"])) == (400, [field])


def test_an_address_is_given_once_whoever_has_it(world: World) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    has_page(owner)
    other = has_page(mate, slug="another")
    said = {"slug": ["There is a status page at this address already."]}
    for answer in (
        owner.asks("POST", "status-pages", PAGE),
        mate.asks("POST", "status-pages", PAGE),
        mate.asks("PATCH", f"status-pages/{other['id']}", {"slug": "our-shop"}),
    ):
        assert (answer.status_code, answer.json["data"]) == (400, said)


def test_nobody_has_pages_without_end(world: World) -> None:
    owner = world.log_in("owner")
    for number in range(status_pages.MOST):
        has_page(owner, slug=f"page-{number}")
    answer = owner.asks("POST", "status-pages", PAGE)
    assert (answer.status_code, answer.json["message"]) == (409, "You have as many status pages as there may be.")
    has_page(world.log_in("mate"))
    first = owner.gets("status-pages?per_page=15").json["data"]
    assert [page["slug"] for page in first["pages"]] == [f"page-{number}" for number in range(15)]
    assert first["paging"]["total"] == status_pages.MOST
    assert len(owner.gets(first["paging"]["next"]).json["data"]["pages"]) == 5


def test_a_lost_update_is_refused(world: World) -> None:
    owner = world.log_in("owner")
    path = f"status-pages/{has_page(owner)['id']}"
    tag = owner.gets(path).headers["ETag"]
    assert owner.asks("PATCH", path, {"title": "First"}).status_code == 200
    late = owner.client.patch(f"/api/v1/{path}", json={"title": "Late"}, headers={**owner.headers, "If-Match": tag})
    assert late.status_code == 412


def test_the_same_request_publishes_one_page(world: World) -> None:
    owner = world.log_in("owner")
    headers = {**owner.headers, "Idempotency-Key": "once"}
    first, second = (owner.client.post("/api/v1/status-pages", json=PAGE, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json == second.json


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_nobody_else_manages_a_page_not_even_an_admin(world: World, method: str) -> None:
    number = has_page(world.log_in("owner"))["id"]
    for name in ("mate", "admin"):
        person = world.log_in(name)
        body = {"title": "Mine"} if method == "PATCH" else None
        assert person.asks(method, f"status-pages/{number}", body).status_code == 404
        assert person.gets("status-pages").json["data"]["pages"] == []


def test_a_page_goes_with_its_owner(world: World) -> None:
    has_page(world.log_in("owner"))
    with world.app.app_context():
        db.session.execute(delete(User).where(User.id == world.ids["owner"]))
        db.session.commit()
    assert world.stranger().gets("/status/our-shop").status_code == 404
