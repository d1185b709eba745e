"""Run by test_attempts_blocking.py: count an attempt while it has to wait for somebody in the same hub.

The one who is waited for goes on only if the hub is free, so a count that held it would never end. Prints what the
count was and where it was made.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from datetime import timedelta  # noqa: E402

import gevent  # noqa: E402
from sqlalchemy import update  # noqa: E402

from cloudeye import attempts_storage  # noqa: E402
from cloudeye.app import create_app  # noqa: E402
from cloudeye.attempts import limiter  # noqa: E402
from cloudeye.attempts_storage import places  # noqa: E402
from cloudeye.extensions import db  # noqa: E402
from cloudeye.models import AttemptCounter  # noqa: E402
from cloudeye.models.base import utcnow  # noqa: E402

KEY = "waited for"


def hold_row() -> Callable[[], None]:
    """Keep the counter's row (in SQLite: the database) to ourselves, until the function returned is called."""
    connection = db.engine.connect()
    connection.execute(update(AttemptCounter).values(expires_at=utcnow() + timedelta(hours=1)))

    def release() -> None:
        connection.commit()
        connection.close()

    return release


def hold_server(pid: int) -> Callable[[], None]:
    """Let the cache answer nobody, until the function returned is called."""
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def main(cache_pid: int) -> None:
    """Count once undisturbed, and once while everything is held."""
    attempts_storage.CACHE_SECONDS = 60.0  # the server is only away until somebody else in the hub lets it go on
    app = create_app()

    def count() -> int:
        with app.app_context():
            return limiter.storage.incr(KEY, 3600)

    count()
    with app.app_context():
        release = hold_server(cache_pid) if cache_pid else hold_row()
        counting = gevent.spawn(count)
        gevent.sleep(0.5)
        early = counting.ready()
        release()
        place = type(places().ask(lambda counters: counters.get(KEY))[0]).__name__
        print(counting.get(timeout=30), place, "too early" if early else "after a wait")


main(int(sys.argv[1]))
