"""Further paths for what the application serves: /users for /api/v1/users. Which ones is a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Aliases:
    """WSGI middleware that reads a path as what it stands for, before anything is routed.

    Args:
        application: what is asked then.
        paths: each alias with what it stands for; it also holds for what lies below it.
    """

    def __init__(self, application: WSGIApplication, paths: Mapping[str, str]) -> None:
        self.application = application
        self.paths = sorted(paths.items(), key=lambda pair: -len(pair[0]))  # the longest is the nearest

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        path = environ.get("PATH_INFO", "")
        for alias, real in self.paths:
            if path == alias or path.startswith(f"{alias}/"):
                environ["PATH_INFO"] = real + path[len(alias) :]
                break
        return self.application(environ, start_response)
