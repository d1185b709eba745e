"""The cookie in which Flask keeps a visitor's session, looked into only where there is one."""

from __future__ import annotations

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin


class SessionInterface(SecureCookieSessionInterface):
    """Flask's sessions; nothing is read where no cookie came, as for the API."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of a request."""
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write the session into an answer, if anybody has looked at it."""
        if session or session.accessed or session.modified:
            super().save_session(app, session, response)
