"""Two pictures compared: how similar they are, and whether they show the same picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import DecodeError, QueryError, UsageError
from ..library.decisions import Word, told_apart
from ..library.reading import Reader
from ..paths import as_text
from ..search import closeness
from ..search.query import Query
from .copies import Kind, Prepared, Verdict, compare
from .looks import Looks

__all__ = ["Comparison", "compared"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `engine.compare` answers; true where the two count as the same picture.

    Attributes:
        a, b: what was compared, as it was named.
        similarity: cosine of the two vectors, -1 to 1.
        closeness: its percentile in the library; None without one, or in a small one.
        kind: "same bytes", "same picture", "changed copy"; None: two pictures. Told by bytes and pixels, not by the model.
        change: how a changed copy differs, from a to b: "mirrored", "turned 90", "cropped", ...; else "".
        changed: "a" or "b", the one that was made of the other by that change; "": that cannot be told, as of mirrored ones.
        same: they count as the same: there is a kind, or, where a threshold was given, they are at least as similar.
        model: the name of the model that made the vectors.
        decided: "not the same" where the user decided otherwise than the pixels say (see `decide`); else "".
    """

    a: str
    b: str
    similarity: float
    closeness: float | None
    kind: Kind | None
    change: str
    same: bool
    model: str
    decided: str = ""
    changed: str = ""

    def __bool__(self) -> bool:
        return self.same

    def __str__(self) -> str:
        from ..present.text_fit import number

        words = self.kind.value if self.kind is not None else "two pictures"
        closeness = "" if self.closeness is None else f", closeness {number(self.closeness, 2)}"
        decided = f"\ndecided otherwise: {self.decided}" if self.decided else ""
        which = {"a": "; the first is the changed one", "b": "; the second is the changed one"}.get(self.changed, "")
        return f"{words}{f' ({self.change}{which})' if self.change else ''}: similarity {number(self.similarity)}{closeness}{decided}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `image-search compare --json` prints it."""
        return {
            "a": as_text(self.a),
            "b": as_text(self.b),
            "similarity": self.similarity,
            "closeness": self.closeness,
            "kind": None if self.kind is None else self.kind.value,
            "change": self.change,
            "changed": self.changed,
            "same": self.same,
            "model": self.model,
            "decided": self.decided,
        }


def compared(a: Query, b: Query, reader: Reader | None, looks: Looks, *, threshold: float | None, model: str) -> Comparison:
    """Args:
        reader: of the library that says what is near; None: there is none.
        threshold: cosine from which the two count as the same; None: what their pixels say counts.

    Raises QueryError for a picture that cannot be read, UsageError for words.
    """
    same_bytes = a.sha256 is not None and a.sha256 == b.sha256
    verdict = Verdict(Kind.SAME_BYTES) if same_bytes else compare(_look(a, looks), _look(b, looks))
    similarity = 1.0 if same_bytes else max(-1.0, min(1.0, float(a.vector.astype("f8") @ b.vector.astype("f8"))))
    return Comparison(
        a=a.label,
        b=b.label,
        similarity=similarity,
        closeness=None if reader is None else closeness.percentile(similarity, closeness.load(reader)),
        kind=verdict.kind,
        change=verdict.change,
        same=verdict.kind is not None if threshold is None else similarity >= threshold,
        model=model,
        decided=_decided(a, b, reader) if verdict.kind is not None else "",
        changed={1: "b", -1: "a"}.get(verdict.changed, ""),
    )


def _decided(a: Query, b: Query, reader: Reader | None) -> str:
    if reader is None or a.sha256 is None or b.sha256 is None:
        return ""
    apart = told_apart(reader.decisions())
    return Word.NOT_THE_SAME.value if apart.get(a.sha256, set()) & apart.get(b.sha256, set()) else ""


def _look(query: Query, looks: Looks) -> Prepared:
    if query.show is None:
        raise UsageError("only pictures can be compared", hint="give a path, an address, bytes, an array or a PIL image")
    try:
        seen = looks.look(query.sha256 or b"", query.show.source)
    except DecodeError as error:
        raise QueryError(f"this cannot be compared: {error.reason.value}", path=query.label, hint=error.hint) from error
    if seen is None:
        raise QueryError("this picture cannot be read now", path=query.label, hint="it has changed or is away; try again")
    return seen
