"""Somebody who comes from the provider."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select
from werkzeug.test import TestResponse

from cloudeye.config import OidcConfig
from cloudeye.extensions import db
from cloudeye.models import Identity, User, UserSession
from tests.integration.oidc.provider import CLIENT, Provider
from tests.integration.world import World

PATH = "/api/v1/auth/oidc"


class Visitor:
    """Somebody with an account at the provider, in a client of this application."""

    def __init__(self, world: World, provider: Provider) -> None:
        self.world, self.provider = world, provider
        self.client = world.app.test_client()
        self.nonce = self.get_nonce()

    @property
    def settings(self) -> OidcConfig:
        """The application's settings for it."""
        return self.world.config.oidc

    def get_nonce(self) -> str:
        """Ask the API for a nonce."""
        answer = self.client.get(PATH)
        assert answer.status_code == 200, answer.text
        return str(answer.json["data"]["nonce"])

    def tokens(self, person: str = "alice", nonce: str | None = None, client: str = CLIENT) -> dict[str, str]:
        """Log in at the provider."""
        return self.provider.tokens(person, nonce or self.nonce, client)

    def sends(self, **body: str) -> TestResponse:
        """Bring tokens to the API."""
        return self.client.post(PATH, json=body)

    def logs_in(self, person: str = "alice") -> TestResponse:
        """Do all of it with an id token."""
        self.nonce = self.get_nonce()
        return self.sends(id_token=self.tokens(person)["id_token"], nonce=self.nonce)

    def is_told(self, access_token: str) -> dict[str, str]:
        """Ask who one is, with a token of ours."""
        answer = self.client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {access_token}"})
        assert answer.status_code == 200, answer.text
        user: dict[str, str] = answer.json["data"]["user"]
        return user


@contextmanager
def account(world: World, email: str) -> Iterator[User]:
    """Look at an account, or change it, as another process would."""
    with world.app.app_context():
        yield db.session.scalars(select(User).where(User.email_key == email)).one()
        db.session.commit()


def counts(world: World) -> tuple[int, int, int]:
    """Return how many users, links to the issuer and sessions there are."""
    with world.app.app_context():
        users, links, sessions = (
            db.session.scalar(select(func.count()).select_from(table)) or 0 for table in (User, Identity, UserSession)
        )
        return users, links, sessions
