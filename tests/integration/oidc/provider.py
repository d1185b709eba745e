"""An OpenID Connect provider of the tests' own: Debian's glewlwyd on a loopback port, signing with keys we hold."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

BINARY = "/usr/bin/glewlwyd"
SCHEMA = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
MODULES = "/usr/lib/glewlwyd"
CLIENT, OTHER_CLIENT = "cloudeye", "somebody-else"
REDIRECT = "http://127.0.0.1/back"

# Their passwords are "password of <name>"; without an address there is none.
PEOPLE: dict[str, dict[str, str]] = {
    "alice": {"name": "Alice Example", "email": "alice@example.com", "email_verified": "yes"},
    "owner": {"name": "The Owner", "email": "OWNER@example.com", "email_verified": "yes"},
    "leaver": {"name": "The Leaver", "email": "leaver@example.com", "email_verified": "yes"},
    "claimant": {"name": "Claimant", "email": "claimant@example.com", "email_verified": "no"},
    "silent": {"name": "Silent", "email_verified": "yes"},
    "foreigner": {"name": "Foreigner", "email": "foreigner@elsewhere.example.org", "email_verified": "yes"},
}


def secret_of(client: str) -> str:
    """Return what a client shows the provider."""
    return f"the-secret-of-{client}"


class Provider:
    """Run one provider for as long as the ``with`` block lasts.

    Args:
        folder: an empty folder.
        port: a free loopback port.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.issuer = f"{self.url}/api/oidc"
        self.port = port
        self.keys = [new_key("first")]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Provider:
        database = self.folder / "glewlwyd.sqlite3"
        with SCHEMA.open("rb") as schema:
            subprocess.run(["sqlite3", str(database)], stdin=schema, check=True, timeout=60)
        settings: dict[str, str | int] = {
            "port": self.port,
            "bind_address": "127.0.0.1",
            "external_url": self.url,
            "api_prefix": "api",
            "log_mode": "file",
            "log_level": "INFO",
            "log_file": str(self.folder / "log"),
            "session_key": "GLEWLWYD",
            "admin_scope": "g_admin",
            "profile_scope": "g_profile",
            "user_module_path": f"{MODULES}/user",
            "client_module_path": f"{MODULES}/client",
            "user_auth_scheme_module_path": f"{MODULES}/scheme",
            "plugin_module_path": f"{MODULES}/plugin",
            "hash_algorithm": "SHA512",
        }
        lines = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        lines.append(f'database={{ type="sqlite3" path={json.dumps(str(database))} }};')
        (self.folder / "glewlwyd.conf").write_text("\n".join(lines) + "\n")
        self.start()
        try:
            self._set_up()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, wait: float = 30) -> None:
        """Start the server and wait until it answers, at most ``wait`` seconds."""
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [BINARY, "--config-file", str(self.folder / "glewlwyd.conf")], stdout=out, stderr=out, env=_plain()
            )
        end = time.monotonic() + wait
        while True:
            try:
                httpx.get(f"{self.url}/config", timeout=5).raise_for_status()
                return
            except httpx.HTTPError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    said = [path.read_text()[-1000:] for path in (self.folder / "out", self.folder / "log")]
                    raise RuntimeError(f"glewlwyd does not answer: {said}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End the server and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def rotate(self, name: str) -> None:
        """Sign with a new key from now on, and publish no other."""
        self.keys.insert(0, new_key(name))
        with self._admin() as admin:
            plugin = _good(admin.get("mod/plugin/oidc")).json()
            plugin["parameters"] |= self._keys()
            _good(admin.put("mod/plugin/oidc", json=plugin))
            _good(admin.put("mod/plugin/oidc/reset"))

    def tokens(self, person: str, nonce: str, client: str = CLIENT) -> dict[str, str]:
        """Log somebody in by the authorization code flow with PKCE (RFC 7636) and return what the client gets."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        with httpx.Client(base_url=self.url, timeout=30) as browser:
            # What the provider's own login page does.
            _good(browser.post("/api/auth/", json={"username": person, "password": f"password of {person}"}))
            _good(browser.put(f"/api/auth/grant/{client}", json={"scope": "openid"}))
            asked = {
                "response_type": "code", "client_id": client, "redirect_uri": REDIRECT, "scope": "openid",
                "nonce": nonce, "state": "a state", "code_challenge": challenge, "code_challenge_method": "S256",
                "g_continue": "",
            }  # fmt: skip
            sent_on = browser.get("/api/oidc/auth", params=asked)
            came_back = parse_qs(urlsplit(sent_on.headers["location"]).query)
            assert came_back["state"] == ["a state"], sent_on.headers["location"]
        form = {
            "grant_type": "authorization_code", "code": came_back["code"][0], "redirect_uri": REDIRECT,
            "client_id": client, "code_verifier": verifier,
        }  # fmt: skip
        given = httpx.post(f"{self.issuer}/token", data=form, auth=(client, secret_of(client)), timeout=30)
        tokens: dict[str, str] = _good(given).json()
        return tokens

    def revoke(self, token: str) -> None:
        """Make an access token worthless (RFC 7009)."""
        form = {"token": token, "token_type_hint": "access_token"}
        _good(httpx.post(f"{self.issuer}/revoke", data=form, auth=(CLIENT, secret_of(CLIENT)), timeout=30))

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Sign claims with the key that the provider signs with."""
        return sign_with(self.keys[0], claims, **{"kid": self.keys[0].kid, **header})

    def _keys(self) -> dict[str, str]:
        key = self.keys[0]
        return {"jwks-private": json.dumps({"keys": [key.as_dict(private=True)]}), "default-kid": str(key.kid)}

    @contextmanager
    def _admin(self) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=f"{self.url}/api/", timeout=30) as admin:
            _good(admin.post("auth/", json={"username": "admin", "password": "password"}))
            yield admin

    def _set_up(self) -> None:
        with self._admin() as admin:
            backend = _good(admin.get("mod/user/database")).json()
            backend["parameters"]["data-format"]["email_verified"] = {"multiple": False, "read": True, "write": True}
            _good(admin.put("mod/user/database", json=backend))
            _good(admin.put("mod/user/database/reset"))
            plugin = {"module": "oidc", "name": "oidc", "display_name": "oidc", "parameters": self._plugin()}
            _good(admin.post("mod/plugin/", json=plugin))
            for name, person in PEOPLE.items():
                account = {
                    "username": name, "password": f"password of {name}", "enabled": True,
                    "scope": ["openid", "g_profile"], **person,
                }  # fmt: skip
                _good(admin.post("user/", json=account))
            for client in (CLIENT, OTHER_CLIENT):
                known = {
                    "client_id": client, "name": client, "client_secret": secret_of(client), "confidential": True,
                    "enabled": True, "scope": ["openid"], "redirect_uri": [REDIRECT],
                    "authorization_type": ["code", "client_credentials"],
                    "token_endpoint_auth_method": ["client_secret_basic"],
                }  # fmt: skip
                _good(admin.post("client/", json=known))

    def _plugin(self) -> dict[str, Any]:
        return {
            "iss": self.issuer,
            "jwt-type": "rsa",
            "jwt-key-size": "256",
            **self._keys(),
            "access-token-duration": 3600,
            "refresh-token-duration": 3600,
            "code-duration": 60,
            "refresh-token-rolling": False,
            "allow-non-oidc": False,
            "auth-type-code-enabled": True,
            "auth-type-token-enabled": False,
            "auth-type-id-token-enabled": True,
            "auth-type-none-enabled": False,
            "auth-type-password-enabled": False,
            "auth-type-client-enabled": True,
            "auth-type-device-enabled": False,
            "auth-type-refresh-enabled": False,
            "jwks-show": True,
            "subject-type": "public",
            "name-claim": "mandatory",
            "email-claim": "mandatory",
            "allowed-scope": ["openid"],
            "pkce-allowed": True,
            "pkce-required": True,
            "introspection-revocation-allowed": True,
            "introspection-revocation-auth-scope": [],
            "introspection-revocation-allow-target-client": True,
            "claims": [
                {
                    "name": "email_verified", "user-property": "email_verified", "type": "boolean", "mandatory": True,
                    "boolean-value-true": "yes", "boolean-value-false": "no", "scope": [],
                }
            ],
        }  # fmt: skip


def new_key(name: str) -> RSAKey:
    """Make a key to sign with."""
    return RSAKey.generate_key(2048, {"kid": name, "alg": "RS256", "use": "sig"}, private=True)


def sign_with(key: RSAKey, claims: dict[str, Any], **header: Any) -> str:
    """Make a signed token; RS256 unless the header says otherwise."""
    header = {"alg": "RS256", **header}
    return jwt.encode(header, dict(claims), key, algorithms=[header["alg"]])


def part_of(token: str, index: int) -> dict[str, Any]:
    """Read a token's header (0) or claims (1) without checking anything."""
    segment = token.split(".")[index]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return found


def _good(answer: httpx.Response) -> httpx.Response:
    assert answer.status_code == 200, f"{answer.request.url}: {answer.status_code} {answer.text}"
    return answer


def _plain() -> dict[str, str]:
    """The environment without what would configure the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GLWD_")}
