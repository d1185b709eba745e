"""Tell a URL of one's own what became of a release: a webhook, signed as the application signs its own.

The message is signed as Standard Webhooks has it, so that its libraries verify it: HMAC-SHA256 over id, time and body.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.derive import NOTIFY_SECRET

PREFIX = "whsec_"
PAUSE = 1.0  # seconds before the second try; twice as many before each further one
LATER = frozenset({408, 425, 429})  # beside 5xx the statuses that say "later" (RFC 9110, RFC 6585, RFC 8470)


@dataclass(frozen=True)
class Delivery:
    """What became of a message: how often it was tried, and why it did not arrive; empty when it did."""

    tries: int
    problem: str


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Who moved must be told by its new address: a signed message is not for whoever stands at the old one."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def key_of(text: str) -> bytes:
    """The key in a secret's file: base64 behind whsec_, as senders of such webhooks make them.

    Raises:
        ValueError: it is none.
    """
    secret = text.strip()
    if not secret.startswith(PREFIX):
        raise ValueError(f"the secret {NOTIFY_SECRET} begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the secret {NOTIFY_SECRET} is no base64 behind {PREFIX}: {error}") from error
    if len(key) < 24:
        raise ValueError(f"the secret {NOTIFY_SECRET} is too short: at least 24 bytes before base64")
    return key


def headers(key: bytes, message: str, moment: int, body: bytes, name: str) -> dict[str, str]:
    """What goes with a message: its id, its time (seconds since 1970), and the signature over both and the body."""
    digest = hmac.new(key, f"{message}.{moment}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": f"{name}-stack/1",
        "webhook-id": message,
        "webhook-timestamp": str(moment),
        "webhook-signature": "v1," + base64.b64encode(digest).decode("ascii"),
    }


def send(
    stack: Mapping[str, Any], message: str, data: Mapping[str, Any], *, sleep: Callable[[float], None] = time.sleep
) -> Delivery:
    """Send a message to `releases.notify_url`, trying again a few times; nothing is raised.

    Args:
        stack: whose URL and secret.
        message: its id, the same at each try, by which the receiver knows that it has it already.
        data: what happened; it must go into JSON.
        sleep: waits between two tries.
    """
    body = json.dumps(data, ensure_ascii=False).encode()
    releases, problem = stack["releases"], ""
    try:
        key = key_of(Path(stack["paths"]["secrets"], NOTIFY_SECRET).read_text("utf-8"))
    except (OSError, ValueError) as error:
        return Delivery(0, str(error))
    for number in range(releases["notify_tries"]):
        if number:
            sleep(PAUSE * 2 ** (number - 1))
        sent = headers(key, message, int(time.time()), body, stack["stack"]["name"])
        problem, later = _within(releases["notify_timeout"], releases["notify_url"], body, sent)
        if not problem or not later:
            return Delivery(number + 1, problem)
    return Delivery(releases["notify_tries"], problem)


def _within(seconds: float, url: str, body: bytes, sent: Mapping[str, str]) -> tuple[str, bool]:
    """Send once; a receiver that answers a byte at a time is left after that many seconds all the same."""
    answers: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    work = threading.Thread(target=lambda: answers.put(_post(seconds, url, body, sent)), daemon=True)
    work.start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"no answer within {seconds} s", True


def _post(seconds: float, url: str, body: bytes, sent: Mapping[str, str]) -> tuple[str, bool]:
    """Send once; return what was wrong, and whether trying again may help."""
    request = urllib.request.Request(url, body, dict(sent), method="POST")  # noqa: S310 - http(s), by deploy/rules.py
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds) as answer:
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        status = error.code
        error.close()
    except (OSError, ValueError) as error:
        return f"no answer: {getattr(error, 'reason', None) or error}", True
    except Exception as error:  # http.client has more of its own, and none may end a release
        return f"no answer: {type(error).__name__}", True
    return ("", False) if 200 <= status < 300 else (f"answered with status {status}", status >= 500 or status in LATER)
