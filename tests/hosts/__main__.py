"""`python -m tests.hosts`: throwaway bare hosts by hand."""

import argparse
import os
import signal
import sys
import time
from types import FrameType

from tests.hosts import machines, rootfs
from tests.hosts.machine import Host
from tests.hosts.settings import CHECKOUT, DEFAULT_SET
from tests.hosts.shell import HarnessError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    signal.signal(signal.SIGTERM, _stop)
    options = _parser().parse_args(arguments)
    try:
        status: int = options.do(options)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that what was begun is undone


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hosts", description="Throwaway bare hosts, by systemd-nspawn."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: object, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.add_argument("--set", default=DEFAULT_SET, metavar="NAME", help="which set of hosts (default: %(default)s)")
        sub.set_defaults(do=do)
        return sub

    sub = command("up", _up, "make and start hosts, write their inventory")
    sub.add_argument("--shape", choices=rootfs.SHAPES, default="debian12")
    sub.add_argument("--layout", choices=list(machines.LAYOUTS), default="one")
    sub.add_argument("--name", help="of the host of layout one (default: one)")
    sub.add_argument("--cache", action="store_true", help="put the database host into group cache as well")
    sub.add_argument("--reuse", action="store_true", help="be content with the same set when it is up already")
    # One set at a time, by name: others on this machine may be at work on theirs.
    command("down", _down, "remove every trace of a set")
    command("status", _status, "show what is up")
    sub = command("ssh", _ssh, "log in, or run a command, on a host")
    sub.add_argument("name", metavar="HOST")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    sub = command("reboot", _reboot, "reboot a host and wait until it is ready")
    sub.add_argument("name", metavar="HOST")
    sub = command("journal", _journal, "the last lines of a host's journal, also when it is down")
    sub.add_argument("name", metavar="HOST")
    sub.add_argument("--unit")
    command("prune", _prune, "remove roots in the cache that no recipe names any more")
    return parser


def _up(options: argparse.Namespace) -> int:
    start = time.monotonic()
    made = machines.up(options.set, options.layout, options.shape, options.name, options.cache, options.reuse)
    _print(made)
    print(f"\nready after {time.monotonic() - start:.1f} s. Now:")
    print(f"  cd ansible && ansible-playbook -i {made.inventory.relative_to(CHECKOUT / 'ansible')} deploy.yml")
    suffix = "" if options.set == DEFAULT_SET else f" --set {options.set}"
    print(f"  python -m tests.hosts ssh{suffix} {made.hosts[0].name}")
    print(f"  python -m tests.hosts down{suffix}")
    return 0


def _down(options: argparse.Namespace) -> int:
    removed = machines.down(options.set)
    print(f"set {options.set}: {'removed' if removed else 'nothing there'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    sets = [known for name in machines.names() if (known := machines.load(name)) is not None]
    for known in sets:
        _print(known)
    if not sets:
        print("no test hosts are up")
    return 0


def _print(known: machines.HostSet) -> None:
    owner = f", ends with process {known.owner}" if known.owner else ""
    print(f"set {known.name}: layout {known.layout}, shape {known.shape}{owner}, inventory {known.inventory}")
    for host in known.hosts:
        state = "running" if host.is_running() else "off"
        print(f"  {host.name:<8} {host.address:<14} {state:<8} {' '.join(host.groups)}")


def _host(options: argparse.Namespace) -> Host:
    known = machines.load(options.set)
    if known is None:
        raise HarnessError(f"set {options.set} is not up: `python -m tests.hosts up --set {options.set}`")
    return known[options.name]


def _ssh(options: argparse.Namespace) -> int:
    host = _host(options)
    os.execvp("ssh", ["ssh", "-F", str(host.ssh_config), host.name, *options.command])


def _reboot(options: argparse.Namespace) -> int:
    print(f"ready again after {_host(options).reboot():.1f} s")
    return 0


def _journal(options: argparse.Namespace) -> int:
    print(_host(options).journal(options.unit))
    return 0


def _prune(options: argparse.Namespace) -> int:
    for path in rootfs.prune():
        print(f"removed {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
