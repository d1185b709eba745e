"""The commands of `stack` for releases: building an archive, and what is done with it on a host."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy import build as building
from deploy import incoming, instances, ledger, local, resume, tree, venvs, wheels
from deploy import release as engine
from deploy.layout import Host
from deploy.release import Options
from deploy.render import TREE
from deploy.stack import Layer, StackError, load, read_yaml, set_layer
from deploy.steps import Outcome, ReleaseError

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]

BUILD_HELP = """\
  stack build                          dist/<project>-<id>.tar.gz from a clean git tree
  stack build --json                   {"id": ..., "path": ..., "sha256": ..., ...} for programs
"""
WHEELS_HELP = """\
On a machine with a compiler and the OS and Python of the hosts:
  stack wheels build/wheels            mysqlclient's wheel and SHA256SUMS; give the folder to `stack release --wheels`
"""
RELEASE_HELP = """\
On a host, as root. The archive is unpacked first, and its own engine runs the release:
  tar -xzf cloudeye-ID.tar.gz -C /opt/NAME/incoming/ID
  PYTHONPATH=/opt/NAME/incoming/ID /opt/NAME/supervisor/bin/python -P -m deploy.cli release \\
      /opt/NAME/incoming/ID --config /etc/NAME/stack.yml --wheels /opt/NAME/wheels --json
The first host of a fleet migrates; the others get --no-migrate. Standard output is one line of JSON with --json:
  {"changed": true, "release": ID, "previous": ID, "steps": [{"name": ..., "seconds": ..., "changed": ...}],
   "requests": {"seen": ..., "failed": ...}}
and after a failure (exit status 1) "failed": true with "step", "instance", "message" and "log" as well.
By hand, on a host that has a release already, the archive itself will do:
  stack release cloudeye-ID.tar.gz
"""
CONSOLE_HELP = """\
  stack console                        `flask shell`: Python with the application's context
  stack console --python               Python with the release's settings and packages, and no more
  echo 'print(app.name)' | stack console
On a host it runs as the stack's account, so call it as root. It writes where the application writes: take care.
"""
RESUME_HELP = """\
The next `stack release`, `rollback` or `restart` does this by itself before anything else.
Before `current` was about to move, the run is taken back to the release before; from there on it is finished.
  stack resume --dry-run               what was cut off, and what would be done
  stack resume --json                  {"verdict": "nothing|undone|done|failed", "message": ..., "changed": ..., ...}
