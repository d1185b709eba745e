"""Sites in files: what their owner has set, as JSON or CSV, and back.

A file comes from anybody and is looked into piece by piece, each piece of a bounded length, so that nothing in it holds
up the others of the process for long. CSV follows RFC 4180 and begins with the names of the columns. A cell that a
spreadsheet would take for a formula gets an apostrophe in front, which is taken off again when the file is read:
https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cloudeye.models import Site
from cloudeye.phrases import N_
from cloudeye.services.sites import SETTINGS, new_site, settings_of
from cloudeye.turns import Turns

MOST_ROWS = 5_000
LONGEST_ROW = 131_072  # characters: more than a site with everything at its longest takes
MOST_FIELDS = 100  # of an item that is looked into
MOST_TROUBLES = 50  # that are told of one file
BATCH = 10  # rows that are read or written at once

PLACES = (N_("line"), N_("item"))  # where something may be wrong
_REQUIRED = ("name", "url")
_JSON_CELLS = frozenset({"headers", "maintenance", "alert_targets", "ignore_rules", "redirect_paths"})
_WHOLE_CELLS = frozenset({"interval", "retries"})
_BOOLEAN_CELLS = frozenset({"follow_redirects", "paused"})
_FORMULA = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # and their full-width forms
_LOOKS_LIKE_A_FORMULA = re.compile(f"'*[{_FORMULA}]")
_GUARDED = re.compile(f"'+[{_FORMULA}]")
# Nothing that was taken for blanks is tried again as something else: a megabyte of them would take long.
_BEGINNING = re.compile(r'\s*+\{\s*+"sites"\s*+:\s*+\[\s*+')
_NEXT = re.compile(r"\s*+(,|\]\s*+\}\s*+\Z)\s*+")
_EMPTY = re.compile(r"\]\s*+\}\s*+\Z")
_PIECE = re.compile(r'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a file: where (a line or an item, counted from 1), with which setting, and what."""

    place: str  # of PLACES
    number: int
    field: str | None
    message: str


class BadFile(Exception):
    """A file of which nothing is kept."""

    def __init__(self, troubles: Iterable[Trouble], more: int = 0) -> None:
        self.troubles, self.more = list(troubles), more
        super().__init__(f"{len(self.troubles) + more} troubles")


class BadRow(Exception):
    """A row that no site can be made of; ``data`` holds the messages by setting."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(str(data))
        self.data = data


@dataclass(frozen=True, slots=True)
class Row:
    """Some settings of a site, as they stand in a file."""

    place: str
    number: int
    given: dict[str, Any]
    problem: str | None = None  # why nothing can be made of it


# -- out -------------------------------------------------------------------------------------------------------


def write_json(sites: Iterable[Site]) -> Iterator[str]:
    """Write sites, one a line."""
    yield '{"sites": ['
    separator = "\n"
    for site in sites:
        yield separator + json.dumps(settings_of(site), ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n"


def write_csv(sites: Iterable[Site]) -> Iterator[str]:
    """Write sites, one a row below the names of the columns."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(SETTINGS)
    for site in sites:
        writer.writerow([_cell(name, value) for name, value in settings_of(site).items()])
        yield lines.getvalue()
        lines.seek(0)
        lines.truncate()
    yield lines.getvalue()


def sites_of(engine: Engine, owner_id: int) -> Iterator[Site]:
    """Read all sites of a user, the oldest first, a few at a time; no connection is held while they are sent.

    Args:
        engine: for sessions of its own: what is written while it is sent outlives its request.
        owner_id: the user.
    """
    last, turns = 0, Turns()
    query = select(Site).where(Site.owner_id == owner_id).order_by(Site.id).limit(BATCH)
    while True:
        with Session(engine) as session:
            found = session.scalars(query.where(Site.id > last)).all()
        for site in found:
            yield site
            turns.rest()
        if len(found) < BATCH:
            return
        last = found[-1].id


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "tags":
        text = " ".join(value)
    elif name in _JSON_CELLS:
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = str(value)
    return f"'{text}" if _LOOKS_LIKE_A_FORMULA.match(text) else text


