"""Which labels may be wrong: pictures whose neighbours say another class, pictures far from everything, classes that mix.

The judge is the k-nearest-neighbour vote, each picture left out of its own (Cover and Hart 1967; as a filter of wrong labels Wilson
1972). A vote counts by similarity. What has the same bytes is one picture: copies neither vote for each other nor twice for others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..config import LABEL_NEIGHBOURS
from ..paths import as_text, uri_of
from ..types import Float32
from .neighbours import Numbers, Say, nearest

__all__ = ["Clash", "ClassFigures", "Copied", "LabelCheck", "Labelled", "Mixed", "Outlier", "Suspect", "check_labels"]

Float64 = npt.NDArray[np.float64]

_FENCE = 1.5  # interquartile ranges below the first quartile (Tukey 1977)
_MIXED = 0.1  # of a class's vote that goes to another class: from there on the two are said to mix
_BLOCK = 4096  # pictures whose votes are counted at once: 82,000 votes, some MB
_LEAST = 1e-6  # cosine: below it a difference is rounding


class Labelled(NamedTuple):
    """One picture of those that are looked at: its id ("id:12"; "" in a plain folder), its path, its class."""

    id: str
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """A picture whose neighbours say another class.

    Attributes:
        id: "id:<number>" of the library; "" where a plain folder was checked.
        path: where it lies (may hold surrogate escapes).
        name: its class. says: the class that its neighbours say.
        confidence: 0 to 1: how much of the vote goes against its class. share: how much of it is for the class that they say.
        like, like_path: id and path of the nearest picture of that class.
        similarity: cosine of the two.
    """

    id: str
    path: str
    name: str
    says: str
    confidence: float
    share: float
    like: str
    like_path: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Outlier:
    """A picture that is far from everything. `similarity`: mean cosine to its nearest pictures, of any class."""

    id: str
    path: str
    name: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Mixed:
    """Two classes that neighbours take for each other. `share`: of the vote over the pictures of `name`, for `other`; 0 to 1. `back`: the
    other way."""

    name: str
    other: str
    share: float
    back: float


@dataclass(frozen=True, slots=True)
class Copied:
    """The same bytes under several classes: at most one of them is right, or the picture belongs to all of them."""

    ids: list[str]
    paths: list[str]
    names: list[str]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class: its pictures, how many of them the vote finds right (`agree`, 0 to 1), is against, and calls outliers; where the rest of
    its vote goes, mostly."""

    name: str
    images: int
    agree: float
    suspects: int
    outliers: int
    mixes_with: str
    share: float


@dataclass(slots=True)
class LabelCheck:
    """What a look at the labels found; each list with the surest first.

    Attributes:
        images: pictures with a class. unlabelled: without one; they do not count.
        neighbours: how many vote on each.
        agree: share of the pictures, 0 to 1, whose class the vote says.
        library: the library's folder; None: a plain folder was checked.
        skipped: (path, why) of files that could not be read, where a folder was checked.
    """

    model: str
    images: int
    unlabelled: int
    neighbours: int
    agree: float = 0.0
    library: Path | None = None
    classes: list[ClassFigures] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    outliers: list[Outlier] = field(default_factory=list)
    mixed: list[Mixed] = field(default_factory=list)
    copied: list[Copied] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, valid Unicode, as `image-search check --json` prints it."""
        return {
            "model": as_text(self.model),
            "images": self.images,
            "unlabelled": self.unlabelled,
            "neighbours": self.neighbours,
            "agree": self.agree,
            **{
                part: [_plain(asdict(one)) for one in getattr(self, part)]
                for part in ("classes", "suspects", "outliers", "mixed", "copied")
            },
            "skipped": [{"path": uri_of(path), "why": why} for path, why in self.skipped],
        }

    def __str__(self) -> str:
        from ..present.checks import check_table

        return check_table(self)

    def save(self, path: str | Path) -> None:
        """One self-contained HTML page with pictures. UsageError: another file lies there; ImageSearchError: it cannot be written."""
        from ..present.checks import check_page_of, pictured
        from ..present.html import check_page, save_page
        from .small import small_pictures

        check_page(path)  # before pictures are made
        save_page(check_page_of(self, small_pictures(self.library, pictured(self))), path)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Texts as valid Unicode, a path as its address."""

    def told(key: str, value: Any) -> Any:
        if isinstance(value, list):
            return [told(key, one) for one in value]
        return value if not isinstance(value, str) else uri_of(value) if "path" in key else as_text(value)

    return {key: told(key, value) for key, value in row.items()}


class Clash(NamedTuple):
    """What the vote says of one picture: against its class with `confidence`, for class `says` with `share`."""

    picture: int
    says: int
    confidence: float
    share: float


