"""Answers as MariaDB sends them, and which statements need a transaction."""

from __future__ import annotations

import pytest

from cloudeye.mysql_protocol import Answer, needs_transaction, reads_alone_after, survey

STATUS = 0x0003  # in a transaction, autocommit
MORE = 0x0008


def packet(body: bytes, number: int = 1) -> bytes:
    """Return a packet with its length and number in front."""
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def ok(status: int = STATUS, affected: bytes = b"\x00", insert_id: bytes = b"\x00") -> bytes:
    """Return the answer to a statement without rows."""
    return packet(b"\x00" + affected + insert_id + status.to_bytes(2, "little") + b"\x00\x00")


def rows(*values: bytes, status: int = STATUS) -> bytes:
    """Return the answer to a SELECT of one column."""
    end = packet(b"\xfe\x00\x00" + status.to_bytes(2, "little"))
    column = packet(b"\x03def\x00\x00\x00\x01a\x00\x0c\x3f\x00\x01\x00\x00\x00\x03\x81\x00\x00\x00\x00")
    return packet(b"\x01") + column + end + b"".join(packet(bytes([len(v)]) + v) for v in values) + end


ERROR = packet(b"\xff\x28\x04#42000You have an error")
COMPLETE = {
    "ok": (ok(), STATUS),
    "ok with large numbers": (ok(affected=b"\xfc\xff\xff", insert_id=b"\xfe" + b"\xff" * 8), STATUS),
    "error": (ERROR, None),
    "no rows": (rows(), STATUS),
    "rows": (rows(b"one", b"\xfe\x00\x00\x02", b""), STATUS),
    "two results": (ok(STATUS | MORE) + rows(b"x"), STATUS),
    "rows, then an error": (rows(b"x", status=STATUS | MORE) + ERROR, None),
}


@pytest.mark.parametrize("name", COMPLETE)
def test_it_knows_a_complete_answer_and_the_status_in_it(name: str) -> None:
    answer, status = COMPLETE[name]
    assert survey(answer) == (Answer.COMPLETE, status)


@pytest.mark.parametrize("name", COMPLETE)
def test_it_knows_that_something_is_to_come_wherever_an_answer_is_cut(name: str) -> None:
    answer, _ = COMPLETE[name]
    assert [cut for cut in range(len(answer)) if survey(answer[:cut]) != (Answer.BEGUN, None)] == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(packet(b"\xfb/etc/passwd"), id="a request for a file"),
        pytest.param(bytes.fromhex("1703030020") + bytes(32), id="a TLS record"),
        pytest.param(b"\x0b\x00\x00\x00\x00\x00\x00" + ok(), id="a compressed packet"),
        pytest.param(ok() + ok(), id="more than was asked for"),
        pytest.param(rows(*[b"x" * 200] * 200)[:-1], id="a long result"),
        pytest.param((1_000_000).to_bytes(3, "little") + b"\x01x", id="a long packet"),
    ],
)
def test_it_leaves_alone_what_does_not_come_to_an_end_by_itself(answer: bytes) -> None:
    assert survey(answer) == (Answer.OTHER, None)


@pytest.mark.parametrize(
    "statement",
    [
        b"SELECT id, updated_at FROM sites WHERE id = 1",
        b"\n  select 1",
        b"SET NAMES utf8mb4",
        b"COMMIT",
        b"START TRANSACTION",
    ],
)
def test_a_statement_that_changes_and_locks_nothing_needs_no_transaction(statement: bytes) -> None:
    assert not needs_transaction(statement, reads_alone=True)


@pytest.mark.parametrize(
    "statement",
    [
        b"INSERT INTO t VALUES (1)",
        b"UPDATE t SET a = 1",
        b"SAVEPOINT sa_savepoint_1",
        b"CALL p()",
        b"WITH c AS (SELECT 1) SELECT * FROM c",
        b"SELECT * FROM t FOR UPDATE",
        b"SELECT * FROM t WHERE id = 1 for\n\tupdate SKIP LOCKED",
        b"SELECT * FROM t LOCK IN SHARE MODE",
        b"SELECT * FROM t FOR/**/UPDATE",
        b"/* why */ SELECT 1",
    ],
)
def test_any_other_statement_needs_one(statement: bytes) -> None:
    assert needs_transaction(statement, reads_alone=True)


def test_a_select_needs_one_where_reads_share_a_snapshot() -> None:
    assert needs_transaction(b"SELECT 1", reads_alone=False)


@pytest.mark.parametrize(
    ("statement", "before", "after"),
    [
        (b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", False, True),
        (b"set session transaction isolation level read uncommitted", False, True),
        (b"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", True, False),
        (b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", False, False),
        (b"SET SESSION tx_isolation = 'SERIALIZABLE'", True, False),
        (b"SET NAMES utf8mb4", True, True),
        (b"SELECT 1", True, True),
    ],
)
def test_reads_stand_alone_once_the_session_is_known_to_read_committed(
    statement: bytes, before: bool, after: bool
) -> None:
    assert reads_alone_after(statement, before) is after
