"""The tables, by subject."""

from cloudeye.models.base import Base, Id, UtcDateTime, utcnow
from cloudeye.models.people import (
    LANGUAGES,
    ROLES,
    ApiKey,
    Identity,
    OneTimeToken,
    Revocation,
    User,
    UserSession,
    email_key,
)
from cloudeye.models.sites import STATES, CheckResult, Site
from cloudeye.models.traffic import AttemptCounter, IdempotencyRecord, LongText, Message

__all__ = [
    "LANGUAGES",
    "ROLES",
    "STATES",
    "ApiKey",
    "AttemptCounter",
    "Base",
    "CheckResult",
    "Id",
    "IdempotencyRecord",
    "Identity",
    "LongText",
    "Message",
    "OneTimeToken",
    "Revocation",
    "Site",
    "User",
    "UserSession",
    "UtcDateTime",
    "email_key",
    "utcnow",
]
