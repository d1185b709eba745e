"""Take a set down when the process that made it ends: `python -m tests.hosts.watch SET PID`.

Tests start it beside their hosts, so that a test run that is killed leaves nothing behind either.
"""

import os
import select
import sys

from tests.hosts import machines


def main(set_name: str, pid: int) -> None:
    """Wait for the end of a process, then remove the set if it is still that process's."""
    try:
        owner = os.pidfd_open(pid)
    except ProcessLookupError:
        pass
    else:
        select.select([owner], [], [])
    known = machines.load(set_name)
    if known is not None and known.owner == pid:
        machines.down(set_name)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
