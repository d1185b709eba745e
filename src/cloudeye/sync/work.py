"""What the steps share: the process's means, what is under way, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gevent.event import Event
from gevent.pool import Pool
from gevent.threadpool import ThreadPool
from sqlalchemy import Engine, select

from cloudeye.config import SyncConfig
from cloudeye.models import Site, utcnow
from cloudeye.services.ask import Ask
from cloudeye.services.probe import ProbeResult
from cloudeye.sync.retention import Retention
from cloudeye.sync.rollup import Rolling

if TYPE_CHECKING:
    from cloudeye.services.findings.certificate import Validity
    from cloudeye.services.findings.found import Look
    from cloudeye.services.tamper.store import Weighed
    from cloudeye.sync.carriers import Post
    from cloudeye.sync.scan import Scanner

# Pages are taken apart beside the loop; the interpreter runs one at a time anyway.
THREADS = 1


@dataclass(frozen=True, slots=True)
class Claimed:
    """A site of which this process holds the claim, as it was when it was claimed. The names are those of Site."""

    id: int
    version: int
    owner_id: int
    url: str
    interval: int
    timeout: float | None
    method: str
    headers: dict[str, str] | None
    body: str | None
    expected_statuses: str
    keyword_present: str | None
    keyword_absent: str | None
    follow_redirects: bool
    retries: int
    maintenance: list[dict[str, Any]] | None
    ignore_rules: dict[str, list[str]] | None
    state: str
    state_since: datetime | None
    failures: int
    failing_since: datetime | None
    body_digest: str | None
    page_hash: str | None
    headers_digest: str | None
    inspected_at: datetime | None
    grade: str | None
    certificate_expires_at: datetime | None
    certificate_warned: int | None
    next_check_at: datetime | None


READ_CLAIMED = select(*(getattr(Site, name) for name in Claimed.__dataclass_fields__))


@dataclass(frozen=True, slots=True)
class Inspected:
    """What follows from an answer's headers, its page and its certificate, and the digest they are recognised by."""

    headers_digest: str
    look: Look
    certificate: Validity | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a site found. What did not need another look is None."""

    result: ProbeResult
    maintenance: bool = False
    body_digest: str | None = None
    weighed: Weighed | None = None
    inspected: Inspected | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claimed site: what was seen, or the exception that looking should not have raised."""

    site: Claimed
    started: datetime
    seen: Seen | None
    error: Exception | None


@dataclass(slots=True)
class Work:
    """What the steps share.

    `me` names this process in claims; `probe` asks one site; `beat` says that the loop is alive and is called in
    steps that may take long; `wake` is set when the loop has something to do before its next poll. Without a
    `post` this process sends nothing, without a `scanner` it looks at no site more closely.
    """

    engine: Engine
    settings: SyncConfig
    me: str
    probe: Callable[[Ask], ProbeResult]
    beat: Callable[[], None] = lambda: None
    clock: Callable[[], datetime] = utcnow
    wake: Event = field(default_factory=Event)
    post: Post | None = None
    scanner: Scanner | None = None
    retention: Retention = field(default_factory=Retention)
    rolling: Rolling = field(default_factory=Rolling)
    running: dict[int, Claimed] = field(default_factory=dict)
    done: deque[Outcome] = field(default_factory=deque)
    failures: dict[int, int] = field(default_factory=dict)
    pool: Pool = field(init=False)
    threads: ThreadPool = field(default_factory=lambda: ThreadPool(THREADS))
    backlog: bool = False  # more sites were due than there were places for
    crest: int = 0  # probes under way after the last claim
    due: int = 0
    lag: float = 0.0  # seconds the longest waiting site was late, since the last measurement
    probed: int = 0
    late: float = 0.0  # seconds, of the latest site claimed since then
    measured: datetime | None = None

    def __post_init__(self) -> None:
        self.pool = Pool(self.settings.concurrency)

    def interval_of(self, site: Claimed) -> int:
        """Seconds between two probes of the site: never less than the configured minimum, whatever its row says."""
        return max(site.interval, self.settings.minimum_interval, 1)
