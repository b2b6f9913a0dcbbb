"""What a look at the labels found, as a table and as a page with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..config import CHECK_LISTED, CHECK_PICTURES
from ..paths import nfc, shown
from .html import Card, Part, Row, page
from .table import columned
from .text_fit import shorten

if TYPE_CHECKING:
    from ..tidy.labels import Copied, LabelCheck, Outlier, Suspect

__all__ = ["check_page_of", "check_table", "pictured"]

_NAME = 28  # cells of a class's name in a table of several


def check_table(found: LabelCheck) -> str:
    """The classes, then what may be wrong, the surest first; long lists are cut, and say so."""
    parts = [summary(found), _classes(found)]
    if found.mixed:
        rows = [(_name(m.name), _name(m.other), f"{m.share:.2f}", f"{m.back:.2f}") for m in found.mixed[:CHECK_LISTED]]
        parts.append(_titled("classes that mix", len(found.mixed), columned(("name", "other", "share", "back"), rows)))
    if found.suspects:
        suspects = [
            (f"{s.confidence:.2f}", _name(s.name), _name(s.says), f"{s.share:.2f}", shown(s.path)) for s in found.suspects[:CHECK_LISTED]
        ]
        parts.append(
            _titled("maybe mislabelled", len(found.suspects), columned(("against", "name", "neighbours say", "share", "uri"), suspects))
        )
    if found.outliers:
        outliers = [(f"{o.similarity:.3f}", _name(o.name), shown(o.path)) for o in found.outliers[:CHECK_LISTED]]
        parts.append(_titled("far from everything", len(found.outliers), columned(("similarity", "name", "uri"), outliers)))
    if found.copied:
        sets = [columned(("name", "uri"), _copied(copied)) for copied in found.copied[:CHECK_LISTED]]
        parts.append(_titled("the same bytes under several classes", len(found.copied), "\n\n".join(sets)))
    if found.skipped:
        lines = [f"  {shown(path)}: {why}" for path, why in found.skipped[:CHECK_LISTED]]
        parts.append(_titled("could not be read", len(found.skipped), "\n".join(lines)))
    return "\n\n".join(parts)


def _copied(copied: Copied) -> list[tuple[str, str]]:
    return [(_name(name), shown(path)) for name, path in zip(copied.names, copied.paths, strict=True)]


def summary(found: LabelCheck) -> str:
    without = f" ({found.unlabelled:,} more have none)" if found.unlabelled else ""
    agree = f"the vote of {found.neighbours} neighbours agrees with {found.agree:.0%} of the labels"
    weak = "; the model does not know these classes well: trust only the surest" if found.agree < 0.7 else ""
    return f"{found.images:,} images in {len(found.classes):,} classes{without}; {agree}{weak}"


def _classes(found: LabelCheck) -> str:
    rows = [
        (_name(c.name), f"{c.images:,}", f"{c.agree:.2f}", f"{c.suspects:,}", f"{c.outliers:,}", _mix(c.mixes_with, c.share))
        for c in found.classes[: 3 * CHECK_LISTED]
    ]
    return _titled("classes", len(found.classes), columned(("name", "images", "agree", "suspects", "far", "rest goes to"), rows), len(rows))


def _mix(name: str, share: float) -> str:
    return f"{_name(name)} {share:.2f}" if name and share >= 0.005 else ""


def _name(name: str) -> str:
    return shorten(shown(nfc(name)), _NAME) or "-"


def _titled(title: str, count: int, table: str, listed: int = CHECK_LISTED) -> str:
    more = f", the first {listed}" if count > listed else ""
    return f"{title}: {count:,}{more}\n{table}"


# The page.


def pictured(found: LabelCheck) -> list[tuple[str, str]]:
    """(id, path) of every picture that the page shows."""
    first = found.suspects[:CHECK_PICTURES]
    pairs = [(s.id, s.path) for s in first] + [(s.like, s.like_path) for s in first]
    pairs += [(o.id, o.path) for o in found.outliers[:CHECK_PICTURES]]
    return pairs + [pair for c in found.copied[:CHECK_PICTURES] for pair in zip(c.ids, c.paths, strict=True)]


def check_page_of(found: LabelCheck, pictures: Mapping[str, bytes]) -> str:
    """The whole page; `pictures`: WebP by path."""
    head = ("class", "images", "agree", "suspects", "far", "rest of its vote")
    table = [
        head,
        *(
            (c.name, f"{c.images:,}", f"{c.agree:.2f}", str(c.suspects), str(c.outliers), _mix(c.mixes_with, c.share))
            for c in found.classes
        ),
    ]
    mixed = [("class", "other", "share", "back"), *((m.name, m.other, f"{m.share:.2f}", f"{m.back:.2f}") for m in found.mixed)]
    parts = [
        Part(
            _counted("Maybe mislabelled", len(found.suspects)),
            "Left the picture with the class it has, right the nearest one of the class that its neighbours say.",
            rows=[_suspect(s, pictures) for s in found.suspects[:CHECK_PICTURES]],
        ),
        Part(
            _counted("Far from everything", len(found.outliers)),
            "Similarity: mean to its nearest pictures, of any class.",
            rows=[Row("", [_outlier(o, pictures) for o in found.outliers[:CHECK_PICTURES]])] if found.outliers else [],
        ),
    ]
    if found.copied:
        rows = [
            Row("", [_card(path, name, pictures) for path, name in zip(c.paths, c.names, strict=True)])
            for c in found.copied[:CHECK_PICTURES]
        ]
        parts.insert(0, Part(_counted("The same bytes under several classes", len(found.copied)), rows=rows))
    parts += [Part("Classes that mix", table=mixed)] if found.mixed else []
    return page("Labels", [summary(found), f"Model: {found.model}"], [*parts, Part("Classes", table=table)])


def _counted(title: str, count: int) -> str:
    return f"{title}: {count:,}" + (f", the first {CHECK_PICTURES}" if count > CHECK_PICTURES else "")


def _suspect(s: Suspect, pictures: Mapping[str, bytes]) -> Row:
    against = f"{s.confidence:.0%} of the vote goes against {s.name}, {s.share:.0%} is for {s.says}"
    return Row(against, [_card(s.path, s.name, pictures), _card(s.like_path, s.says, pictures, f"similarity {s.similarity:.3f}")])


def _outlier(o: Outlier, pictures: Mapping[str, bytes]) -> Card:
    return _card(o.path, o.name, pictures, f"similarity {o.similarity:.3f}")


def _card(path: str, name: str, pictures: Mapping[str, bytes], *lines: str) -> Card:
    return Card(pictures.get(path), name, (*lines, *_file(path)), path=path, missing="its file cannot be read")


def _file(path: str) -> Sequence[str]:
    return [path.replace("\\", "/").rsplit("/", 1)[-1]] if path else []
