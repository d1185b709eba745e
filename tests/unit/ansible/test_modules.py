"""Our own modules, run as Ansible runs them."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Call

ME = {"owner": "root", "group": "root"}
root_only = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="hands files to root")


@root_only
class TestFiles:
    def test_it_makes_what_is_missing_and_then_nothing_more(self, call: Call, tmp_path: Path) -> None:
        wanted: dict[str, Any] = {
            "directories": [{"path": f"{tmp_path}/a/b", "mode": "0750"}],
            "files": [{"path": f"{tmp_path}/a/b/c.conf", "content": "one\n", "mode": "0600"}],
            "links": [{"path": f"{tmp_path}/link", "target": "a/b/c.conf"}],
        }
        assert call("stack_files", **wanted)["changed"] is True
        assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o750
        assert stat.S_IMODE((tmp_path / "a/b/c.conf").stat().st_mode) == 0o600
        assert (tmp_path / "link").read_text() == "one\n"
        assert call("stack_files", **wanted)["changed"] is False

    def test_it_mends_what_was_changed_by_hand(self, call: Call, tmp_path: Path) -> None:
        wanted = {"files": [{"path": f"{tmp_path}/c", "content": "one\n"}]}
        call("stack_files", **wanted)
        (tmp_path / "c").write_text("two\n")
        assert call("stack_files", **wanted)["changed_paths"] == [f"{tmp_path}/c"]
        assert (tmp_path / "c").read_text() == "one\n"
        (tmp_path / "c").chmod(0o666)
        assert call("stack_files", **wanted)["changed"] is True
        assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o644

    def test_in_check_mode_it_says_what_it_would_do_and_does_nothing(self, call: Call, tmp_path: Path) -> None:
        answer = call(
            "stack_files",
            check=True,
            directories=[{"path": f"{tmp_path}/d"}],
            files=[{"path": f"{tmp_path}/d/c", "content": "one\n", "owner": "an-account-to-come"}],
        )
        assert answer["changed"] is True
        assert [part["after"] for part in answer["diff"]] == ["folder\n", "one\n"]
        assert list(tmp_path.iterdir()) == []

    def test_a_set_that_is_refused_is_put_back_whole(self, call: Call, tmp_path: Path) -> None:
        old = tmp_path / "old.conf"
        old.write_text("good\n")
        old.chmod(0o640)
        answer = call(
            "stack_files",
            files=[{"path": str(old), "content": "bad\n"}, {"path": f"{tmp_path}/new.conf", "content": "bad\n"}],
            validate=["sh", "-c", f"echo no good >&2; ! grep bad {tmp_path}/*.conf"],
        )
        assert answer["failed"] is True
        assert "no good" in answer["msg"]
        assert old.read_text() == "good\n"
        assert stat.S_IMODE(old.stat().st_mode) == 0o640
        assert [path.name for path in tmp_path.iterdir()] == ["old.conf"]

    def test_a_set_that_is_accepted_stays(self, call: Call, tmp_path: Path) -> None:
        answer = call("stack_files", files=[{"path": f"{tmp_path}/c", "content": "x\n"}], validate=["true"])
        assert answer["changed"] is True
        assert (tmp_path / "c").read_text() == "x\n"

    def test_a_command_that_is_not_installed_yet_judges_nothing(self, call: Call, tmp_path: Path) -> None:
        call("stack_files", files=[{"path": f"{tmp_path}/c", "content": "x\n"}], validate=["no-such-command"])
        assert (tmp_path / "c").read_text() == "x\n"

    def test_it_removes_what_must_not_be_there(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "gone").write_text("x")
        assert call("stack_files", absent=[f"{tmp_path}/gone", f"{tmp_path}/never"])["changed"] is True
        assert list(tmp_path.iterdir()) == []

    def test_an_account_that_is_not_there_is_named(self, call: Call, tmp_path: Path) -> None:
        answer = call("stack_files", files=[{"path": f"{tmp_path}/c", "content": "", "owner": "nobody-at-all"}])
        assert "no account or group nobody-at-all" in answer["msg"]


class TestSurvey:
    def test_it_finds_who_listens_where(self, call: Call) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            survey = call("stack_survey", unit="none.service", disk="/no/such/folder")["survey"]
        ours = [row for row in survey["listeners"] if row["port"] == port]
        assert [row["address"] for row in ours] == ["127.0.0.1"]
        assert ours[0]["process"] in Path("/proc/self/comm").read_text()

    def test_it_measures_the_host(self, call: Call, tmp_path: Path) -> None:
        folder = str(tmp_path / "to" / "come")
        survey = call("stack_survey", unit="none.service", disk=folder, interpreter=sys.executable)["survey"]
        space = os.statvfs(tmp_path)
        assert abs(survey["disk_mb"] - (space.f_bavail * space.f_frsize >> 20)) < 1024
        assert survey["memory_mb"] > 16
        assert survey["python"] == ".".join(map(str, sys.version_info[:3]))
        assert survey["interpreter_tag"] == f"cp{sys.version_info[0]}{sys.version_info[1]}"
        assert survey["selinux"] in ("disabled", "permissive", "enforcing")

    def test_it_says_which_paths_and_patterns_match(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "a_Packages").touch()
        patterns = [f"{tmp_path}/*_Packages", f"{tmp_path}/none"]
        survey = call("stack_survey", unit="u.service", disk="/", exists=patterns)["survey"]
        assert survey["existing"] == patterns[:1]

    def test_it_says_which_packages_and_accounts_are_there(self, call: Call) -> None:
        survey = call(
            "stack_survey",
            unit="u.service",
            disk="/",
            packages=["coreutils", "no-such-package"],
            accounts=["root", "no-such-account"],
            units=["no-such-unit.service"],
        )["survey"]
        assert survey["installed"] == ["coreutils"]
        assert survey["groups"] == ["root"]
        assert set(survey["users"]) == {"root"}
        assert survey["users"]["root"]["group"] == "root"
        assert survey["steady"] == []

    def test_it_says_which_release_is_current_and_which_each_process_is_pointed_at(
        self, call: Call, tmp_path: Path
    ) -> None:
        for name in ("one", "two"):
            (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "instances").mkdir()
        (tmp_path / "current").symlink_to("releases/one")
        (tmp_path / "instances" / "sync").symlink_to("../releases/two")
        (tmp_path / "instances" / "gone").symlink_to("../releases/three")
        survey = call("stack_survey", unit="u.service", disk=str(tmp_path))["survey"]
        assert survey["releases"] == {"current": "one", "previous": "", "processes": {"gone": "", "sync": "two"}}

    def test_it_says_which_python_there_is_and_what_an_environment_holds(self, call: Call) -> None:
        survey = call("stack_survey", unit="u.service", disk="/", interpreter=sys.executable, venv=sys.prefix)["survey"]
        assert survey["interpreter_version"] == survey["venv"]["version"] == sys.version
        assert survey["venv"]["held"]["pytest"] == pytest.__version__
        bare = call("stack_survey", unit="u.service", disk="/", interpreter="/no/such", venv="/no/such")["survey"]
        assert (bare["interpreter_tag"], bare["interpreter_version"], bare["venv"]) == ("", "", {})

    def test_it_says_what_has_been_brought_to_the_host(self, call: Call, tmp_path: Path) -> None:
        for name in ("incoming/two", "releases/one", "releases/.half.new", "wheels"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "wheels" / "a-1-cp311.whl").touch()
        survey = call("stack_survey", unit="u.service", disk=str(tmp_path))["survey"]
        assert survey["held"] == {"incoming": ["two"], "releases": ["one"], "wheels": ["a-1-cp311.whl"]}
        nothing = call("stack_survey", unit="u.service", disk=str(tmp_path / "none"))["survey"]
        assert nothing["held"] == {"incoming": [], "releases": [], "wheels": []}

    def test_it_says_which_addresses_take_no_connection(self, call: Call) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_server(("127.0.0.1", 0)) as other:
                closed = other.getsockname()[1]
            targets = [{"host": "127.0.0.1", "port": port}, {"host": "127.0.0.1", "port": closed}]
            survey = call("stack_survey", unit="u.service", disk="/", connect=targets)["survey"]
        assert [row["port"] for row in survey["unreachable"]] == [closed]


class TestBalancer:
    def wanted(self, folder: Path, **more: Any) -> dict[str, Any]:
        files = [{"path": f"{folder}/members.conf", "content": "server a down;\n"}]
        return {"files": files, "flag": f"{folder}/letting-go", **more}

    def test_in_check_mode_it_says_what_it_would_write(self, call: Call, tmp_path: Path) -> None:
        answer = call("stack_balancer", check=True, **self.wanted(tmp_path))
        assert answer["changed"] is True
        assert answer["diff"][0]["after"] == "server a down;\n"
        assert list(tmp_path.iterdir()) == []

    def test_it_does_nothing_when_all_is_as_it_should_be(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "members.conf").write_text("server a down;\n")
        assert call("stack_balancer", **self.wanted(tmp_path))["changed"] is False

    def test_what_a_run_that_died_left_behind_is_finished(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "members.conf").write_text("server a down;\n")
        (tmp_path / "letting-go").touch()
        assert call("stack_balancer", check=True, **self.wanted(tmp_path))["changed"] is True

    def test_a_host_that_nobody_stands_in_for_is_not_kept_out(self, call: Call, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            closed = other.getsockname()[1]
        kept = [{"path": f"{tmp_path}/members.conf", "content": "server a;\n"}]
        more = {"instead": kept, "others": ["127.0.0.1"], "port": closed}
        answer = call("stack_balancer", check=True, **self.wanted(tmp_path, **more))
        assert answer["alone"] is True
        assert answer["diff"][0]["after"] == "server a;\n"


class TestCompare:
    def test_it_says_which_files_and_migrations_a_release_would_bring(self, call: Call, tmp_path: Path) -> None:
        sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("kept", "edited", "gone")}
        release = tmp_path / "releases" / "one"
        release.mkdir(parents=True)
        for name in sums:
            (release / name).write_text(name)
        (release / "edited").write_text("by hand")
        (release / "RELEASE").write_text(json.dumps({"files": sums}))
        (tmp_path / "current").symlink_to("releases/one")
        wanted = {"kept": sums["kept"], "edited": "another", "m/0002_more.py": "x"}
        migrations = [{"revision": "2", "kind": "expand", "file": "m/0002_more.py"}]
        answer = call(
            "stack_compare",
            check=True,
            current=f"{tmp_path}/current",
            release="two",
            files=wanted,
            migrations=migrations,
        )
        assert answer["changed"] is True
        assert answer["differs"] == ["mended edited", "new m/0002_more.py", "gone gone", "changed edited"]
        assert answer["migrations"] == ["0002_more (expand)"]

    @pytest.mark.parametrize(
        ("had", "more", "lines"),
        [
            ([], {}, ["0001 (expand)", "0002 (contract)", "0003 (expand)"]),  # an empty database takes all
            (
                ["0001"],
                {},
                [
                    "0002 (contract) waits for a later release, with release_contract=true",
                    "0003 (expand) is refused: it comes after one that waits",
                ],
            ),
            (["0001", "0002"], {"contract": True}, ["0002 (contract) unless it has run", "0003 (expand)"]),
            (["0001", "0002"], {}, ["0003 (expand)"]),
            (["0001"], {"migrates": False}, []),
        ],
    )
    def test_it_says_what_becomes_of_each_migration(
        self, call: Call, tmp_path: Path, had: list[str], more: dict[str, bool], lines: list[str]
    ) -> None:
        kinds = {"0001": "expand", "0002": "contract", "0003": "expand"}
        migrations = [{"revision": name, "kind": kind, "file": f"m/{name}.py"} for name, kind in kinds.items()]
        if had:
            release = tmp_path / "releases" / "one"
            release.mkdir(parents=True)
            (release / "RELEASE").write_text(json.dumps({"files": {f"m/{name}.py": "x" for name in had}}))
            (tmp_path / "current").symlink_to("releases/one")
        given = {"release": "two", "files": {}, "migrations": migrations, **more}
        answer = call("stack_compare", check=True, current=f"{tmp_path}/current", **given)
        assert answer["migrations"] == lines

    def test_the_same_release_untouched_is_nothing_to_do(self, call: Call, tmp_path: Path) -> None:
        release = tmp_path / "releases" / "one"
        release.mkdir(parents=True)
        (release / "RELEASE").write_text(json.dumps({"files": {}}))
        (tmp_path / "current").symlink_to("releases/one")
        answer = call("stack_compare", check=True, current=f"{tmp_path}/current", release="one", files={})
        assert answer["changed"] is False


class TestSecrets:
    def test_it_reads_what_is_there(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "one").write_text("value\n")
        answer = call("stack_secrets", no_log=True, path=str(tmp_path), names=["one", "two"])
        assert answer["found"] == {"one": "value"}
        assert answer["changed_at"] == {"one": (tmp_path / "one").stat().st_mtime}
        kinds = {path: state["kind"] for path, state in answer["files"].items()}
        assert kinds == {str(tmp_path): "folder", f"{tmp_path}/one": "file", f"{tmp_path}/two": "absent"}

    def test_it_refuses_a_task_that_would_show_them(self, call: Call, tmp_path: Path) -> None:
        (tmp_path / "one").write_text("value\n")
        answer = call("stack_secrets", path=str(tmp_path), names=["one"])
        assert "no_log" in answer["msg"]
        assert "value" not in str(answer)


class TestVenv:
    def test_it_says_what_is_not_as_the_lock_file_says(self, call: Call, tmp_path: Path) -> None:
        answer = call(
            "stack_venv",
            check=True,
            path=str(tmp_path / "venv"),
            python=sys.executable,
            requirements="Jinja2==3.1.6 \\\n    --hash=sha256:00\n",
        )
        assert answer["differs"] == ["there is no environment"]
        assert not (tmp_path / "venv").exists()

    def test_an_environment_that_holds_other_versions_differs(self, call: Call) -> None:
        answer = call(
            "stack_venv", check=True, path=sys.prefix, python=sys.executable, requirements="PyYAML==0.1\nno-such==1\n"
        )
        assert answer["changed"] is True
        assert any(phrase.startswith("no-such is missing, not 1") for phrase in answer["differs"])
        assert any(phrase.startswith("pyyaml is ") for phrase in answer["differs"])

    def test_an_environment_that_holds_them_is_left_alone(self, call: Call) -> None:
        import yaml

        pin = f"pyyaml=={yaml.__version__}\n"
        answer = call("stack_venv", path=sys.prefix, python=sys.executable, requirements=pin)
        assert (answer["changed"], answer["differs"]) == (False, [])
        assert answer["tag"] == f"cp{sys.version_info[0]}{sys.version_info[1]}"

    def test_a_lock_file_with_conditions_is_refused(self, call: Call, tmp_path: Path) -> None:
        line = "a==1 ; python_version < '3'\n"
        answer = call("stack_venv", check=True, path=str(tmp_path), python=sys.executable, requirements=line)
        assert "environment markers" in answer["msg"]