class _Votes:
    """Who votes for what: each content one vote, shared by the classes under which it lies.

    Attributes:
        classes: their names, in order.
        codes: int64 (F,), each picture's class.
        pairs: int64 (P, 2), the different (content, class), in order. first: int64 (N + 1,), where a content's begin.
    """

    def __init__(self, contents: Numbers, names: Sequence[str], count: int) -> None:
        self.classes, self.codes = np.unique(np.array(names, dtype=object), return_inverse=True)
        self.pairs = np.unique(np.stack([contents, self.codes], axis=1), axis=0)
        self.first = np.searchsorted(self.pairs[:, 0], np.arange(count + 1))

    def counted(self, neighbours: Numbers, weights: Float64) -> tuple[Numbers, Numbers, Float64]:
        """(R, k) contents and the weights of their votes -> row, class, share of that row's vote; by row, then class; 0 for none."""
        many = (self.first[1:] - self.first[:-1])[neighbours]  # (R, k) classes of each neighbour
        total = int(many.sum())
        ends = np.cumsum(many.ravel())
        place = np.repeat(self.first[neighbours].ravel() - (ends - many.ravel()), many.ravel()) + np.arange(total)
        row = np.repeat(np.repeat(np.arange(len(neighbours)), neighbours.shape[1]), many.ravel())
        each = np.repeat((weights / many / weights.sum(axis=1, keepdims=True)).ravel(), many.ravel())
        keys: Numbers
        keys, where = np.unique(row * len(self.classes) + self.pairs[place, 1], return_inverse=True)
        return keys // len(self.classes), keys % len(self.classes), np.bincount(where, each).astype(np.float64)


def check_labels(
    vectors: Float32,
    contents: Numbers,
    names: Sequence[str],
    describe: Callable[[Sequence[int]], list[Labelled]],
    *,
    model: str,
    unlabelled: int = 0,
    neighbours: int = LABEL_NEIGHBOURS,
    say: Say | None = None,
) -> LabelCheck:
    """Hold every label against its picture's neighbours.

    Args:
        vectors: float32 (N, D), unit vectors of different contents, each of at least one picture.
        contents: int64 (F,), each picture's row of `vectors`.
        names: F classes, none of them empty.
        describe: numbers of pictures, 0 to F - 1 -> what is to be said of them; asked only for what is listed.
        neighbours: how many vote on each picture.
        say: gets (done, total), contents.

    Returns:
        all that was found; the same input gives the same answer, whatever the number of threads is, but for the last digits.
    """
    votes = _Votes(contents, names, len(vectors))
    near, cosines = nearest(vectors, neighbours, say=say)
    found = LabelCheck(model, len(names), unlabelled, near.shape[1])
    if near.shape[1] == 0:  # a single picture: nobody votes
        found.classes = [ClassFigures(str(votes.classes[0]), len(names), 0.0, 0, 0, "", 0.0)] if names else []
        return found
    clashes, agreed, flow = _vote(votes, contents, near, cosines)
    clashes.sort(key=lambda one: (-round(one.confidence, 6), -round(one.share, 6), one.picture))
    far = _far(cosines)[contents]  # bool (F,)
    similarity = cosines.mean(axis=1)[contents]  # (F,)
    outliers = sorted(np.flatnonzero(far).tolist(), key=lambda picture: (similarity[picture], picture))
    found.suspects = _suspects(votes, contents, near, cosines, clashes, describe)
    found.outliers = [Outlier(*one, float(similarity[p])) for p, one in zip(outliers, describe(outliers), strict=True)]
    found.copied = _copied(votes, contents, describe)
    found.mixed = _mixed(votes, flow)
    found.agree = float(agreed.mean())
    found.classes = _figures(votes, agreed, clashes, far, flow)
    return found


def _vote(votes: _Votes, contents: Numbers, near: Numbers, cosines: Float32) -> tuple[list[Clash], npt.NDArray[np.bool_], dict[int, float]]:
    """The clashes; which pictures (F,) the vote finds right; {class * classes + other: sum of the shares that go from one to the other}."""
    # A neighbour that is as far as the last counts e^-2 of the first: half the usual way from the first to the last is one e.
    scale = max(_LEAST, float(np.median(cosines[:, 0] - cosines[:, -1])) / 2)
    count = len(votes.classes)
    order = np.argsort(contents, kind="stable")
    begins = np.searchsorted(contents[order], np.arange(len(near) + 1))
    clashes: list[Clash] = []
    agreed = np.zeros(len(contents), bool)
    flow: dict[int, float] = {}
    for start in range(0, len(near), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(near)))
        weights = np.exp((cosines[part].astype(np.float64) - cosines[part, :1]) / scale)  # (R, k)
        row, code, share = votes.counted(near[part], weights)
        best = np.lexsort((code, -np.round(share, 9), row))
        best = best[np.searchsorted(row, np.arange(part.stop - start))]  # (R,) each row's winner
        pictures = order[begins[start] : begins[part.stop]]
        rows = contents[pictures] - start
        own = _lookup(row * count + code, share, rows * count + votes.codes[pictures])
        won, most = code[best][rows], share[best][rows]
        against = (won != votes.codes[pictures]) & (most > own + _LEAST)
        agreed[pictures] = ~against
        for i in np.flatnonzero(against).tolist():
            clashes.append(Clash(int(pictures[i]), int(won[i]), min(1.0, max(0.0, float(1 - own[i]))), min(1.0, float(most[i]))))
        _add_flow(flow, votes, pictures, rows, row, code, share)
    return clashes, agreed, flow


