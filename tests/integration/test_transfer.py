"""Sites as files: out and in again, and nothing of a file with a mistake."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from cloudeye.extensions import db
from cloudeye.models import AlertTarget, Site, SiteTag, utcnow
from cloudeye.services import transfer
from tests.integration.world import Person, World

MIMETYPES = {"json": "application/json", "csv": "text/csv"}
PLAIN = {"name": "Plain", "url": "https://example.com/"}
EVERYTHING = {
    "name": "Everything",
    "url": "https://example.org/login?next=%2F",
    "tags": ["prod", "team-a", "中文"],
    "interval": 300,
    "timeout": 2.5,
    "method": "POST",
    "headers": {"Authorization": "Bearer abc", "Accept": "text/html, */*"},
    "body": '{"user": "x", "lines": "a,b"}\r\n"quoted"\tand more\n',
    "expected_statuses": "200-299,404",
    "keyword_present": " with blanks ",
    "keyword_absent": "Fehler: \"ä\", 'ö'",
    "follow_redirects": False,
    "retries": 3,
    "maintenance": [
        {"weekdays": ["mon", "sun"], "at": "02:00", "minutes": 60, "time_zone": "Europe/Berlin"},
        {"start": "2026-12-24T21:00:00+00:00", "end": "2026-12-25T05:00:00+00:00"},
    ],
    "paused": True,
    "alert_targets": [],
    "ignore_rules": {"selectors": ["div.clock, #now"], "patterns": ['(?i)id="[a-z0-9,]+"']},
    "redirect_paths": ["/go?to={url}"],
}
# What a spreadsheet, a parser of CSV, or a careless one of either would change.
AWKWARD = [
    "=1+2",
    "+1",
    "-1",
    "@sum(A1)",
    "'=1+2",
    "''@x",
    "'quoted'",
    "'Tis",
    "'",
    "\uff1d1",
    'a "quoted", b; c',
    "null",
    "true",
    "007",
    "1e3",
    "# no comment",
    "日本語 🦉",
    "a\\b",
    "{}",
    "é",
]


def imports(person: Person, content: str | bytes, kind: str = "json", query: str = "", **headers: str) -> TestResponse:
    """Send a file."""
    return person.client.post(
        f"/api/v1/sites/import{query}",
        data=content,
        content_type=MIMETYPES[kind],
        headers={**person.headers, **headers},
    )


def exports(person: Person, kind: str = "json") -> str:
    """Get a file."""
    answer = person.gets(f"sites/export?format={kind}")
    assert (answer.status_code, answer.mimetype) == (200, MIMETYPES[kind]), answer.text
    assert answer.headers["Content-Disposition"] == f"attachment; filename=sites.{kind}"
    return answer.text


def written(rows: list[dict[str, Any]], kind: str) -> str:
    """Write rows by hand, as somebody with another program would."""
    if kind == "json":
        return json.dumps({"sites": rows})
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(names)
    for row in rows:
        cells = [row.get(name, "") for name in names]
        lines.writerow([json.dumps(cell) if isinstance(cell, dict | list) else cell for cell in cells])
    return text.getvalue()


def number_of_sites(world: World) -> int:
    with world.app.app_context():
        return db.session.scalar(select(func.count()).select_from(Site)) or 0


def forget_sites(world: World) -> None:
    with world.app.app_context():
        db.session.execute(SiteTag.__table__.delete())
        db.session.execute(Site.__table__.delete())
        db.session.commit()


@pytest.mark.parametrize("kind", MIMETYPES)
def test_what_is_exported_is_imported_again_unchanged(world: World, kind: str) -> None:
    owner = world.log_in("owner")
    owner.has_site(**PLAIN)
    owner.has_site(**EVERYTHING)
    for number, text in enumerate(AWKWARD):
        owner.has_site(name=text, url=f"https://example.com/{number}?a=b,c", keyword_present=text, keyword_absent=text)
    for number, text in enumerate(AWKWARD):
        body = f"{text}\n{text}\r\n"
        owner.has_site(name=f"body {number}", url="https://example.com/x", method="PUT", body=body, tags=["=a", "-b"])
    file, other = exports(owner, kind), exports(owner, "csv" if kind == "json" else "json")
    forget_sites(world)
    answer = imports(owner, file, kind)
    assert answer.status_code == 200, answer.text
    assert answer.json["data"] == {"added": 2 + 2 * len(AWKWARD), "left_out": 0, "dry_run": False}
    assert exports(owner, kind) == file
    assert exports(owner, "csv" if kind == "json" else "json") == other


def test_an_export_holds_all_settings_of_ones_own_sites_alone(world: World) -> None:
    owner, admin = world.log_in("owner"), world.log_in("admin")
    owner.has_site(**EVERYTHING)
    admin.has_site(name="Admin's")
    (row,) = json.loads(exports(owner))["sites"]
    assert row == EVERYTHING
    assert [row["name"] for row in json.loads(exports(admin))["sites"]] == ["Admin's"]
    assert exports(world.log_in("outsider")) == '{"sites": [\n]}\n'
    assert exports(world.log_in("outsider"), "csv").count("\n") == 1


def test_more_sites_than_are_read_at_once_are_exported_in_their_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BATCH", 3)
    owner = world.log_in("owner")
    names = [f"Site {number}" for number in range(7)]
    for name in names:
        owner.has_site(name=name)
    assert [row["name"] for row in json.loads(exports(owner))["sites"]] == names


def test_no_cell_of_an_export_begins_as_a_formula_does(world: World) -> None:
    owner = world.log_in("owner")
    for text in AWKWARD:
        owner.has_site(name=text, method="POST", body=f"\t{text}", keyword_present=text)
    rows = list(csv.reader(io.StringIO(exports(owner, "csv"), newline="")))
    assert len(rows) == 1 + len(AWKWARD)
    cells = [cell for row in rows for cell in row]
    assert [cell for cell in cells if cell[:1] in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20" and cell] == []


def test_a_file_that_is_read_or_left_alone_keeps_no_connection(world: World) -> None:
    owner = world.log_in("owner")
    owner.has_site()
    exports(owner)
    owner.client.get("/api/v1/sites/export", headers=owner.headers).close()
    with world.app.app_context():
        pool: Any = db.engine.pool
        assert pool.checkedout() == 0


@pytest.mark.parametrize("kind", MIMETYPES)
def test_an_imported_site_is_due_at_once_and_has_the_defaults_of_what_is_not_said(world: World, kind: str) -> None:
    owner, before = world.log_in("owner"), utcnow()
    assert imports(owner, written([PLAIN, {**PLAIN, "name": "b"}], kind), kind).json["data"]["added"] == 2
    for site in owner.gets("sites").json["data"]["sites"]:
        assert (site["interval"], site["method"], site["tags"], site["paused"]) == (60, "GET", [], False)
        assert (site["state"], site["expected_statuses"], site["owner_id"]) == ("unknown", "200-399", owner.id)
        with world.changing_site(site["id"]) as row:
            assert row.next_check_at is not None
            assert before <= row.next_check_at <= utcnow()


BAD = [
    ({"url": "ftp://example.com/"}, "url: the URL must begin with http:// or https://"),
    ({"url": "http://169.254.169.254/"}, "url: "),
    ({"name": ""}, "name: "),
    ({"interval": 5}, "interval: Must be between 20 and 86400 seconds."),
    ({"timeout": 6}, "timeout: Must be at most 5 seconds."),
    ({"method": "BREW"}, "method: Must be one of: GET,"),
    ({"body": "x"}, "body: Only POST, PUT and PATCH carry a body."),
    ({"expected_statuses": "all"}, "expected_statuses: "),
    ({"retries": 11}, "retries: "),
    ({"alert_targets": [1]}, "alert_targets: "),
    ({"headers": {"Host": "x"}}, "headers: "),
    ({"headers": "{"}, "headers: "),
    ({"maintenance": [{"start": 1}]}, "maintenance: window 1: "),
    ({"tags": "x" * 841}, "tags: "),
    ({"paused": "perhaps"}, "paused: Not a valid boolean."),
]


@pytest.mark.parametrize("kind", MIMETYPES)
def test_every_bad_row_is_named_and_nothing_of_the_file_is_kept(world: World, kind: str) -> None:
    owner = world.log_in("owner")
    rows = [PLAIN | {"name": "good"}]
    for number, (change, _) in enumerate(BAD):
        rows += [{**PLAIN, "name": f"bad {number}", **change}, {**PLAIN, "name": f"good {number}"}]
    answer = imports(owner, written(rows, kind), kind)
    assert (answer.status_code, answer.json["message"]) == (400, "Invalid payload.")
    said = answer.json["data"]["rows"]
    assert len(said) == len(BAD), said
    for number, (line, (_, expected)) in enumerate(zip(said, BAD, strict=True)):
        place = f"line {2 * number + 3}" if kind == "csv" else f"item {2 * number + 2}"
        assert line.startswith(f"{place}: {expected}"), line
    assert number_of_sites(world) == 0


def test_a_line_is_that_of_the_file_also_below_cells_of_several_lines(world: World) -> None:
    file = 'name,url,method,body\r\na,https://example.com/,POST,"1\n2\r\n3"\r\n\r\nb,nonsense,,\r\n'
    answer = imports(world.log_in("owner"), file, "csv")
    assert answer.json["data"]["rows"] == ["line 6: url: the URL must begin with http:// or https://"]


@pytest.mark.parametrize(
    ("kind", "file", "said"),
    [
        ("csv", "", "line 1: the column name is missing"),
        ("csv", "name\nx\n", "line 1: the column url is missing"),
        ("csv", "name,url,colour\nx,https://example.com/,red\n", "line 1: there is no column 'colour'"),
        ("csv", "name,url,name\nx,https://example.com/,x\n", "line 1: the column name is there twice"),
        ("csv", "name,url\nx\n", "line 2: there are 1 cells, and 2 columns"),
        ("csv", 'name,url\n"x"y,https://example.com/\n', "line 2: it is no CSV"),
        ("csv", 'name,url\nx,"https://example.com/\n', "line 2: it is no CSV"),
        ("csv", b"name,url\nx,https://example.com/\xff\n", "line 2: the file is not written in UTF-8"),
        ("csv", "name,url\n" + "x" * 140_000, "line 2: it is longer than 131072 characters"),
        ("json", "", "item 1: the file must be of the form"),
        ("json", "[]", "item 1: the file must be of the form"),
        ("json", '{"sites": 1}', "item 1: the file must be of the form"),
        ("json", '{"sites": [{"name": "x"', "item 1: the file ends within it"),
        ("json", '{"sites": [1]}', "item 1: it must be an object"),
        ("json", '{"sites": [{}]}x', "item 1: name: Missing data for required field."),
        ("json", '{"sites": [{"name": NaN, "url": }]}', "item 1: it is no JSON"),
        ("json", '{"sites": [{"name": "\\ud800", "url": "https://example.com/"}]}', "item 1: name: "),
        ("json", '{"sites": [{"x":' + "[" * 60_000 + "]" * 60_000 + "}]}", "item 1: it is no JSON"),
        ("json", '{"sites": [{"x":"' + "y" * 140_000 + '"}]}', "item 1: it is longer than 131072 characters"),
        (
            "json",
            '{"sites": [' + json.dumps({f"f{number}": 1 for number in range(101)}) + "]}",
            "item 1: Too many fields.",
        ),
        ("json", '{"sites": [{"colour": 1, "name": "x", "url": "https://example.com/"}]}', "item 1: colour: Unknown"),
        ("json", '{"sites": [{"name": "x", "url": "https://example.com/"} 7]}', "item 1: what follows it"),
    ],
)
def test_a_file_that_is_none_says_where(world: World, kind: str, file: str | bytes, said: str) -> None:
    answer = imports(world.log_in("owner"), file, kind)
    assert answer.status_code == 400, answer.text
    assert answer.json["data"]["rows"][0].startswith(said), answer.json
    assert number_of_sites(world) == 0


def test_an_empty_list_and_a_mark_of_the_byte_order_are_fine(world: World) -> None:
    owner = world.log_in("owner")
    assert imports(owner, '\ufeff {"sites" : [ ] } \n').json["data"]["added"] == 0
    assert imports(owner, "\ufeffname,url\n", "csv").json["data"]["added"] == 0


def test_a_file_may_be_read_again_after_something_was_added_to_it(world: World) -> None:
    owner = world.log_in("owner")
    imports(owner, written([PLAIN], "json"))
    again = imports(owner, written([PLAIN, {**PLAIN, "name": "another"}], "json"))
    assert again.json["data"] == {"added": 1, "left_out": 1, "dry_run": False}
    assert number_of_sites(world) == 2
    mate = imports(world.log_in("mate"), written([PLAIN], "json"))
    assert mate.json["data"]["added"] == 1  # what others watch is nobody's concern


def test_the_same_site_twice_in_a_file_is_refused(world: World) -> None:
    answer = imports(world.log_in("owner"), written([PLAIN, {**PLAIN, "name": "b"}, PLAIN], "csv"), "csv")
    assert answer.json["data"]["rows"] == ["line 4: name: the name and the URL are those of line 2"]


def test_a_dry_run_says_what_would_be_and_adds_nothing(world: World) -> None:
    owner = world.log_in("owner")
    answer = imports(owner, written([PLAIN], "json"), query="?dry_run=true")
    assert answer.json["data"] == {"added": 1, "left_out": 0, "dry_run": True}
    assert imports(owner, written([{}], "json"), query="?dry_run=true").status_code == 400
    assert number_of_sites(world) == 0


def test_a_file_with_more_mistakes_than_anybody_reads_names_the_first_fifty(world: World) -> None:
    rows = [{"name": f"{number}", "url": "nonsense"} for number in range(150)]
    said = imports(world.log_in("owner"), written(rows, "json")).json["data"]["rows"]
    assert len(said) == 51
    assert said[-1] == "and 100 more"


def test_a_file_with_too_many_rows_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MOST_ROWS", 3)
    rows = [{**PLAIN, "name": f"{number}"} for number in range(4)]
    owner = world.log_in("owner")
    answer = imports(owner, written(rows, "json"))
    assert answer.json["data"]["rows"] == ["item 4: there are more than 3 sites in the file"]
    assert imports(owner, written(rows[:3], "json")).json["data"]["added"] == 3


@pytest.mark.parametrize(("size", "status"), [(1_000_000, 400), (1_100_000, 413)])
def test_a_file_has_a_largest_size(world: World, size: int, status: int) -> None:
    assert imports(world.log_in("owner"), " " * size).status_code == status


@pytest.mark.parametrize("mimetype", ["text/plain", "application/octet-stream", "multipart/form-data", None])
def test_a_file_of_another_kind_is_refused(world: World, mimetype: str | None) -> None:
    owner = world.log_in("owner")
    answer = owner.client.post("/api/v1/sites/import", data=b"x", content_type=mimetype, headers=owner.headers)
    assert (answer.status_code, answer.json["status"]) == (415, "fail")


def test_an_import_takes_effect_once(world: World) -> None:
    owner, file = world.log_in("owner"), written([PLAIN], "json")
    first = imports(owner, file, **{"Idempotency-Key": "monday"})
    again = imports(owner, file, **{"Idempotency-Key": "monday"})
    assert (first.json, again.headers["Idempotency-Replayed"]) == (again.json, "true")
    other = imports(owner, written([EVERYTHING], "json"), **{"Idempotency-Key": "monday"})
    assert other.status_code == 422
    assert number_of_sites(world) == 1


def test_a_file_names_targets_of_its_owner_alone(world: World) -> None:
    owner, mate = world.log_in("owner"), world.log_in("mate")
    with world.app.app_context():
        target = AlertTarget(owner_id=owner.id, name="me", kind="mail", address="owner@example.com")
        db.session.add(target)
        db.session.commit()
        number = target.id
    file = written([{**PLAIN, "alert_targets": [number]}], "json")
    refused = imports(mate, file).json["data"]["rows"]
    assert refused == ["item 1: alert_targets: Must be numbers of your own alert targets."]
    assert imports(owner, file).json["data"]["added"] == 1
    assert json.loads(exports(owner))["sites"][0]["alert_targets"] == [number]


def test_mistakes_are_named_in_the_callers_language(world: World) -> None:
    owner = world.log_in("owner")
    answer = imports(owner, written([{**PLAIN, "retries": "x"}], "json"), **{"Accept-Language": "zh-CN"})
    (said,) = answer.json["data"]["rows"]
    assert "Not a valid integer." not in said
    assert "retries: " in said


def test_a_mask_stands_for_nothing_in_a_file(world: World) -> None:
    rows = [{**PLAIN, "headers": {"Authorization": "***"}}, {**PLAIN, "method": "POST", "body": "***"}]
    said = imports(world.log_in("owner"), written(rows, "json")).json["data"]["rows"]
    assert [line.partition(": Give")[0] for line in said] == ["item 1: headers", "item 2: body"]


def test_times_in_a_file_may_be_those_of_any_zone(world: World) -> None:
    window = {"start": "2026-12-24T22:00:00+01:00", "end": "2026-12-25T06:00:00+01:00"}
    owner = world.log_in("owner")
    imports(owner, written([{**PLAIN, "maintenance": [window]}], "json"))
    (kept,) = json.loads(exports(owner))["sites"][0]["maintenance"]
    assert datetime.fromisoformat(kept["start"]) == datetime(2026, 12, 24, 21, tzinfo=UTC)


@pytest.mark.parametrize(("method", "path", "allowed"), [("PATCH", "export", "GET"), ("DELETE", "import", "POST")])
def test_a_file_has_no_methods_of_a_site(world: World, method: str, path: str, allowed: str) -> None:
    answer = world.log_in("owner").asks(method, f"sites/{path}")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == {allowed}
