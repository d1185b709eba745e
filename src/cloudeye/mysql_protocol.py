"""What mysql_gevent.py must know of MySQL's language: is an answer complete, does a statement need a transaction.

The connection runs in the server's autocommit mode and begins a transaction itself, with the first statement that
needs one and in the same packet ("BEGIN;INSERT ..."). Each answer carries the server's status, so COMMIT and ROLLBACK
are not sent when no transaction is open. Under READ COMMITTED each SELECT has a snapshot of its own, inside of a
transaction or not, so one that locks nothing needs none: a read by key is one round trip, where the plain driver
makes two (SELECT, ROLLBACK). A SELECT that calls a stored function which writes does need one, and cannot be told
from the others: say BEGIN before it.

Pure functions over bytes. Source for the packets: MySQL's client/server protocol ("Text Resultset", "OK_Packet",
"ERR_Packet", "EOF_Packet", dev.mysql.com/doc/dev/mysql-server), which MariaDB shares.
"""

from __future__ import annotations

import re
from enum import Enum
from struct import Struct

IN_TRANSACTION, MORE_RESULTS = 1, 8  # of the server's status flags
OK, LOCAL_INFILE, EOF, ERROR = 0x00, 0xFB, 0xFE, 0xFF  # a packet's first byte
EOF_LENGTH = 5
HOLDS = 16 * 1024  # bytes that every socket takes; a server with more to say may wait for us to read it first
INTEGER_LENGTHS = {0xFC: 3, 0xFD: 4, 0xFE: 9}  # of an integer written with its length, by its first byte; else 1

# May run outside of a transaction with the same effect as inside.
_NEUTRAL = re.compile(rb"\s*(SET|SHOW|USE|DO|KILL|BEGIN|START|COMMIT|ROLLBACK|XA|EXPLAIN|DESC)\b", re.IGNORECASE)
_SELECT = re.compile(rb"\s*SELECT\b", re.IGNORECASE)
_LOCKING = re.compile(rb"[\s/](UPDATE|SHARE)\b", re.IGNORECASE)  # FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE
_ISOLATION = re.compile(rb"\s*SET\b.*isolation", re.IGNORECASE | re.DOTALL)
_OWN_SNAPSHOTS = re.compile(rb"\s*SET\s+SESSION\s+TRANSACTION\s+ISOLATION\s+LEVEL\s+READ\s+\w+\s*\Z", re.IGNORECASE)
_packet = Struct("<IB").unpack_from  # length (3 bytes) and number (1), and the first byte of what it holds


class Answer(Enum):
    """How much of an answer has come."""

    COMPLETE = "complete"  # all results of all its statements
    BEGUN = "begun"  # the rest comes by itself
    OTHER = "other"  # too long for the socket, or nothing that can be made out (TLS), or the server wants something


def survey(answer: bytes) -> tuple[Answer, int | None]:
    """Tell how much has come of the answer to one command.

    Args:
        answer: what has come, from its first byte.

    Returns:
        How much, and, of a complete one, the server's status flags after it; None if it does not tell them, as
        after an error. TLS looks like the beginning of a packet of 197,399 bytes.
    """
    at, ends, end = 0, 0, len(answer)
    while at + 5 <= end:
        head, first = _packet(answer, at)
        start, at = at + 4, at + 4 + (head & 0xFFFFFF)
        if at > end and first != LOCAL_INFILE:
            break
        if first == ERROR:
            return Answer.COMPLETE, None  # an error is the last thing the server says
        if not ends and first == OK:
            status = _status_of_ok(answer, start + 1)
        elif not ends and first == LOCAL_INFILE:
            return Answer.OTHER, None
        elif not ends:
            ends = 2  # a result: its columns and its rows follow, each with an end
            continue
        elif first == EOF and at - start == EOF_LENGTH:
            ends -= 1
            status = answer[start + 3] | answer[start + 4] << 8
        else:
            continue
        if not ends and not status & MORE_RESULTS:
            return (Answer.COMPLETE, status) if at == end else (Answer.OTHER, None)
    return (Answer.BEGUN if max(at, end) <= HOLDS else Answer.OTHER), None


def _status_of_ok(answer: bytes, at: int) -> int:
    for _ in ("rows affected", "last insert id"):
        at += INTEGER_LENGTHS.get(answer[at], 1)
    return answer[at] | answer[at + 1] << 8


def needs_transaction(statement: bytes, reads_alone: bool) -> bool:
    """Tell whether a transaction must be open before a statement runs.

    Args:
        statement: as it is sent.
        reads_alone: each SELECT has a snapshot of its own (READ COMMITTED or READ UNCOMMITTED), so that one
            that locks nothing sees the same with and without a transaction.

    Returns:
        True when in doubt: a transaction too many costs its end, one too few costs the data.
    """
    neutral = _NEUTRAL.match(statement) or (reads_alone and _SELECT.match(statement))
    return not neutral or _LOCKING.search(statement) is not None


def reads_alone_after(statement: bytes, before: bool) -> bool:
    """Tell whether SELECTs stand alone after a statement, which may have set the session's isolation level."""
    return _OWN_SNAPSHOTS.match(statement) is not None if _ISOLATION.match(statement) else before
