"""Start one process of the stack: what supervisor runs in place of gunicorn or sync.

    python <instances>/<process>/deploy/launch.py <process>

`<instances>/<process>` is a symbolic link to the release that the process serves. It is resolved here, once,
so that from then on no symbolic link stands in the process's paths, settings or working directory: whatever
moves later, a worker that dies comes back with its master's code. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

JOURNAL = "/run/systemd/journal/stdout"

# What a process may know of the environment that supervisord was started in.
INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SSL_CERT_FILE", "TMPDIR", "TZ", "USER")


def read_settings(path: Path) -> dict[str, str]:
    """Read the NAME=value lines of a rendered settings.env; a value reaches to the end of its line."""
    lines = (line for line in path.read_text("utf-8").splitlines() if line)
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def process_environment(release: Path, process: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of one process of a release: nothing else reaches it."""
    environment = {name: inherited[name] for name in INHERITED if name in inherited}
    environment.update(read_settings(release / "rendered" / "settings.env"))
    environment["APP_INSTANCE"] = process
    environment["FLASK_APP"] = environment["APP_WSGI"]
    environment["PYTHONPATH"] = str(release / "src")
    environment["PYTHONUNBUFFERED"] = "1"
    environment["FLASK_SKIP_DOTENV"] = "1"  # a checkout's .env holds values of deploy/stack.yml, not variables
    return environment


def listen_on_unix_socket(path: str, *, group: str = "", backlog: int = 64) -> int:
    """Listen on a unix socket that only this account, and a group if named, can reach.

    Returns an inheritable descriptor.

    The `stack` command asks it for the health of exactly this instance; nginx never uses it.
    """
    before = os.umask(0o177)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if os.path.lexists(path):
            os.unlink(path)
        listener.bind(path)
        if group:
            # An account that is not in the group keeps the socket to itself: it runs a stack by hand.
            with suppress(LookupError, PermissionError):
                shutil.chown(path, group=group)
                os.chmod(path, 0o660)
        listener.listen(backlog)
    finally:
        os.umask(before)
    listener.set_inheritable(True)
    return listener.detach()


def write_to_journal(process: str) -> None:
    """Turn what this process says into a stream of systemd's journal, under the process's name.

    systemd's own words for it are in sd_journal_stream_fd(3). Handing supervisord's standard output on would not do:
    below systemd it is a socket, which cannot be opened by a name. Where there is no journal, supervisor goes on
    reading and hands what it reads to syslog.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream, suppress(OSError):
        stream.connect(JOURNAL)
        # name, unit, priority (info), no priorities in the lines, and nothing to syslog, kmsg or console
        stream.sendall(f"{process}\n\n6\n0\n0\n0\n0\n".encode())
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)


def command(release: Path, process: str, environment: Mapping[str, str], *, own_socket: int | None) -> list[str]:
    """The argument list of one process: gunicorn for an instance, `python -m` for sync."""
    python = str(release / "venv" / "bin" / "python")
    if own_socket is None:
        return [python, "-m", environment["APP_SYNC"]]
    binds = ["-b", "fd://0", "-b", f"fd://{own_socket}"]
    return [python, "-m", "gunicorn", "-c", str(release / "gunicorn.conf.py"), *binds]


def main(process: str) -> None:
    """Become the process. Descriptor 0 is the listening socket that supervisord holds."""
    pointer = Path(os.path.abspath(__file__)).parent.parent
    release = Path(os.path.realpath(pointer))
    environment = process_environment(release, process, os.environ)
    if environment["STACK_JOURNAL"] == "1":
        write_to_journal(process)
    run = environment["APP_RUN_DIR"]
    Path(run, f"{process}.pid").write_text(f"{os.getpid()}\n", "ascii")
    own_socket = None
    if process.startswith("api-"):
        own_socket = listen_on_unix_socket(f"{run}/{process}.sock", group=environment["STACK_OPS_GROUP"])
    # gunicorn puts its working directory on sys.path: it must be one that the account cannot write.
    os.chdir(release / "src")
    arguments = command(release, process, environment, own_socket=own_socket)
    os.execve(arguments[0], arguments, environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: launch.py PROCESS")
    main(sys.argv[1])
