"""What a rotation of secrets has to do, worked out anew in each run from what every host has."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

ROTATED = ("secret_key", "database_password")
SHORTEST_KEY = 32
MARGIN = 3600.0  # seconds: the key before signs until the last process has restarted
FORCE = "-e rotate_force=true does it all the same"

Found = Mapping[str, str]


def database_login(text: str, user: str) -> dict[str, str]:
    """The account and the password that a file database_password holds; `user` is whose it is without a second line."""
    password, _, account = text.partition("\n")
    return {"name": account or user, "password": password}


def rotation_plan(
    hosts: list[str], hostvars: Mapping[str, Any], vault: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What to write where, in two passes, and what stands in the way.

    A rotation that was interrupted is known by the `*_next` file that a host still has: it is gone on with. Every host
    that has not switched has one, since all get theirs before the first one switches.

    Args:
        hosts: that have secrets; the first one decides where they differ.
        hostvars: Ansible's, with `rotate_found` of each host, the answer of stack_secrets.
        vault: the `vault_*` variables by the rest of their names; an empty one does not count.
        asked: `only` (names), `drop`, `force`, `days` (that a signature may last), `now` (seconds since the epoch), and
            of the stack's database `engine`, `user`, `host` and whether it is `ours`.

    Returns:
        `problems`, and when there are none: `next` (files of the first pass by name), `files` (of the second, in the
        order in which they are written), `absent` (files that go with the second), `account` (to be made: name and
        password) with `retired` (its name), `drop`, and `said`, which holds no secret.
    """
    return _Rotation(hosts, hostvars, vault, asked).plan()


