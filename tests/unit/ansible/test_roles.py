"""What every role keeps to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .support import ANSIBLE, PLAYBOOKS, ROLES, read

DATA = Path(__file__).parent / "data"
PLATFORM = ANSIBLE / "roles" / "platform"
FACTS = sorted(path for path in (PLATFORM / "vars").glob("*_*.yml") if not path.is_symlink())
BUNDLED = ("ansible.builtin.", "ansible.posix.", "community.general.", "community.mysql.", "stack_")
# Words in a task that are about the task and not the name of what it does.
KEYWORDS = {
    "name", "when", "vars", "register", "loop", "loop_control", "notify", "listen", "no_log", "diff", "run_once",
    "delegate_to", "become", "environment", "changed_when", "failed_when", "check_mode", "block", "always", "rescue",
    "tags", "args", "until", "retries", "delay", "ignore_unreachable", "ignore_errors", "any_errors_fatal",
}  # fmt: skip


def tasks_of(items: Any) -> Iterator[dict[str, Any]]:
    """Every task of a list, those inside blocks included."""
    for task in items or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_of(task.get(part))


TASKS = [
    pytest.param(file, task, id=f"{file.parts[-3]}/{file.name}: {task['name']}")
    for role in ROLES
    for file in sorted([*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")])
    for task in tasks_of(read(file))
]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_its_argument_specification_says_what_its_defaults_say(role: Path) -> None:
    defaults = read(role / "defaults" / "main.yml") or {}
    options = read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == defaults
    assert all(option["description"].endswith(".") for option in options.values())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_its_variables_carry_its_name(role: Path) -> None:
    for name in read(role / "defaults" / "main.yml") or {}:
        assert name.startswith(f"{role.name}_")
    internals = role / "vars" / "main.yml"
    for name in (read(internals) or {}) if internals.exists() else {}:
        assert name.startswith(f"__{role.name}_")


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_it_knows_no_other_role_but_packages_platform_and_drain(role: Path) -> None:
    others = {other.name for other in ROLES} - {role.name, "packages", "platform", "drain"}
    text = "".join(file.read_text("utf-8") for file in role.rglob("*") if file.is_file())
    for other in others:
        for name in read(ANSIBLE / "roles" / other / "defaults" / "main.yml") or {}:
            assert not re.search(rf"\b{name}\b", text), f"{name} belongs to {other}"


@pytest.mark.parametrize(("file", "task"), TASKS)
def test_a_task_uses_bundled_collections_by_their_full_name(file: Path, task: dict[str, Any]) -> None:
    actions = [key for key in task if key not in KEYWORDS]
    if "block" in task:
        assert actions == []
    else:
        assert len(actions) == 1, actions
        assert actions[0].startswith(BUNDLED)


@pytest.mark.parametrize(("file", "task"), TASKS)
def test_a_task_asks_no_distribution_what_it_is(file: Path, task: dict[str, Any]) -> None:
    text = yaml.safe_dump(task)
    if file.is_relative_to(PLATFORM):
        return
    assert not re.search(r"os_family|distribution_|ansible_distribution|ansible_facts\['distribution|pkg_mgr", text)
    assert not re.search(r"platform_(id|package_manager)\s*(==|!=|in )", text)


@pytest.mark.parametrize(("file", "task"), TASKS)
def test_a_task_that_handles_a_secret_says_nothing_of_it(file: Path, task: dict[str, Any]) -> None:
    text = yaml.safe_dump({key: value for key, value in task.items() if key != "name"})
    secret = re.search(
        r"secrets_values|__secrets_files|stack_secrets|database_account_password|certificate_key_file"
        r"|rotate_plan\.(next|files|account)\b \|",
        text,
    )
    if secret:
        assert task.get("no_log") is True, secret.group()
    if secret and "stack_files" in task:
        assert task.get("diff") is False


def test_the_files_of_distributions_answer_the_same_questions() -> None:
    assert [file.stem for file in FACTS] == ["Debian_12", "RedHat_10", "RedHat_9"]
    questions = {file.stem: set(read(file)) for file in FACTS}
    assert questions["RedHat_9"] == questions["RedHat_10"] == questions["Debian_12"]


@pytest.mark.parametrize("clone", ["CentOS", "Rocky", "AlmaLinux", "OracleLinux"])
@pytest.mark.parametrize("major", [9, 10])
def test_a_clone_is_a_link(clone: str, major: int) -> None:
    link = PLATFORM / "vars" / f"{clone}_{major}.yml"
    assert link.is_symlink()
    assert link.resolve().name == f"RedHat_{major}.yml"


def package_names(facts: dict[str, Any]) -> Iterator[str]:
    """Every package that a vars file names."""
    for key, value in facts.items():
        if key.endswith("_packages"):
            for names in value.values() if isinstance(value, dict) else [value]:
                yield from names
    assert facts["platform_packages"]


@pytest.mark.parametrize("major", [9, 10])
def test_every_package_it_names_exists_there(major: int) -> None:
    lines = (DATA / f"el{major}-packages.txt").read_text("utf-8").splitlines()
    known = {line.split()[0] for line in lines if line and not line.startswith("#")}
    named = {*package_names(read(PLATFORM / "vars" / f"RedHat_{major}.yml"))}
    assert len(named) >= 12
    assert named - known == set()


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda playbook: playbook.stem)
def test_a_playbook_is_a_table_of_contents(playbook: Path) -> None:
    for play in read(playbook):
        assert "ansible.builtin.import_playbook" in play or "roles" in play or len(play["tasks"]) <= 5
