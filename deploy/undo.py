"""How each kind of change that a run makes is taken back: after a failure, and after the run was cut off.

A run writes the kind and plain data into its journal before it makes the change, so a change may have been made
wholly, in part or not at all when it is taken back, and it may be taken back twice. Each function here therefore looks
at what there is and does only what is missing.

A kind of one's own is a function with `@takes_back("kind")`, in a module that `deploy/release.py` imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import durable, instances, sections, tree
from deploy.instances import Process, Supervisor
from deploy.journal import Change
from deploy.layout import Host
from deploy.render import write_file
from deploy.site import Site
from deploy.steps import ReleaseError


@dataclass(frozen=True)
class Place:
    """Where changes are taken back: the host, and the stack of the release that the run went to."""

    host: Host
    stack: Mapping[str, Any]

    @property
    def supervisor(self) -> Supervisor:
        """Its supervisord."""
        return Supervisor(self.stack)

    def perform(self, change: Change) -> None:
        """Take one change back.

        Raises:
            ReleaseError: when it cannot be.
        """
        if change.kind not in KINDS:
            raise ReleaseError(f"this engine does not know the kind of change {change.kind!r}")
        KINDS[change.kind](self, **change.data)


KINDS: dict[str, Callable[..., object]] = {}


def takes_back(kind: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Mark the function that takes back one kind of change; it gets the place and the change's data."""

    def register(function: Callable[..., object]) -> Callable[..., object]:
        KINDS[kind] = function
        return function

    return register


@takes_back("process")
def process_back(place: Place, process: Process, release: str) -> None:
    """A process goes back to the release that it served."""
    instances.point(place.host, process, release)
    if place.supervisor.answers():
        instances.settle(place.stack, place.supervisor, process, release)


@takes_back("pointer")
def pointer_back(place: Place, process: Process, release: str) -> None:
    """A pointer names what it did; its process is stopped, or goes with its group."""
    instances.point(place.host, process, release)


@takes_back("sections")
def sections_back(place: Place, files: Mapping[str, str]) -> None:
    """supervisor's files say what they did, and have been read."""
    sections.replace(place.stack, files)
    if place.supervisor.answers():
        place.supervisor.changes()


@takes_back("new group")
def new_group_back(place: Place, group: str) -> None:
    """A group that there was not is gone."""
    if group in loaded(place.supervisor):
        place.supervisor.remove(group)


@takes_back("group")
def group_back(place: Place, group: str, files: Mapping[str, str]) -> None:
    """A group runs by its old section, each process on the release it is pointed at again."""
    sections.replace(place.stack, files)
    supervisor = place.supervisor
    if not supervisor.answers():
        return
    added, changed, _ = supervisor.changes()
    if group in added:
        supervisor.add(group)
    elif group in changed:
        supervisor.replace(group)
    for name, row in supervisor.table().items():
        release = place.host.pointed(place.host.instances / name)
        if row["group"] == group and release:
            stack = tree.stack_of(place.host, release)
            process = next(one for one in stack["processes"] if one["name"] == name)
            instances.settle(stack, supervisor, process, release)


@takes_back("supervisord")
def supervisord_back(place: Place) -> None:
    """A supervisord that the run has started runs what its files say now."""
    supervisor = place.supervisor
    if not supervisor.answers():
        return
    for group in loaded(supervisor):
        supervisor.remove(group)
    for group in supervisor.changes()[0]:
        supervisor.add(group)


@takes_back("site")
def site_back(place: Place, text: str | None) -> None:
    """nginx serves the site that it did."""
    Site(place.stack).put_back(text)


@takes_back("current")
def current_back(place: Place, current: str, previous: str) -> None:
    """`current` and `previous` name what they did."""
    host = place.host
    for pointer, release in ((host.current, current), (host.previous, previous)):
        if release:
            durable.link(pointer, host.target(pointer, release))
        else:
            durable.remove(pointer)


@takes_back("values")
def values_back(place: Place, path: str, text: str | None) -> None:
    """The host's file of what `stack scale` asked for says what it did."""
    if text is None:
        durable.remove(Path(path))
    else:
        write_file(Path(path), text)


def loaded(supervisor: Supervisor) -> list[str]:
    """The groups that supervisord has."""
    return sorted({str(row["group"]) for row in supervisor.table().values()})
