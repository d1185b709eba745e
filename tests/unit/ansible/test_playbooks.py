"""Ansible itself reads every playbook, with every example inventory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .support import ANSIBLE, PLAYBOOKS

EXAMPLES = ["one", "fleet", "staging", "production"]
COMMAND = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert COMMAND, "ansible-playbook is not installed: make ops"
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
    return subprocess.run(
        [COMMAND, *arguments], cwd=ANSIBLE, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_ansible_understands_it_and_lists_its_tasks(path: Path) -> None:
    for option in ("--syntax-check", "--list-tasks"):
        result = playbook("-i", "inventories/fleet", path.name, option)
        assert result.returncode == 0, result.stderr
        assert "[WARNING]" not in result.stderr
    assert "TAGS:" in result.stdout


@pytest.mark.parametrize("inventory", EXAMPLES)
def test_an_example_inventory_is_refused_before_any_host_is_asked(inventory: str) -> None:
    result = playbook("-i", f"inventories/{inventory}", "deploy.yml")
    assert result.returncode != 0
    assert "is an address for examples" in result.stdout
    assert "Look at every host" not in result.stdout


def test_a_plan_that_cannot_be_made_is_told_from_one_with_something_to_do() -> None:
    result = playbook("-i", "inventories/fleet", "plan.yml")
    assert result.returncode == 1
    assert "is an address for examples" in result.stdout
    assert "PLAN: it could not be found out" in result.stdout


@pytest.fixture
def one_is_lost(tmp_path: Path) -> Path:
    """An inventory of this machine under several names, of which app2 does not answer."""
    here = "{ansible_connection: local, ansible_host: 127.0.0.1}"
    (tmp_path / "hosts.yml").write_text(
        f"all: {{children: {{lb: {{hosts: {{front: {here}}}}}, db: {{hosts: {{store: {here}}}}},"
        f" app: {{hosts: {{app1: {here}, app2: {{ansible_host: 127.0.0.1, ansible_port: 1}}}}}}}}}}\n"
    )
    return tmp_path / "hosts.yml"


def test_a_host_that_does_not_answer_is_named_before_the_first_change(one_is_lost: Path) -> None:
    result = playbook("-i", str(one_is_lost), "release.yml")
    assert result.returncode == 2
    assert "app2 does not answer, so nothing has been changed anywhere" in result.stdout
    assert "Look at every host" not in result.stdout


def test_what_moved_is_taken_back_though_a_host_is_lost(one_is_lost: Path, tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(f"""
- hosts: app
  gather_facts: false
  any_errors_fatal: true
  vars: {{stack: "{{{{ {{'paths': {{'root': '{tmp_path}'}}}} | stack_load }}}}"}}
  tasks:
    - block:
        - ansible.builtin.raw: "true"
      rescue:
        - ansible.builtin.import_role: {{name: {ANSIBLE}/roles/take_back}}
          vars: {{take_back_patience: 1, take_back_hosts: [app1, app2]}}
""")
    result = playbook("-i", str(one_is_lost), str(tmp_path / "play.yml"))
    said = " ".join(result.stdout.split())
    assert result.returncode != 0
    assert "app2: does not answer" in said
    assert "when app2 answers again:" in said


def test_without_hosts_it_says_which_group_is_empty() -> None:
    result = playbook("-i", "localhost,", "deploy.yml")
    assert result.returncode != 0
    assert "the group app has no host" in result.stdout


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        ("{api: {portz: [8001]}}", "api.portz"),
        ("{nginx: {http_port: eighty}}", "nginx.http_port"),
        ("{nginx: {http_port: 70000}}", "nginx.http_port"),
        ("{nginx: {http_port: 8001}}", "api.ports"),
        ("{timeouts: {graceful: 99}}", "timeouts.graceful"),
        ("{database: {max_connections: 100}}", "database.max_connections"),
    ],
)
def test_a_value_that_does_not_fit_is_named_before_any_host_is_asked(overrides: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {web: {ansible_host: 198.18.255.254}}, children: {app: {hosts: {web: }}, db: {hosts: {web: }}},"
        f" vars: {{stack_overrides: {overrides}}}}}\n"
    )
    result = playbook("-i", str(tmp_path), "deploy.yml")
    assert result.returncode != 0
    assert word in result.stdout
    assert "Look at every host" not in result.stdout
