"""Server-side request forgery: each form through probe(), where every address there is would answer. See ssrf.py."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.unit.cloudeye.ssrf import DIRECT, DOORS, FORMS, PUBLIC4, UNFOLLOWED, Form, in_namespace

REFUSED = {"bad_url", "bad_scheme", "bad_host", "bad_port", "refused_address", "refused_request"}


@pytest.fixture(scope="module")
def outcome() -> dict[str, Any]:
    """What came of all forms, by name."""
    done = in_namespace()
    if done.returncode and ("unshare" in done.stderr or "ip:" in done.stderr) and not os.environ.get("CI"):
        pytest.skip(f"no network namespace can be made here: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.get("form", line.get("unfollowed")): line for line in lines}


def test_there_are_enough_forms_and_each_has_a_name_of_its_own() -> None:
    names = [form.name for form in FORMS]
    assert len(names) == len(set(names)) >= 25
    assert {form.doors for form in FORMS} == {DOORS, DIRECT}


@pytest.mark.parametrize(
    ("form", "door"), [(form, door) for form in FORMS for door in form.doors], ids=lambda p: getattr(p, "name", p)
)
def test_it_is_refused(form: Form, door: str, outcome: dict[str, Any]) -> None:
    came = outcome[form.name][door]
    assert came["state"] == "down"
    assert came["code"] in REFUSED | set(form.codes)
    assert came["text"]
    assert came["reached"] == []
    # What changes its mind was let in before.
    assert came["before"] == ["up"] * (form.visits - 1)


def test_a_name_that_changes_its_mind_between_redirects_was_asked_before(outcome: dict[str, Any]) -> None:
    came = outcome["rebinding between redirects"]["asked"]
    assert (came["code"], came["redirects"]) == ("refused_address", 1)


def test_a_client_without_a_guard_would_have_got_inside(outcome: dict[str, Any]) -> None:
    """The forms are no straw men, and the servers inside do answer."""
    inside = {form.name for form in FORMS if outcome[form.name]["unguarded"]}
    print(f"{len(inside)} of {len(FORMS)} forms reach an address inside by a client without a guard")
    wanted = {"decimal metadata", "octal", "hexadecimal", "IPv4-mapped metadata", "NAT64", "6to4", "localhost"}
    assert wanted <= inside
    assert {form.name for form in FORMS if form.name.startswith(("name", "rebinding", "alias", "public"))} <= inside


@pytest.mark.parametrize("way", sorted(UNFOLLOWED))
def test_it_is_not_followed(way: str, outcome: dict[str, Any]) -> None:
    """Nor is a proxy that the environment names: nothing but the public address is connected to."""
    came = outcome[way]
    assert (came["state"], came["address"], came["reached"]) == ("up", PUBLIC4, [])
