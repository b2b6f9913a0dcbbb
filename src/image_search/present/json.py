"""A search's answer as JSON, and the schema it keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..paths import as_text
from ..types import Match, Vote

__all__ = ["CSV_COLUMNS", "FAILED_SCHEMA", "SCHEMA", "csv_rows", "failed_csv_row", "failed_json", "matches_json"]

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
        "description": "percentile among this library's nearest-neighbour similarities; null in a small library, and for words",
    },
    "probability": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 1,
        "description": "that the words fit, as the model was trained to say it; null but for one phrase alone and such a model",
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
_COPY: dict[str, Any] = {"type": "string", "description": "how it is a copy: 'same bytes', 'same picture', 'mirrored', 'cropped', ..."}
_CHANGED: dict[str, Any] = {
    "enum": ["", "this", "first"],
    "description": "which was made of the other by that change, this one or the match that it stands behind; empty: not told",
}
_VARIANT: dict[str, Any] = {
    "type": "string",
    "description": "the changed copy of the query that it is nearest to; only if asked for",
}
_ALSO: dict[str, Any] = {
    "type": "array",
    "description": "matches that show the same picture; only where they were folded",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": [*_MATCH, "copy", "changed"],
        "properties": {**_MATCH, "variant": _VARIANT, "copy": _COPY, "changed": _CHANGED},
    },
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Answer of a search",
    "type": "object",
    "additionalProperties": False,
    "required": ["query", "model", "exact", "vote", "matches"],
    "properties": {
        "query": {
            "description": "the image or words searched with, as given; a list where there were several",
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 2}],
        },
        "model": {"type": "string", "description": "name of the library's model"},
        "exact": {"type": "boolean", "description": "compared with every image; false: answered by the vector store"},
        "vote": {
            "type": ["object", "null"],
            "description": "the most likely class of the query by its matches; null where that would say nothing, or mislead",
            "additionalProperties": False,
            "required": ["name", "votes", "of"],
            "properties": {
                "name": {"type": "string"},
                "votes": {"type": "integer", "minimum": 1, "description": "matches of that class"},
                "of": {"type": "integer", "minimum": 1, "description": "matches that had a vote: copies of one file have one together"},
            },
        },
        "matches": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": list(_MATCH),
                "properties": {**_MATCH, "variant": _VARIANT, "also": _ALSO},
            },
        },
    },
}


# Of several searches each that fails; the others keep SCHEMA.
FAILED_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["query", "error"],
    "properties": {"query": {"type": "string"}, "error": {"type": "string", "description": "one line: what was wrong with this image"}},
}

CSV_COLUMNS = ("query", *_MATCH, "error")


def matches_json(
    matches: Sequence[Match], *, query: str | Sequence[str], model: str, exact: bool, vote: Vote | None = None
) -> dict[str, Any]:
    """Plain data that keeps `SCHEMA`: Python floats, never NaN, valid Unicode; `json.dumps` escapes what is left to escape.

    Raises ValueError if a similarity is not finite or lies outside [-1, 1] by more than rounding.
    """
    queries = [query] if isinstance(query, str) else list(query)
    return {
        "query": _unicode(queries[0]) if len(queries) == 1 else [_unicode(q) for q in queries],
        "model": _unicode(model),
        "exact": bool(exact),
        "vote": None if vote is None else {"name": _unicode(vote.name), "votes": vote.votes, "of": vote.of},
        "matches": [_match_json(m) for m in matches],
    }


def failed_json(query: str, error: str) -> dict[str, Any]:
    """One of many searches that has no matches, and why: keeps `FAILED_SCHEMA`."""
    return {"query": _unicode(query), "error": _unicode(error)}


def csv_rows(query: str, matches: Sequence[Match]) -> list[list[Any]]:
    """A row of `CSV_COLUMNS` for each match, its numbers as in `matches_json`; one with the query alone where there is none."""
    found = [_match_json(match) for match in matches]
    if not found:
        return [[_unicode(query), *[""] * (len(CSV_COLUMNS) - 1)]]
    return [[_unicode(query), *("" if row[name] is None else row[name] for name in CSV_COLUMNS[1:-1]), ""] for row in found]


def failed_csv_row(query: str, error: str) -> list[Any]:
    return [_unicode(query), *[""] * (len(CSV_COLUMNS) - 2), _unicode(error)]


def _match_json(match: Match) -> dict[str, Any]:
    similarity = float(match.similarity)
    if not abs(similarity) <= 1 + 1e-5:  # also false for NaN; float32 sums of a few hundred products err by less than 1e-5
        raise ValueError(f"similarity {similarity} of {match.id} is not a cosine")
    similarity = max(-1.0, min(1.0, similarity))
    closeness = None if match.closeness is None or math.isnan(match.closeness) else float(match.closeness)
    more: dict[str, Any] = {"variant": match.variant} if match.variant else {}
    if match.copy:
        more |= {"copy": match.copy, "changed": match.changed}
    if match.also:
        more["also"] = [_match_json(one) for one in match.also]
    return {
        "id": _unicode(match.id),
        "rank": int(match.rank),
        "name": _unicode(match.name),
        "similarity": similarity,
        "distance": 1.0 - similarity,
        "closeness": closeness,
        "probability": None if match.probability is None else float(match.probability),
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
        **more,
    }


def _unicode(text: str) -> str:
    """Valid Unicode: undecodable bytes percent-encoded; any other lone surrogate becomes "?"."""
    return as_text(text).encode("utf-8", "replace").decode()
