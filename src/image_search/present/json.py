"""A search's answer as JSON, and the schema it keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..paths import as_text
from ..types import Match

__all__ = ["SCHEMA", "matches_json"]

_MATCH: dict[str, Any] = {
    "id": {"type": "string", "description": "the library item; works wherever a path does"},
    "rank": {"type": "integer", "minimum": 1, "description": "1 is nearest"},
    "name": {"type": "string", "description": "the image's class; empty if it has none"},
    "similarity": {"type": "number", "minimum": -1, "maximum": 1, "description": "cosine; higher is nearer"},
    "distance": {"type": "number", "minimum": 0, "maximum": 2, "description": "1 - similarity"},
    "closeness": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1,
        "description": "percentile among this library's nearest-neighbour similarities; null in a small library",
    },
    "uri": {"type": "string", "description": "absolute path; if it has undecodable bytes, a file: address that encodes them"},
    "identical": {"type": "boolean", "description": "the same bytes as the query's file"},
    "offline": {"type": "boolean", "description": "its folder cannot be reached now"},
    "gone": {"type": "boolean", "description": "its folder can be reached, and the file is no longer there"},
    "width": {"type": "integer", "minimum": 0, "description": "of the upright picture, pixels"},
    "height": {"type": "integer", "minimum": 0},
    "format": {"type": "string", "description": "JPEG, PNG, HEIF, ..."},
    "bytes": {"type": "integer", "minimum": 0, "description": "size of the file when it was indexed"},
    "captured": {
        "type": ["string", "null"],
        "description": "when it was taken, by the camera's own clock: 2024-05-01T23:30:05, perhaps with a fraction and a time zone behind"
        " it; null: the picture does not say",
    },
    "modified": {"type": "string", "description": "the file's own time when it was indexed, ISO 8601 with the time zone here"},
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Answer of a search",
    "type": "object",
    "additionalProperties": False,
    "required": ["query", "model", "exact", "matches"],
    "properties": {
        "query": {
            "description": "the image searched with, as given; a list where there were several",
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 2}],
        },
        "model": {"type": "string", "description": "name of the library's model"},
        "exact": {"type": "boolean", "description": "compared with every image; false: answered by the vector store"},
        "matches": {
            "type": "array",
            "items": {"type": "object", "additionalProperties": False, "required": list(_MATCH), "properties": _MATCH},
        },
    },
}


def matches_json(matches: Sequence[Match], *, query: str | Sequence[str], model: str, exact: bool) -> dict[str, Any]:
    """Plain data that keeps `SCHEMA`: Python floats, never NaN, valid Unicode; `json.dumps` escapes what is left to escape.

    Raises ValueError if a similarity is not finite or lies outside [-1, 1] by more than rounding.
    """
    queries = [query] if isinstance(query, str) else list(query)
    return {
        "query": _unicode(queries[0]) if len(queries) == 1 else [_unicode(q) for q in queries],
        "model": _unicode(model),
        "exact": bool(exact),
        "matches": [_match_json(m) for m in matches],
    }


def _match_json(match: Match) -> dict[str, Any]:
    similarity = float(match.similarity)
    if not abs(similarity) <= 1 + 1e-5:  # also false for NaN; float32 sums of a few hundred products err by less than 1e-5
        raise ValueError(f"similarity {similarity} of {match.id} is not a cosine")
    similarity = max(-1.0, min(1.0, similarity))
    closeness = None if match.closeness is None or math.isnan(match.closeness) else float(match.closeness)
    return {
        "id": _unicode(match.id),
        "rank": int(match.rank),
        "name": _unicode(match.name),
        "similarity": similarity,
        "distance": 1.0 - similarity,
        "closeness": closeness,
        "uri": _unicode(match.uri),
        "identical": bool(match.identical),
        "offline": bool(match.offline),
        "gone": bool(match.gone),
        "width": int(match.width),
        "height": int(match.height),
        "format": _unicode(match.format),
        "bytes": int(match.bytes),
        "captured": _unicode(match.captured) or None,
        "modified": _unicode(match.modified),
    }


def _unicode(text: str) -> str:
    """Valid Unicode: undecodable bytes percent-encoded; any other lone surrogate becomes "?"."""
    return as_text(text).encode("utf-8", "replace").decode()
