"""Groups of copies as a table, as rows for a spreadsheet, and the schema of their JSON. All of it from `Duplicates.to_dict()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..config import GROUP_ROWS
from ..paths import shown
from .table import NARROWEST_URI
from .text_fit import cells, shorten

__all__ = ["CSV_HEAD", "DUPLICATES_SCHEMA", "csv_rows", "duplicates_table", "size", "what_it_is"]

KINDS = ("best", "same bytes", "same picture", "changed copy")
WHY = (
    "in the folder you prefer", "not the changed one", "most pixels", "format that loses less", "least compressed",
    "still says when it was taken", "earliest", "first by path",
)  # fmt: skip

_MEMBER: dict[str, Any] = {
    "id": {"type": "string", "description": "the library item; works wherever a path does"},
    "kind": {"enum": list(KINDS), "description": "what it is to the best one, which stands first"},
    "change": {"type": "string", "description": "of a changed copy: how it differs from the best one, or that from it"},
    "changed": {"enum": ["", "this", "best"], "description": "which of the two was made of the other by that change; empty: not told"},
    "similarity": {"type": "number", "minimum": -1, "maximum": 1, "description": "cosine of its vector and the best one's"},
    "name": {"type": "string", "description": "the image's class; empty if it has none"},
    "uri": {"type": "string", "description": "absolute path; if it has undecodable bytes, a file: address that encodes them"},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "of the file's bytes; its thumbnail goes by it"},
    "width": {"type": "integer", "minimum": 1, "description": "pixels, upright"},
    "height": {"type": "integer", "minimum": 1},
    "format": {"type": "string", "description": "of the file: JPEG, PNG, ..."},
    "bytes": {"type": "integer", "minimum": 0, "description": "of the file"},
    "date": {"type": "string", "description": "when it was taken, or else the file's own time; local"},
    "captured": {"type": "boolean", "description": "the date is the one at which it was taken"},
    "offline": {"type": "boolean", "description": "its disk cannot be reached now"},
}
_COUNTS: dict[str, str] = {
    "contents": "different pictures in the library",
    "compared": "of them, compared with all others now; the others were known",
    "looked_at": "pairs whose pixels were compared now",
    "unread": "pictures that could not be read now",
    "absent": "files that are gone or have changed since they were indexed; in no group",
    "files": "in groups",
    "rest": "of them, all but the best",
    "rest_bytes": "of these",
}

DUPLICATES_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Groups of copies",
    "type": "object",
    "additionalProperties": False,
    "required": ["library", "model", *_COUNTS, "remembers", "groups"],
    "properties": {
        "library": {"type": "string"},
        "model": {"type": "string", "description": "name of the library's model"},
        **{name: {"type": "integer", "minimum": 0, "description": words} for name, words in _COUNTS.items()},
        "remembers": {"type": "boolean", "description": "what was found is known at the next question"},
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["number", "why", "members"],
                "properties": {
                    "number": {"type": "integer", "minimum": 1},
                    "why": {"enum": list(WHY), "description": "why the first one is the best"},
                    "members": {
                        "type": "array",
                        "minItems": 2,
                        "items": {"type": "object", "additionalProperties": False, "required": list(_MEMBER), "properties": _MEMBER},
                    },
                },
            },
        },
    },
}

CSV_HEAD = ("group", "kind", "change", "changed", "similarity", "path", "width", "height", "format", "bytes", "date", "why", "id", "sha256")


def csv_rows(found: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """A row for each file, in the order of CSV_HEAD; an absolute path begins with a sign that no spreadsheet takes for a formula."""
    for group in found["groups"]:
        for m in group["members"]:
            why = group["why"] if m["kind"] == "best" else ""
            facts = (m["width"], m["height"], m["format"], m["bytes"], m["date"])
            what = m["kind"], m["change"], m["changed"]
            yield group["number"], *what, f"{m['similarity']:.4f}", shown(m["uri"]), *facts, why, m["id"], m["sha256"]


def duplicates_table(found: Mapping[str, Any], *, width: int | None = None) -> str:
    """Each group under a line of its own, then what it comes to; of a very large group the first files.

    Args:
        found: as `Duplicates.to_dict` gives it.
        width: cells of the terminal; paths are then shortened in their middle. None: nothing is (pipe, file).
    """
    if not found["groups"]:
        return "no copies found"
    lines = []
    for group in found["groups"]:
        lines += [*_group_lines(group, width), ""]
    return "\n".join([*lines, _sum(found)])


def _group_lines(group: Mapping[str, Any], width: int | None) -> Iterator[str]:
    members = group["members"]
    yield f"{group['number']}. {len(members):,} files, {size(sum(m['bytes'] for m in members[1:]))} beside the best ({group['why']})"
    some = members[:GROUP_ROWS]
    facts = [(what_it_is(m), f"{m['width']}x{m['height']}", m["format"], size(m["bytes"]), m["date"][:10]) for m in some]
    widths = [max(map(cells, column)) for column in zip(*facts, strict=True)]
    for member, row in zip(some, facts, strict=True):
        blanks = [" " * (wide - cells(text)) for text, wide in zip(row, widths, strict=True)]
        numbers = (1, 3)  # stand at the right of their columns
        line = "  ".join(blank + text if n in numbers else text + blank for n, (text, blank) in enumerate(zip(row, blanks, strict=True)))
        uri = shown(member["uri"])
        yield f"  {line}  {uri if width is None else shorten(uri, max(NARROWEST_URI, width - cells(line) - 4))}"
    if len(members) > len(some):
        yield f"  and {len(members) - len(some):,} more"


def what_it_is(member: Mapping[str, Any]) -> str:
    """ "best", "same bytes", "copy, mirrored"; where the best is the changed one "copy; the best is bordered" """
    words = member["kind"]
    if member["change"]:
        words = f"copy; the best is {member['change']}" if member["changed"] == "best" else f"copy, {member['change']}"
    return f"{words} (offline)" if member["offline"] else words


def _sum(found: Mapping[str, Any]) -> str:
    groups = "1 group" if len(found["groups"]) == 1 else f"{len(found['groups']):,} groups"
    return f"{groups}, {found['files']:,} files; beside the best {found['rest']:,} files, {size(found['rest_bytes'])}. Nothing was deleted."


def size(count: int) -> str:
    """3.2 MB; decimal, as file managers show it."""
    if count < 1000:
        return f"{count} B"
    unit, power = next(((unit, power) for unit, power in (("KB", 1), ("MB", 2)) if count < 999_950 * 1000 ** (power - 1)), ("GB", 3))
    return f"{count / 1000**power:.1f} {unit}"
