"""The stack's site in nginx: put in place, tested, and only then loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy import durable
from deploy.nginx import Nginx, NginxError
from deploy.render import write_file
from deploy.steps import ReleaseError


class SiteRefused(ReleaseError):
    """nginx does not take a site; the old one is back, and nginx never had another."""


class Site:
    """The file that nginx reads of this stack, and how nginx is told of a new one."""

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self._stack = stack
        self.path = Path(stack["paths"]["nginx_conf"], "conf.d", f"{stack['stack']['name']}.conf")

    def text(self) -> str | None:
        """What is in place; None when nothing is."""
        return self.path.read_text("utf-8") if self.path.is_file() else None

    def install(self, wanted: str | None) -> bool:
        """Put a site in place (or take it away), test, load; return whether anything changed.

        Raises:
            SiteRefused: with nginx's words, the old site being back in its place.
        """
        before = self.text()
        if wanted == before:
            return False
        self._write(wanted)
        try:
            Nginx(self._stack).load()
        except NginxError as refused:
            self._write(before)
            raise SiteRefused(f"{refused.message}; the old site is back", log=refused.log) from refused
        return True

    def put_back(self, text: str | None) -> None:
        """Put an old site back and load it, also when it lies there already: nginx may not have been told.

        Raises:
            NginxError: when nginx refuses it.
        """
        self._write(text)
        Nginx(self._stack).load()

    def _write(self, text: str | None) -> None:
        if text is None:
            durable.remove(self.path)
        else:
            write_file(self.path, text)
