"""How answers become JSON: by orjson, for the standard library took a tenth of the time of a list of sites."""

from __future__ import annotations

import json
from typing import Any

import orjson
from flask.json.provider import DefaultJSONProvider

from cloudeye.dispatch import Response

# What JSON does not know goes to Flask's own function, whatever orjson would make of it.
OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_APPEND_NEWLINE


class JsonProvider(DefaultJSONProvider):
    """Flask's JSON, written by orjson where it can."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Return an answer with one value as its body."""
        body = self._written(self._prepare_response_obj(args, kwargs))
        return Response.of_json(body)

    def _written(self, value: Any) -> bytes:
        try:
            return orjson.dumps(value, self.default, OPTIONS)
        except TypeError:
            # Halves of surrogate pairs, which JSON can escape, and numbers that are too long for others.
            return json.dumps(value, default=self.default).encode() + b"\n"