class _Rotation:
    def __init__(
        self, hosts: list[str], hostvars: Mapping[str, Any], vault: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> None:
        answers = {host: hostvars[host].get("rotate_found", {}) for host in hosts}
        self.found: dict[str, Found] = {host: answer.get("found", {}) for host, answer in answers.items()}
        self.times: list[Mapping[str, float]] = [answer.get("changed_at", {}) for answer in answers.values()]
        self.vault = {name: str(value).strip() for name, value in vault.items() if value}
        self.asked = asked
        self.result: dict[str, Any] = {
            "problems": [], "said": [], "drop": False,
            "next": {}, "files": {}, "absent": [], "account": {}, "retired": "",
        }  # fmt: skip

    def plan(self) -> dict[str, Any]:
        only, force = list(self.asked["only"]), bool(self.asked["force"])
        unknown = [name for name in only if name not in ROTATED]
        if unknown or not only:
            self._refuse(f"rotate_only is {only}: it is a list of {' and '.join(ROTATED)}")
        elif self.asked["drop"]:
            self._drop(force=force)
        else:
            if "secret_key" in only:
                self._key(force=force, resumes_other=bool(self._first("database_password_next")))
            if "database_password" in only and self.asked["engine"] == "mysql":
                self._database()
        return self.result

    def _refuse(self, problem: str) -> None:
        self.result["problems"].append(problem)

    def _say(self, line: str) -> None:
        self.result["said"].append(line)

    def _values(self, name: str) -> list[str]:
        """What the hosts have under a name, without repetition, the deciding host's first."""
        return list(dict.fromkeys(found[name] for found in self.found.values() if found.get(name)))

    def _first(self, name: str) -> str:
        return next(iter(self._values(name)), "")

    # -- the signing key -----------------------------------------------------------------------------------------------

    def _expiry(self) -> float:
        """When the last signature of the key before has expired, in seconds since the epoch; 0 where there is none."""
        times = [times["secret_key_previous"] for times in self.times if "secret_key_previous" in times]
        return max(times) + 86400.0 * float(self.asked["days"]) + MARGIN if times else 0.0

    def _is_needed(self) -> bool:
        """Whether what the key before has signed may be good still."""
        return self._expiry() > float(self.asked["now"])

    def _key(self, *, force: bool, resumes_other: bool) -> None:
        new = self._first("secret_key_next")
        if not new and resumes_other:
            # It has been rotated by the run that was killed, or that run was not asked to.
            self._say("secret_key: left as it is, since a rotation of the database's login was under way")
            return
        if not new and self._is_needed() and not force:
            self._refuse(
                "secret_key was rotated already, and what the key before has signed is good until "
                f"{_date(self._expiry())}: another rotation would end those logins; {FORCE}"
            )
            return
        if not self._agrees("secret_key", new):
            return
        new = new or self._fresh("secret_key")
        if not new:
            return
        if len(new) < SHORTEST_KEY:
            self._refuse(f"vault_secret_key_next has fewer than {SHORTEST_KEY} characters")
            return
        old = next((key for key in self._values("secret_key") if key != new), self._first("secret_key_previous"))
        self.result["next"]["secret_key_next"] = new
        # In this order: whoever starts between two of them knows both keys.
        self.result["files"] |= {
            **({"secret_key_previous": old} if old else {}),
            "proof_key": self._first("proof_key") or old or new,
            "secret_key": new,
        }
        self.result["absent"].append("secret_key_next")
        until = float(self.asked["now"]) + 86400.0 * float(self.asked["days"]) + MARGIN
        self._say(
            f"secret_key: the next one signs; the one before is accepted. From {_date(until)} on it can go: "
            "ansible-playbook rotate-secrets.yml -e rotate_drop_previous=true"
        )
        self._say_vault("secret_key")

    def _drop(self, *, force: bool) -> None:
        if self._first("secret_key_next"):
            self._refuse(
                "a rotation of secret_key is under way: run rotate-secrets.yml without rotate_drop_previous first"
            )
        elif not self._first("secret_key_previous"):
            self._say("secret_key: there is no key before it to drop")
        elif self._is_needed() and not force:
            self._refuse(
                f"what the key before has signed may be good until {_date(self._expiry())}: dropping it now would end "
                f"those logins, and links in mails; {FORCE}"
            )
        else:
            self.result["drop"] = True
            self._say("secret_key: the one before is accepted no more")

    # -- the login of the database -------------------------------------------------------------------------------------

    def _database(self) -> None:
        user, ours = str(self.asked["user"]), bool(self.asked["ours"])
        text = self._first("database_password_next")
        if not self._agrees("database_password", text):
            return
        if not text:
            if not ours and "database_password_next" not in self.vault:
                self._refuse(
                    f"the database at {self.asked['host']} is not set up from here: make a second account there with "
                    "the rights of the first, put its password into vault_database_password_next and its name into "
                    'vault_database_user_next; or rotate the key alone with -e \'{"rotate_only": ["secret_key"]}\''
                )
                return
            password = self._fresh("database_password")
            if not password:
                return
            before = database_login(self._first("database_password"), user)["name"]
            account = _other(before, user) if ours else self.vault.get("database_user_next", before)
            if len(password.split("\n")) > 1 or account.split() != [account]:
                self._refuse("vault_database_password_next and vault_database_user_next are one line each")
                return
            text = password if account == user else f"{password}\n{account}"
        login = database_login(text, user)
        self.result["next"]["database_password_next"] = text
        self.result["files"]["database_password"] = text
        if ours:
            self.result["account"] = login
            self.result["retired"] = _other(login["name"], user)
            self._say(f"database_password: the account is {login['name']}, and {self.result['retired']} is gone")
        else:
            self._say(
                f"database_password: the account is {login['name']}. The database at {self.asked['host']} is not set "
                "up from here: take the account or the password before it away there, once no connection of it is left"
            )
        self._say_vault("database_password")

    # -- what both have in common --------------------------------------------------------------------------------------

    def _agrees(self, name: str, under_way: str) -> bool:
        """Refuse a rotation that the hosts or the vault contradict."""
        given = self.vault.get(f"{name}_next", "")
        missing = [host for host, found in self.found.items() if not found.get(name)]
        if missing:
            self._refuse(f"{', '.join(missing)}: there is no {name}; run provision.yml first")
        elif not under_way and len(self._values(name)) > 1:
            self._refuse(f"the hosts have different values of {name}: run provision.yml first")
        elif under_way and given and given != under_way.partition("\n")[0]:
            self._refuse(
                f"a rotation of {name} to another value than vault_{name}_next is under way: take that variable away "
                "to finish it, and rotate once more afterwards"
            )
        else:
            return True
        return False

    def _fresh(self, name: str) -> str:
        """The value to rotate to: the vault's, or a new one where the vault has no say."""
        given = self.vault.get(f"{name}_next", "")
        if given and given == self._first(name).partition("\n")[0]:
            self._refuse(f"vault_{name}_next is in use already: make it vault_{name}, and put another one there")
            return ""
        if given or name not in self.vault:
            return given or secrets.token_urlsafe(36)
        self._refuse(f"vault_{name} decides what {name} is: put the one that is to follow it into vault_{name}_next")
        return ""

    def _say_vault(self, name: str) -> None:
        if f"{name}_next" in self.vault:
            self._say(f"in the vault: make vault_{name}_next vault_{name} now")


def _other(account: str, user: str) -> str:
    """The account that takes turns with another one."""
    return user if account != user else f"{user}_b"


def _date(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def secrets_kept(names: list[str], hosts: list[str], hostvars: Mapping[str, Any]) -> dict[str, str]:
    """What rotations have left on the hosts; it belongs onto all of them. Nothing is made up here."""
    found = [hostvars[host].get("secrets_found", {}).get("found", {}) for host in hosts]
    values = {name: next((str(one[name]) for one in found if one.get(name)), "") for name in names}
    return {name: value for name, value in values.items() if value}


def vault_problems(variables: Mapping[str, Any], hosts: list[str], hostvars: Mapping[str, Any]) -> list[str]:
    """Whether the vault would take the hosts back to a key that a rotation has replaced."""
    found = [hostvars[host].get("secrets_found", {}).get("found", {}) for host in hosts]
    given, following = variables.get("secret_key"), variables.get("secret_key_next")
    in_use = {one.get("secret_key") for one in found}
    before = {one.get("secret_key_previous") for one in found}
    if given and given in before and given not in in_use and following not in in_use:
        return [
            "vault_secret_key is the key before the last rotation: put the one in use there, which is in the file "
            "secret_key on every host"
        ]
    return []


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions = (database_login, rotation_plan, secrets_kept, vault_problems)
        return {function.__name__: function for function in functions}
