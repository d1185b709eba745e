"""The secrets: one value for the whole stack, read by its account alone, found nowhere else."""

from __future__ import annotations

import hashlib

import pytest

from tests.hosts.verify.fleet import Fleet, Member

pytestmark = pytest.mark.on("app")

NAMES = ("secret_key", "database_password", "admin_password")

# Looks for the text in a file in other files; prints those that hold it. No secret is on a command line.
SEARCH = """
import glob, os, sys
secret = open(sys.argv[1], "rb").readline().strip()
assert len(secret) >= 16, "too short to be told from other text"
for pattern in sys.argv[2:]:
    for top in glob.glob(pattern):
        places = [top] if os.path.isfile(top) else [os.path.join(d, f) for d, _, fs in os.walk(top) for f in fs]
        for place in places:
            if os.path.isfile(place) and not os.path.islink(place):
                try:
                    with open(place, "rb") as file:
                        if secret in file.read(64 << 20):
                            print(place)
                except OSError:
                    pass  # a process that has ended
"""


@pytest.fixture(params=NAMES)
def secret(request: pytest.FixtureRequest, member: Member) -> str:
    """The path of a secret's file."""
    return f"{member.stack['paths']['secrets']}/{request.param}"


def found(member: Member, secret: str, *patterns: str) -> list[str]:
    said = member.python(SEARCH, secret, *patterns)
    assert said.rc == 0, said.stderr
    return str(said.stdout).splitlines()


def test_its_file_is_read_by_the_account_alone(member: Member, secret: str) -> None:
    file = member.root.file(secret)
    assert (file.user, file.mode) == (member.stack["names"]["user"], 0o600)
    assert member.as_account(member.stack["names"]["user"], f"test -r {secret}").rc == 0
    assert member.as_account("nobody", f"cat {secret}", group="65534").rc != 0
    assert member.user.run(f"cat {secret}").rc != 0


def test_it_is_the_same_on_all_hosts_that_have_it(fleet: Fleet, member: Member, secret: str) -> None:
    values = {
        hashlib.sha256(other.ok("cat %s", secret).encode()).hexdigest()
        for other in fleet.on("app", "db")
        if other.root.file(secret).exists
    }
    assert len(values) == 1


def test_no_process_carries_it(member: Member, secret: str) -> None:
    assert found(member, secret, "/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ") == []


def test_it_lies_in_no_other_file(member: Member, secret: str) -> None:
    paths = member.stack["paths"]
    places = [paths["root"], paths["etc"], paths["log"], paths["run"], paths["nginx_log"], "/etc/systemd"]
    everywhere = [
        *places,
        "/etc/nginx",
        "/etc/mysql",
        "/etc/my.cnf.d",
        "/tmp",
        "/var/tmp",
        "/var/log",
        "/home",
        "/root",
    ]
    assert set(found(member, secret, *everywhere)) == {secret}


def test_the_journal_does_not_know_it(member: Member, secret: str) -> None:
    search = "journalctl --boot --output=cat --no-pager | grep --fixed-strings --count --file=/dev/fd/3"
    said = member.root.run(f"head -n 1 {secret} | ({search}) 3<&0")
    assert (said.rc, said.stdout.strip()) == (1, "0"), said.stderr
    # the same search does find what the journal holds
    unit = member.stack["names"]["unit"]
    assert member.root.run(f"journalctl --boot --unit {unit} --no-pager | grep --count {unit}").stdout.strip() != "0"