# -- in --------------------------------------------------------------------------------------------------------


def add_sites(
    session: Session, owner_id: int, rows: Iterable[Row], load: Callable[[dict[str, Any]], dict[str, Any]], *, dry: bool
) -> tuple[int, int]:
    """Add the sites of a file to the session's transaction, to be probed at once; or none, if any row is bad.

    A row with the name and the URL of a site that the owner has already is left out, so that a file can be read again
    after something was added to it.

    Args:
        session: committed by the caller.
        owner_id: whose sites they become.
        rows: of ``read``.
        load: makes complete, checked settings of what stands in a row, or raises BadRow.
        dry: check the file and add nothing.

    Returns:
        How many sites were added, or would have been, and how many rows were left out.

    Raises:
        BadFile: naming every bad row.
    """
    turns = Turns()
    taken = _names_of(session, owner_id, turns)
    wanted, left_out = _check(rows, load, taken, turns)
    for start in range(0, 0 if dry else len(wanted), BATCH):
        session.add_all(new_site(owner_id, settings) for settings in wanted[start : start + BATCH])
        session.flush()
        session.expunge_all()
        turns.rest()
    return len(wanted), left_out


def _names_of(session: Session, owner_id: int, turns: Turns) -> set[tuple[str, str]]:
    taken: set[tuple[str, str]] = set()
    last = 0
    query = select(Site.id, Site.name, Site.url).where(Site.owner_id == owner_id).order_by(Site.id).limit(500)
    while found := session.execute(query.where(Site.id > last)).all():
        last = found[-1].id
        taken.update((name, url) for _, name, url in found)
        turns.rest()
    return taken


def _check(
    rows: Iterable[Row], load: Callable[[dict[str, Any]], dict[str, Any]], taken: set[tuple[str, str]], turns: Turns
) -> tuple[list[dict[str, Any]], int]:
    wanted: list[dict[str, Any]] = []
    seen: dict[tuple[str, str], int] = {}
    troubles: list[Trouble] = []
    left_out = more = count = 0
    try:
        for row in rows:
            turns.rest()
            count += 1
            if count > MOST_ROWS:
                text = N_("there are more than {most} sites in the file").format(most=MOST_ROWS)
                raise BadFile([Trouble(row.place, row.number, None, text)])
            try:
                if row.problem is not None:
                    raise BadRow({"_row": [row.problem]})
                settings = load(row.given)
                key = (settings["name"], settings["url"])
                if key in seen:
                    text = N_("the name and the URL are those of {place} {number}")
                    raise BadRow({"name": [text.format(place=row.place, number=seen[key])]})
            except BadRow as bad:
                found = [
                    Trouble(row.place, row.number, None if name.startswith("_") else name, message)
                    for name, messages in bad.data.items()
                    for message in _texts(messages)
                ]
                kept = found[: max(0, MOST_TROUBLES - len(troubles))]
                troubles += kept
                more += len(found) - len(kept)
                continue
            seen[key] = row.number
            if key in taken:
                left_out += 1
            else:
                wanted.append(settings)
    except BadFile as broken:
        troubles += broken.troubles
    if troubles:
        raise BadFile(troubles, more)
    return wanted, left_out


def _texts(messages: Any) -> Iterator[str]:
    if isinstance(messages, dict):
        messages = list(messages.values())
    if isinstance(messages, list):
        for inner in messages:
            yield from _texts(inner)
    else:
        yield str(messages)


