"""The sync process, which can be told to die of SIGKILL at any moment of what it writes.

`python -m tests.integration.mortal_sync` is `python -m cloudeye.sync` with two things added, by environment:

- MORTAL_HOSTS names the hosts(5) file in which its resolver looks names up.
- MORTAL_AT=N: it kills itself at the N-th moment, where each statement that would change the database and each commit
  is one, before it happens. Between two of them the process changes nothing that lasts, except that it hands
  letters and webhooks over; what was handed over and is not written down yet is the moment before that statement.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from gevent import monkey

CHANGES = ("INSERT", "UPDATE", "DELETE")


def main() -> int:
    """Arrange for the end, then be sync."""
    monkey.patch_all()
    from cloudeye.services.resolver import Resolver

    if "MORTAL_HOSTS" in os.environ:
        Resolver.__init__.__kwdefaults__["hosts_path"] = os.environ["MORTAL_HOSTS"]
    if "MORTAL_AT" in os.environ:
        arrange(int(os.environ["MORTAL_AT"]))
    from cloudeye.sync.__main__ import main as run

    return run()


def arrange(moment: int) -> None:
    """Die at this moment."""
    from sqlalchemy import Engine, event

    passed = 0

    def pass_by() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Engine, "before_cursor_execute")
    def _statement(*arguments: Any) -> None:
        if arguments[2].lstrip().upper().startswith(CHANGES):
            pass_by()

    @event.listens_for(Engine, "commit")
    def _commit(_connection: Any) -> None:
        pass_by()


if __name__ == "__main__":
    sys.exit(main())
