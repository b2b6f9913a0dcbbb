"""What the user said of pictures that were shown as copies of one another. By content: it stays when files move, and after a rebuild."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .catalog import Catalog

__all__ = ["Decision", "Word", "add", "decisions", "told_apart", "undo"]


class Word(StrEnum):
    """What was decided of some pictures."""

    NOT_THE_SAME = "not the same"  # no two of them are copies of one another, whatever they look like
    LEAVE = "leave"  # they may lie beside each other as they do; of a single one: its files may


@dataclass(frozen=True, slots=True)
class Decision:
    """Attributes:
    number: by which it is undone; never that of another one that is there.
    word: what was decided.
    pictures: sha256 of each, 32 bytes, ascending.
    made: when, seconds since 1970.
    """

    number: int
    word: Word
    pictures: tuple[bytes, ...]
    made: int
    uris: tuple[str, ...] = ()


def decisions(catalog: Catalog) -> list[Decision]:
    """All of them, by number. A word that a later version may know is left out. LibraryDamagedError: values of another kind."""
    found: dict[int, tuple[Word, int, list[bytes]]] = {}
    sql = "SELECT id, sha256, word, made FROM decisions ORDER BY id, sha256"
    for number, sha256, word, made in catalog.rows(sql, types=(int, bytes, str, int)):
        if word in set(Word):
            found.setdefault(number, (Word(word), made, []))[2].append(sha256)
    return [Decision(number, word, tuple(pictures), made) for number, (word, made, pictures) in found.items()]


def told_apart(decided: Sequence[Decision]) -> dict[bytes, set[int]]:
    """sha256 -> numbers of the decisions that it is not the same as others: two with a number in common are no copies."""
    found: dict[bytes, set[int]] = {}
    for decision in decided:
        if decision.word == Word.NOT_THE_SAME:
            for sha256 in decision.pictures:
                found.setdefault(sha256, set()).add(decision.number)
    return found


def add(catalog: Catalog, word: Word, pictures: Sequence[bytes]) -> Decision:
    """Inside the caller's transaction. The very same one a second time is the first."""
    wanted = tuple(sorted(set(pictures)))
    for known in decisions(catalog):
        if known.word == word and known.pictures == wanted:
            return known
    number = 1 + catalog.value("SELECT coalesce(max(id), 0) FROM decisions")
    made = int(time.time())
    catalog.execute_many("INSERT INTO decisions VALUES (?, ?, ?, ?)", [(number, sha256, word.value, made) for sha256 in wanted])
    return Decision(number, word, wanted, made)


def undo(catalog: Catalog, number: int) -> bool:
    """Inside the caller's transaction. False: there is none of this number."""
    return catalog.execute("DELETE FROM decisions WHERE id = ?", (number,)).rowcount > 0
