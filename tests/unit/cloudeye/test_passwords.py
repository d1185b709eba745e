"""Hashing passwords."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cloudeye
from cloudeye.services.passwords import check_password, hash_password, is_outdated


def test_a_password_fits_its_own_hash_alone() -> None:
    kept = hash_password("pässword")
    assert kept.startswith("$argon2id$")
    assert "pässword" not in kept
    assert check_password(kept, "pässword")
    assert not check_password(kept, "password")
    assert hash_password("pässword") != kept


@pytest.mark.parametrize("kept", [None, "", "no hash at all", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA"])
def test_without_a_proper_hash_no_password_fits(kept: str | None) -> None:
    for password in ("", "None", "no account has this password hash"):
        assert not check_password(kept, password)


def test_a_hash_of_todays_costs_is_not_outdated() -> None:
    assert not is_outdated(hash_password("password"))


IN_GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent
from cloudeye.services import passwords
turns, done = 0, False
def other():
    global turns
    while not done:
        turns += 1
        gevent.sleep(0)
beside = gevent.spawn(other)
gevent.sleep(0)
before = turns
kept = passwords.hash_password("password")
during, done = turns - before, True
beside.join()
print(during > 1, passwords.check_password(kept, "password"), passwords.check_password(kept, "a wrong one"))
"""


def test_under_gevent_others_run_while_a_password_is_hashed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_GEVENT],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(cloudeye.__file__).parents[1])},
    )
    assert done.stdout.split() == ["True", "True", "False"]
    assert done.stderr == "", "a wrong password is no failure of a thread"
