"""`python -m cloudeye.sync`: the process around the loop, with its signals."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
from functools import partial

from gevent import monkey


def main() -> int:
    """Run the background process until SIGTERM or SIGINT.

    Returns:
        0 after a signal, 78 (EX_CONFIG, sysexits.h) when the environment cannot be used.
    """
    monkey.patch_all()  # before anything below is imported: what imports socket first keeps the blocking one

    import resource
    import socket

    import gevent

    from cloudeye import logs
    from cloudeye.config import Config, ConfigurationError
    from cloudeye.db import make_engine
    from cloudeye.services.probe import Limits, probe
    from cloudeye.services.probe_wire import make_tls_context
    from cloudeye.services.resolver import Resolver
    from cloudeye.services.webhooks import limits_of
    from cloudeye.sync.carriers import Post
    from cloudeye.sync.loop import Heartbeat, Loop
    from cloudeye.sync.scan import make_scanner
    from cloudeye.sync.work import Work

    try:
        config = Config.from_environment()
    except ConfigurationError as error:
        logs.start("info", "sync")
        logging.getLogger("cloudeye.sync").critical("the environment does not do: %s", error)
        return 78
    logs.start(config.log_level, "sync", lambda: {"release": config.release})
    log = logging.getLogger("cloudeye.sync")
    settings = config.sync
    # Each probe holds a descriptor or two; the soft limit of 1,024 is there for programs that use select(2).
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limits = Limits(
        allow_private=settings.allow_private,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        total_timeout=settings.total_timeout,
        max_bytes=settings.max_bytes,
        max_redirects=settings.max_redirects,
    )
    resolver = Resolver(timeout=min(settings.connect_timeout, settings.total_timeout))
    tls = make_tls_context()
    ask = partial(probe, limits=limits, resolver=resolver, tls=tls)
    me = f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
    post = Post(config, partial(probe, limits=limits_of(limits), resolver=resolver, tls=tls))
    scanner = make_scanner(limits, tls)
    engine = make_engine(config, size=settings.connections)
    work = Work(engine=engine, settings=settings, me=me, probe=ask, post=post, scanner=scanner)
    loop = Loop(work, Heartbeat(config.heartbeat_file, config.release, settings.heartbeat_seconds))
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, loop.stop)
    log.info("started", extra={"claims_as": me, "concurrency": settings.concurrency})
    loop.run()
    log.info("stopped", extra={"probed": work.probed, "sent": post.sent})
    return 0


if __name__ == "__main__":
    sys.exit(main())
