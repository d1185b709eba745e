"""Passwords are kept as argon2id hashes; making or checking one takes tens of milliseconds of a core.

Under gevent that happens in the hub's thread pool (argon2 lets go of Python's lock), so that the other
requests of the worker go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cloudeye.db import gevent_is_active

# 19 MiB, two passes, one lane: the first choice of OWASP's Password Storage Cheat Sheet.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

_Result = TypeVar("_Result")


def hash_password(password: str) -> str:
    """Return the hash to be kept."""
    return _aside(lambda: HASHER.hash(password))


def check_password(password_hash: str | None, password: str) -> bool:
    """Is this the password; takes as long where there is no hash to compare with.

    Args:
        password_hash: the hash that was kept, None for an account without password or no account at all.
        password: what was typed.
    """
    return _aside(lambda: _fits(password_hash or _nobody(), password)) and bool(password_hash)


def is_outdated(password_hash: str) -> bool:
    """Was the hash made with other costs than those above."""
    return HASHER.check_needs_rehash(password_hash)


def _fits(password_hash: str, password: str) -> bool:
    # Caught here: gevent logs what a thread of its pool raises as a failure.
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    return HASHER.hash("no account has this password hash")


def _aside(work: Callable[[], _Result]) -> _Result:
    if not gevent_is_active():
        return work()
    from gevent import get_hub

    result: _Result = get_hub().threadpool.apply(work)
    return result