def read(data: bytes, kind: str) -> Iterator[Row]:
    """Read the rows of a file.

    Args:
        data: UTF-8, with or without a mark at its beginning.
        kind: "json" or "csv".

    Raises:
        BadFile: what follows cannot be read.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = data.count(b"\n", 0, bad.start) + 1
        raise BadFile([Trouble("line", line, None, N_("the file is not written in UTF-8"))]) from None
    yield from (_read_json if kind == "json" else _read_csv)(text)


def _read_json(text: str) -> Iterator[Row]:
    beginning = _BEGINNING.match(text)
    if beginning is None:
        said = N_("the file must be of the form {example}").format(example='{"sites": [{...}, ...]}')
        raise BadFile([Trouble("item", 1, None, said)])
    place, number, turns = beginning.end(), 1, Turns()
    if _EMPTY.match(text, place):
        return
    while True:
        end = _end_of_item(text, place, number, turns)
        try:
            given = json.loads(text[place:end])
        except (ValueError, RecursionError):
            yield Row("item", number, {}, N_("it is no JSON"))
        else:
            few = len(given) <= MOST_FIELDS
            yield Row("item", number, given if few else {}, None if few else N_("Too many fields."))
        following = _NEXT.match(text, end)
        if following is None:
            raise BadFile([Trouble("item", number, None, N_("what follows it is neither another item nor the end"))])
        if following[1] != ",":
            return
        place, number = following.end(), number + 1


def _end_of_item(text: str, place: int, number: int, turns: Turns) -> int:
    """Return where an object ends: a decoder would read any length of it in one go."""
    if not text.startswith("{", place):
        raise BadFile([Trouble("item", number, None, N_("it must be an object"))])
    limit, depth, end = min(len(text), place + LONGEST_ROW), 0, place
    pieces = 0
    while piece := _PIECE.match(text, end, limit):
        end, pieces = piece.end(), pieces + 1
        last = text[end - 1]
        depth += (last in "{[") - (last in "}]")
        if depth == 0 and last != '"':
            return end
        if pieces % 1000 == 0:
            turns.rest()
    said = N_("it is longer than {most} characters").format(most=LONGEST_ROW)
    raise BadFile([Trouble("item", number, None, said if limit < len(text) else N_("the file ends within it"))])


def _read_csv(text: str) -> Iterator[Row]:
    reader = csv.reader(_lines(text), strict=True)
    columns: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as bad:
            said = N_("it is no CSV: {error}").format(error=bad)
            raise BadFile([Trouble("line", line, None, said)]) from None
        if not cells:
            continue
        if not columns:
            columns = _columns(line, cells)
        elif len(cells) != len(columns):
            said = N_("there are {number} cells, and {columns} columns").format(number=len(cells), columns=len(columns))
            yield Row("line", line, {}, said)
        else:
            yield Row("line", line, _values(columns, cells))
    if not columns:
        _columns(1, [])


def _lines(text: str) -> Iterator[str]:
    turns = Turns()
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > LONGEST_ROW:
            said = N_("it is longer than {most} characters").format(most=LONGEST_ROW)
            raise BadFile([Trouble("line", number, None, said)])
        yield line
        turns.rest()


def _columns(line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells[: len(SETTINGS) + 1]]
    said = ""
    for name in names:
        if name not in SETTINGS:
            said = N_("there is no column {name}").format(name=repr(name[:40]))
        elif names.count(name) > 1:
            said = N_("the column {name} is there twice").format(name=name)
    for name in _REQUIRED:
        if not said and name not in names:
            said = N_("the column {name} is missing").format(name=name)
    if said:
        raise BadFile([Trouble("line", line, None, said)])
    return names


def _values(columns: list[str], cells: list[str]) -> dict[str, Any]:
    """Turn the cells of a row into settings; what says nothing is left out, what cannot be read is left as it is."""
    given: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        if cell:
            given[name] = _value(name, cell[1:] if _GUARDED.match(cell) else cell)
    return given


def _value(name: str, cell: str) -> Any:
    if name == "tags":
        return re.split(r"[\s,]+", cell.strip())
    if name in _JSON_CELLS:
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    if name in _WHOLE_CELLS and re.fullmatch(r"[0-9]{1,9}", cell):
        return int(cell)
    if name == "timeout" and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,20})?", cell):
        return float(cell)
    if name in _BOOLEAN_CELLS:
        return {"true": True, "false": False}.get(cell.strip().lower(), cell)
    return cell