def _lookup(keys: Numbers, values: Float64, wanted: Numbers) -> Float64:
    """The values of these keys, which ascend; 0 where there is none."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0.0)


def _add_flow(flow: dict[int, float], votes: _Votes, pictures: Numbers, rows: Numbers, row: Numbers, code: Numbers, share: Float64) -> None:
    first = np.searchsorted(row, rows)
    many = np.searchsorted(row, rows, side="right") - first  # (F,) classes in each picture's vote
    ends = np.cumsum(many)
    place = np.repeat(first - (ends - many), many) + np.arange(int(many.sum()))
    keys, where = np.unique(np.repeat(votes.codes[pictures], many) * len(votes.classes) + code[place], return_inverse=True)
    for key, value in zip(keys.tolist(), np.bincount(where, share[place]).tolist(), strict=True):
        flow[key] = flow.get(key, 0.0) + value


def _far(cosines: Float32) -> npt.NDArray[np.bool_]:
    """(N, k) -> (N,): whose mean similarity to its nearest lies below Tukey's fence."""
    mean = cosines.mean(axis=1, dtype=np.float64)
    low, high = np.quantile(mean, [0.25, 0.75])
    return np.asarray(mean < low - _FENCE * max(high - low, _LEAST))


def _suspects(
    votes: _Votes,
    contents: Numbers,
    near: Numbers,
    cosines: Float32,
    clashes: list[Clash],
    describe: Callable[[Sequence[int]], list[Labelled]],
) -> list[Suspect]:
    """With each the nearest picture of the class that its neighbours say."""
    picture_of = {(int(c), int(k)): p for p, (c, k) in reversed(list(enumerate(zip(contents.tolist(), votes.codes.tolist(), strict=True))))}
    likes, cosine = [], []
    for one in clashes:
        row = int(contents[one.picture])
        place = next(i for i, content in enumerate(near[row].tolist()) if (content, one.says) in picture_of)
        likes.append(picture_of[int(near[row, place]), one.says])
        cosine.append(float(cosines[row, place]))
    told = zip(clashes, describe([one.picture for one in clashes]), describe(likes), cosine, strict=True)
    return [
        Suspect(*who, str(votes.classes[one.says]), one.confidence, one.share, like.id, like.path, similar)
        for one, who, like, similar in told
    ]


def _copied(votes: _Votes, contents: Numbers, describe: Callable[[Sequence[int]], list[Labelled]]) -> list[Copied]:
    several = np.flatnonzero(votes.first[1:] - votes.first[:-1] > 1)
    found = []
    for content in several.tolist():
        who = sorted(describe(np.flatnonzero(contents == content).tolist()), key=lambda one: (one.name, one.path))
        found.append(Copied([one.id for one in who], [one.path for one in who], [one.name for one in who]))
    return sorted(found, key=lambda one: (one.names, one.paths))


def _mixed(votes: _Votes, flow: dict[int, float]) -> list[Mixed]:
    """Pairs of classes of which at least a tenth of one's vote goes to the other; the larger share stands first."""
    count = len(votes.classes)
    sizes = np.bincount(votes.codes, minlength=count)
    found = []
    for key, value in flow.items():
        one, other = divmod(key, count)
        there, back = value / sizes[one], flow.get(other * count + one, 0.0) / sizes[other]
        if one != other and there >= _MIXED and (there, other) >= (back, one):
            found.append(Mixed(str(votes.classes[one]), str(votes.classes[other]), float(there), float(back)))
    return sorted(found, key=lambda pair: (-pair.share - pair.back, pair.name, pair.other))


def _figures(
    votes: _Votes, agreed: npt.NDArray[np.bool_], clashes: list[Clash], far: npt.NDArray[np.bool_], flow: dict[int, float]
) -> list[ClassFigures]:
    """A row for each class, those with which the vote agrees least first."""
    count = len(votes.classes)
    sizes = np.bincount(votes.codes, minlength=count)
    right, outliers = np.bincount(votes.codes, agreed, count), np.bincount(votes.codes, far, count)
    suspects = np.bincount([votes.codes[one.picture] for one in clashes], minlength=count)
    most: dict[int, tuple[float, int]] = {}
    for key, value in flow.items():
        one, other = divmod(key, count)
        if one != other:
            most[one] = max(most.get(one, (0.0, 0)), (value / sizes[one], -other))
    rows = []
    for code, name in enumerate(votes.classes):
        share, other = most.get(code, (0.0, 0))
        with_ = str(votes.classes[-other]) if share else ""
        rows.append(
            ClassFigures(
                str(name), int(sizes[code]), float(right[code] / sizes[code]), int(suspects[code]), int(outliers[code]), with_, float(share)
            )
        )
    return sorted(rows, key=lambda row: (row.agree, row.name))
