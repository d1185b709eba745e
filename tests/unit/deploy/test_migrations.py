"""The migrations of a tree, and which of them a release runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.migrating import choose
from deploy.migrations import Migration, MigrationError, read
from deploy.render import TREE
from deploy.steps import ReleaseError

FOLDER = "src/shop/migrations/versions"


def tree(folder: Path, files: dict[str, str]) -> list[str]:
    """Write files, and some that are no migrations; return all names."""
    names = {f"{FOLDER}/{name}": text for name, text in files.items()}
    names |= {f"{FOLDER}/__init__.py": "", "src/shop/app.py": "kind = 1\n", "src/shop/migrations/env.py": "x = 1\n"}
    for name, text in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return list(names)


def lines(revision: str, before: str | None, kind: str = "'expand'") -> str:
    return f'"""Words."""\nrevision: str = {revision!r}\ndown_revision = {before!r}\nkind = {kind}\n'


def test_they_are_listed_in_the_order_in_which_they_run(tmp_path: Path) -> None:
    files = {"a.py": lines("z", "m", "'contract'"), "b.py": lines("m", "a"), "c.py": lines("a", None)}
    assert read(tmp_path, tree(tmp_path, files)) == (
        Migration("a", "expand", f"{FOLDER}/c.py"),
        Migration("m", "expand", f"{FOLDER}/b.py"),
        Migration("z", "contract", f"{FOLDER}/a.py"),
    )


def test_a_tree_without_migrations_has_none(tmp_path: Path) -> None:
    assert read(tmp_path, tree(tmp_path, {})) == ()


def test_those_of_this_checkout_are_in_order() -> None:
    names = [path.relative_to(TREE).as_posix() for path in (TREE / "src").rglob("*.py")]
    assert [migration.revision for migration in read(TREE, names)][:2] == ["0001", "0002"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.py": "revision = 'a'\ndown_revision = None\n"}, r"versions/a\.py has no kind: write kind = \"expand\""),
        ({"a.py": lines("a", None, "'both'")}, r"versions/a\.py has no kind"),
        ({"a.py": lines("a", None, "choose()")}, r"versions/a\.py has no kind"),
        ({"a.py": lines("a", None), "b.py": lines("b", "x")}, r"follow no migration of this tree: .*b\.py"),
        ({"a.py": lines("a", "a")}, r"follow no migration of this tree: .*a\.py"),
        ({"a.py": lines("a", None), "b.py": lines("b", "a"), "c.py": lines("c", "a")}, r"follows the same migration"),
        ({"a.py": lines("a", None).replace("None", "('x', 'y')")}, r"a\.py: a migration has one revision"),
        ({"a.py": "kind = 'expand'\n"}, r"a\.py: a migration has one revision"),
        ({"a.py": "kind = \n"}, r"a\.py cannot be read"),
    ],
)
def test_what_makes_no_line_is_refused_by_name(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(MigrationError, match=said):
        read(tmp_path, tree(tmp_path, files))


E1, E2, C3, E4, C5 = (
    Migration(revision, kind, f"{revision}.py")
    for revision, kind in (("1", "expand"), ("2", "expand"), ("3", "contract"), ("4", "expand"), ("5", "contract"))
)


@pytest.mark.parametrize(
    ("line", "pending", "contract", "before", "runs", "waits"),
    [
        pytest.param([E1, E2], "", False, "12", [], [], id="nothing is pending"),
        pytest.param([E1, E2], "2", False, "1", [E2], [], id="an expand one"),
        pytest.param([E1, E2, C3], "23", False, "1", [E2], [C3], id="short of a contract one"),
        pytest.param([E1, E2, C3], "3", False, "123", [], [C3], id="a contract one that was not asked for"),
        pytest.param([E1, E2, C3], "3", True, "123", [C3], [], id="a contract one"),
        pytest.param([E1, E2, C3, E4], "34", True, "123", [C3, E4], [], id="a contract one and what follows"),
        pytest.param([E1, E2], "", True, "12", [], [], id="asked for where there is none"),
    ],
)
def test_a_release_runs_expand_migrations_and_contract_ones_when_asked_to(
    line: list[Migration], pending: str, contract: bool, before: str, runs: list[Migration], waits: list[Migration]
) -> None:
    found = choose(line, set(pending), empty=False, contract=contract, before=set(before))
    assert (list(found.runs), list(found.waits)) == (runs, waits)


def test_an_empty_database_gets_all_of_them() -> None:
    assert choose([E1, C3], {"1", "3"}, empty=True, contract=False, before=set()).runs == (E1, C3)


@pytest.mark.parametrize("before", ["", "12"])
def test_a_contract_migration_is_not_run_before_the_release_before_holds_it(before: str) -> None:
    with pytest.raises(ReleaseError, match="contract migration 3 runs one release later"):
        choose([E1, E2, C3], {"3"}, empty=False, contract=True, before=set(before))


def test_one_of_two_contract_migrations_may_be_too_early() -> None:
    with pytest.raises(ReleaseError, match="contract migration 5 runs one release later"):
        choose([C3, C5], {"3", "5"}, empty=False, contract=True, before={"3"})


def test_an_expand_migration_that_lies_behind_a_waiting_one_is_not_skipped() -> None:
    with pytest.raises(ReleaseError, match="4 comes after the contract migration 3"):
        choose([E1, C3, E4], {"3", "4"}, empty=False, contract=False, before={"1", "3"})