"""


def add_commands(command: Command) -> None:
    """Add these commands to the command line of `stack`."""
    sub = command("build", run_build, "make the archive that hosts are released to, from a clean git tree")
    _epilog(sub, BUILD_HELP)
    sub.add_argument("--output", type=Path, metavar="FILE", help="where to write it")
    sub.add_argument("--allow-dirty", action="store_true", help="take the working tree as it is, and mark the release")
    _json(sub)

    sub = command("wheels", run_wheels, "build the wheels that need a compiler, for hosts that have none")
    _epilog(sub, WHEELS_HELP)
    sub.add_argument("folder", type=Path, help="where to put them")
    sub.add_argument("--python", default="", help="the interpreter they are for; python.interpreter when not given")
    _json(sub)

    sub = command("release", run_release, "bring this host to a release, losing no request")
    _epilog(sub, RELEASE_HELP)
    sub.add_argument("source", type=Path, help="an unpacked archive, or the archive itself")
    sub.add_argument("--wheels", type=Path, metavar="DIR", help="wheels made by `stack wheels`")
    sub.add_argument(
        "--migrate", action=argparse.BooleanOptionalAction, default=True, help="migrate the database (once for a fleet)"
    )
    sub.add_argument(
        "--contract", action="store_true", help="run contract migrations too, which the release before holds as well"
    )
    _common(sub)

    sub = command("rollback", run_rollback, "bring this host back to a release it has; migrations stay")
    sub.add_argument("id", nargs="?", default="", help="which; the one before the current when not given")
    _common(sub)

    sub = command("restart", run_restart, "restart the processes one at a time, losing no request")
    sub.add_argument("names", nargs="*", help="processes or groups; all when none is named")
    sub.add_argument(
        "--old-secrets", action="store_true", help="of these, only what started before a secret was last changed"
    )
    _common(sub)

    sub = command("resume", run_resume, "undo or finish a release that was cut off, by a kill or a power cut")
    _epilog(sub, RESUME_HELP)
    sub.add_argument("--dry-run", action="store_true", help="only say what would be done")
    _common(sub)

    sub = command("releases", run_releases, "list the releases on this host")
    _json(sub)

    sub = command(
        "ledger", run_ledger, "print what was done to this host's releases, and whether the record was changed"
    )
    sub.add_argument("action", nargs="?", choices=["show", "verify"], default="show", help="verify prints no entries")
    _json(sub)

    sub = command("exec", run_exec, "run a command in the current release's environment, as the stack's account")
    sub.add_argument("arguments", nargs="+", metavar="CMD", help="after --, e.g. stack exec -- flask db current")
    _account(sub)

    sub = command(
        "console", run_console, "open a shell with the application loaded, in the current release's environment"
    )
    _epilog(sub, CONSOLE_HELP)
    sub.add_argument("--python", action="store_true", help="a plain Python, nothing loaded")
    _account(sub)


def _epilog(sub: argparse.ArgumentParser, text: str) -> None:
    sub.epilog = text
    sub.formatter_class = argparse.RawDescriptionHelpFormatter


def _json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="one line of JSON on standard output, for programs")


def _account(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--account", help="whose processes these are when called by root; stack.name when not given")


def _common(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for the stack's lock")
    _account(sub)
    _json(sub)


def run_build(args: argparse.Namespace) -> int:
    try:
        built = building.build(TREE, args.output, allow_dirty=args.allow_dirty)
    except building.BuildError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(built)) if args.json else f"{built.path}\n  release {built.id}, sha256 {built.sha256}")
    return 0


def run_wheels(args: argparse.Namespace) -> int:
    def work() -> int:
        stack = _loader(args)(None)
        python = args.python or venvs.interpreter(stack)
        files = (TREE / "requirements" / "mysql.txt", TREE / "requirements" / "build.txt")
        made = wheels.build(*files, args.folder, python=python, environment=venvs.environment(stack))
        print(json.dumps({"folder": str(args.folder), "wheels": made}) if args.json else "\n".join(made))
        return 0

    return _reporting(args, work)


def run_release(args: argparse.Namespace) -> int:
    def work() -> int:
        load = _loader(args)
        host = Host.of(load(None), args.account)
        if args.source.is_file():
            return _release_archive(args, host)
        source = Path(os.path.abspath(args.source))
        options = Options(args.wheels and Path(os.path.abspath(args.wheels)), args.migrate, args.contract, args.wait)
        return _print(args, engine.release(host, source, load, options, _say))

    return _reporting(args, work)


def _release_archive(args: argparse.Namespace, host: Host) -> int:
    """Unpack an archive where its engine can run, and become that engine."""
    folder = incoming.unpack(host, args.source)
    rest = sys.argv[1:]
    rest[rest.index(str(args.source))] = str(folder)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    os.execve(sys.executable, [sys.executable, "-P", "-m", "deploy.cli", *rest], environment)  # noqa: S606


def run_rollback(args: argparse.Namespace) -> int:
    def work() -> int:
        host = Host.of(_loader(args)(None), args.account)
        return _print(args, engine.rollback(host, args.id, Options(wait=args.wait), _say))

    return _reporting(args, work)


def run_restart(args: argparse.Namespace) -> int:
    def work() -> int:
        host = Host.of(_loader(args)(None), args.account)
        current = tree.open_release(host, host.pointed(host.current))
        names = args.names
        if args.old_secrets:
            old = instances.with_old_secrets(current.stack)
            names = [process["name"] for process in old if not names or {process["name"], process["group"]} & {*names}]
            if not names:
                return _print(args, Outcome(release=current.name, previous=current.name))
        return _print(args, engine.restart(host, current.stack, names, Options(wait=args.wait), _say))

    return _reporting(args, work)


def run_resume(args: argparse.Namespace) -> int:
    def work() -> int:
        host = Host.of(_loader(args)(None), args.account)
        resumed = resume.resume(host, _say, wait=args.wait, dry_run=args.dry_run)
        fields = {"verdict": resumed.verdict, "message": resumed.message, **asdict(resumed.outcome)}
        print(json.dumps(fields) if args.json else resumed.message)
        return 0

    return _reporting(args, work)


def run_releases(args: argparse.Namespace) -> int:
    def work() -> int:
        rows = engine.listed(Host.of(_loader(args)(None)))
        if args.json:
            print(json.dumps(rows))
            return 0
        for row in rows:
            mark = "current " if row["current"] else "previous" if row["previous"] else "        "
            print(f"{mark} {row['id']}  {row['version']}  {' '.join(row['processes'])}{_requests(row)}")
        return 0

    return _reporting(args, work)


def _requests(row: Mapping[str, Any]) -> str:
    """What was counted, for people; nothing where nobody counted."""
    counted = row.get("requests")
    return f"  {counted['seen']} requests, {counted['failed']} failed" if counted else ""


def run_ledger(args: argparse.Namespace) -> int:
    def work() -> int:
        found = ledger.read(Host.of(_loader(args)(None)).ledger)
        if args.json:
            shown = {"entries": found.entries} if args.action == "show" else {}
            print(json.dumps({**shown, "head": found.head, "problems": found.problems}))
        else:
            for entry in found.entries if args.action == "show" else []:
                seconds = sum(step["seconds"] for step in entry["steps"])
                line = (
                    f"{entry['time']}  {entry['action']:<8} {entry['outcome']:<6} {entry['current']}  {seconds:.1f} s"
                )
                line += _requests(entry)
                print(f"{line}  by {entry['actor']}" + (f": {entry['message']}" if entry.get("message") else ""))
            print(f"{len(found.entries)} entries, newest hash {found.head}")
        for problem in found.problems:
            print(f"stack: the ledger was changed: {problem}", file=sys.stderr)
        return 1 if found.problems else 0

    return _reporting(args, work)


def run_console(args: argparse.Namespace) -> int:
    args.arguments = ["python"] if args.python else ["flask", "shell"]
    return run_exec(args)


def run_exec(args: argparse.Namespace) -> int:
    if args.set:
        raise StackError(["--set: a command runs with the values that the stack was started with; set them there"])
    if not (args.config or os.environ.get("STACK_CONFIG") or args.profile == "host"):
        from deploy.cli import stack_of  # here: that module imports this one

        local.execute(stack_of(args, again=True), args.arguments)

    def work() -> int:
        host = Host.of(_loader(args)(None), args.account)
        current = host.pointed(host.current)
        if not current:
            raise ReleaseError(f"there is no current release in {host.root}")
        host.execute(args.arguments, host.releases / current)
        return 1  # not reached: the process has become the command

    return _reporting(args, work)


def _loader(args: argparse.Namespace) -> tree.Load:
    """What loads the host's stack for a release: the profile `host` and the overrides in --config."""
    config = args.config or (Path(os.environ["STACK_CONFIG"]) if os.environ.get("STACK_CONFIG") else None)
    if args.profile not in (None, "host"):
        raise StackError([f"{args.profile}: releases are for hosts; a checkout is served by `stack up`"])
    if config is not None and not config.is_file():
        raise StackError([f"--config {config}: there is no such file"])

    def load_for(release: Mapping[str, str] | None) -> dict[str, Any]:
        layers = [Layer(str(config), read_yaml(config))] if config else []
        return load("host", layers=[*layers, set_layer(args.set or [])], release=release)

    return load_for


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _print(args: argparse.Namespace, outcome: Outcome) -> int:
    if args.json:
        print(json.dumps(asdict(outcome)), flush=True)
    elif outcome.changed:
        before = f" (before: {outcome.previous})" if outcome.previous not in ("", outcome.release) else ""
        print(f"{outcome.release} is current{before}")
    else:
        print(f"{outcome.release} is current already, nothing changed")
    return 0


def _reporting(args: argparse.Namespace, work: Callable[[], int]) -> int:
    """Do the work; say why it failed in a form that its reader can use."""
    try:
        return work()
    except ReleaseError as error:
        where = f" in step {error.step}" if error.step else ""
        print(f"stack: failed{where}: {error.message}", file=sys.stderr)
        for line in error.log:
            print(f"    {line}", file=sys.stderr)
        if getattr(args, "json", False):
            fields = {"step": error.step, "instance": error.instance, "message": error.message, "log": error.log}
            print(json.dumps({"failed": True, **asdict(error.outcome), **fields}), flush=True)
        return 1
