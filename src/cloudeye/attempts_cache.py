"""Attempts counted in the stack's cache. Loaded only where there is one: its client takes seven megabytes."""

from __future__ import annotations

from collections.abc import Sequence

import redis
from limits.errors import StorageError
from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from cloudeye import attempts_storage

CONNECTIONS = 50

# Takes one off a count that is there, and leaves its time to live; a count of none is no count.
GIVE_BACK = b"""
local count = tonumber(redis.call("GET", KEYS[1]) or "0")
if count > 1 then return redis.call("DECR", KEYS[1]) end
return redis.call("DEL", KEYS[1])
"""


class CacheCounters(RedisStorage):
    """Counts in Redis or Valkey, which speak the same protocol. Where it does not answer, that is a StorageError.

    Args:
        url: ``redis://`` or ``valkey://``, with ``s`` for TLS.
        prefix: of every key, for several stacks may share one database.
    """

    def __init__(self, url: str, prefix: str) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
            max_connections=CONNECTIONS,
            timeout=attempts_storage.CACHE_SECONDS,  # for a connection of the pool
            socket_connect_timeout=attempts_storage.CACHE_SECONDS,
            socket_timeout=attempts_storage.CACHE_SECONDS,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),  # of a vendor's clusters
            retry=Retry(NoBackoff(), 0),  # the database is at hand
        )
        super().__init__("redis://", connection_pool=pool, key_prefix=prefix, wrap_exceptions=True)
        self._give_back = self.get_connection().register_script(GIVE_BACK)

    def give_back(self, keys: Sequence[str]) -> None:
        """Take one off each of the counts; those that reach none are gone."""
        try:
            for key in keys:
                self._give_back([self.prefixed_key(key)])
        except redis.RedisError as error:
            raise StorageError(error) from error
