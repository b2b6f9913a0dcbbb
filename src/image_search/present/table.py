"""Results and reports as plain text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..advice import Advice, Named, Setting, Verb, in_python, told
from ..config import SKIPPED_EXAMPLES
from ..images.formats import extra_for, unread_extensions
from ..paths import nfc, shown
from ..types import IndexReport, Match, Passed, Skipped, Vote
from .text_fit import cells, number, shorten

if TYPE_CHECKING:
    from ..cluster.embed import DatasetReport
    from ..evaluate.run import Evaluation
    from ..evaluate.words import WordFigures
    from ..index.reembed import ReembedReport
    from ..models import Tag

__all__ = [
    "changes_line",
    "columned",
    "columns_table",
    "dataset_table",
    "evaluation_table",
    "marks",
    "matches_table",
    "measures",
    "outdated_line",
    "passed_lines",
    "reembed_table",
    "report_table",
    "tags_words",
]

NONE = "-"
_MOST_TAGS = 8  # that the summary of an index run names
GAP = "  "
NARROWEST_NAME, NARROWEST_URI = 8, 16  # cells
LEFT = {"kind", "name", "note", "uri", "model", "other", "neighbours say", "rest goes to"}


def matches_table(matches: Sequence[Match], *, width: int | None = None, vote: Vote | None = None) -> str:
    """One line a match under a line of headings; "nothing similar" for none.

    Args:
        width: cells of the terminal; uri and name are then shortened in their middle, and where that leaves too little of them the
            uri gets a line of its own. None: nothing is shortened (pipe, file).
        vote: the most likely class, for a last line.

    Control and direction characters are escaped, so that no file name can play with the terminal.
    """
    if not matches:
        return "nothing similar"
    columns: dict[str, list[str]] = {
        "rank": [str(m.rank) for m in matches],
        "name": [shown(nfc(m.name)) or NONE for m in matches],
        **{measure: [measures(m)[measure] or NONE for m in matches] for measure in _shown_of(matches)},
        "note": [", ".join(marks(m)) for m in matches],
        "uri": [shown(m.uri) for m in matches],
    }
    if not any(columns["note"]):
        del columns["note"]
    said = [] if vote is None else [f"most likely class: {shown(nfc(vote.name))} ({vote.votes:,} of {vote.of:,})"]
    if width is None:
        return "\n".join([*_lines(columns), *said])
    if _of_numbers(columns) + NARROWEST_NAME + len(GAP) + NARROWEST_URI <= width:
        _narrow(columns, width)
        return "\n".join([*_lines(columns), *said])
    return "\n".join([*_below(columns, width), *said])


def _shown_of(matches: Sequence[Match]) -> tuple[str, ...]:
    """Where words have a probability it stands in the place of closeness, which they never have."""
    return "similarity", "distance", "closeness" if all(match.probability is None for match in matches) else "probability"


def measures(match: Match) -> dict[str, str]:
    """Similarity, distance, closeness and probability as they are shown; "" where there is none. The first two add up to 1."""
    similarity = number(match.similarity)
    closeness = "" if match.closeness is None else number(match.closeness, 2)
    probability = "" if match.probability is None else number(match.probability)
    return {"similarity": similarity, "distance": f"{1 - float(similarity):.3f}", "closeness": closeness, "probability": probability}


def marks(match: Match) -> list[str]:
    """What sets a match apart: "identical", "offline", "gone", "as mirrored", "+2 the same"."""
    states = (("identical", match.identical), ("offline", match.offline), ("gone", match.gone))
    more = [f"as {match.variant}"] if match.variant else []
    more += [f"+{len(match.also)} the same"] if match.also else []
    return [word for word, is_so in states if is_so] + more


def _lines(columns: dict[str, list[str]]) -> Iterator[str]:
    """The headings, then the rows, aligned."""
    widths = {title: _width(title, texts) for title, texts in columns.items()}
    for row in [list(columns), *zip(*columns.values(), strict=True)]:
        yield GAP.join(_pad(text, widths[title], title) for title, text in zip(columns, row, strict=True)).rstrip()


def columned(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A small table: numbers to the right, names and paths to the left."""
    columns = dict(zip(titles, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    return "\n".join(f"  {line}" for line in _lines(columns)) if columns else ""


def _width(title: str, texts: Sequence[str]) -> int:
    return max(cells(title), *(cells(text) for text in texts))


def _pad(text: str, width: int, title: str) -> str:
    blank = " " * (width - cells(text))
    return text + blank if title in LEFT else blank + text


def _of_numbers(columns: dict[str, list[str]]) -> int:
    """Cells of a line that the names and uris do not get."""
    return sum(_width(t, texts) + len(GAP) for t, texts in columns.items() if t not in ("name", "uri"))


def _narrow(columns: dict[str, list[str]], width: int) -> None:
    """Shorten names and uris, the names to half of what the numbers leave them, so that the lines fit `width` cells."""
    room = width - _of_numbers(columns) - len(GAP)
    name = min(_width("name", columns["name"]), max(NARROWEST_NAME, min(room // 2, room - NARROWEST_URI)))
    columns["name"] = [shorten(text, name) for text in columns["name"]]
    uri = max(NARROWEST_URI, room - _width("name", columns["name"]))
    columns["uri"] = [shorten(text, uri) for text in columns["uri"]]


def _below(columns: dict[str, list[str]], width: int) -> Iterator[str]:
    """Each uri in a line below its numbers; what says least goes first until these fit, too."""
    uris = columns.pop("uri")
    for least in ("distance", "closeness", "note"):
        if _of_numbers(columns) + NARROWEST_NAME <= width:
            break
        columns.pop(least, None)
    name = min(_width("name", columns["name"]), max(1, width - _of_numbers(columns)))
    head, *lines = _lines({t: [shorten(text, name) for text in texts] if t == "name" else texts for t, texts in columns.items()})
    yield head
    for line, uri in zip(lines, uris, strict=True):
        yield line
        yield GAP + shorten(uri, max(1, width - len(GAP)))


def evaluation_table(evaluations: Sequence[Evaluation]) -> str:
    """One line a model."""
    figures: dict[str, Callable[[Evaluation], str]] = {
        "images": lambda e: f"{e.images:,}",
        "classes": lambda e: f"{e.classes:,}",
        "k1": lambda e: f"{e.k1:.3f}",
        "k5": lambda e: f"{e.k5:.3f}",
        "P@10": lambda e: f"{e.p10:.3f}",
        "mAP@100": lambda e: f"{e.map100:.3f}",
        "copies": lambda e: f"{e.copies['mean']:.3f}",
        "store": lambda e: f"{e.store_recall10:.3f}",
        "decode ms": lambda e: f"{e.decode_ms:.1f}",
        "embed ms": lambda e: f"{e.embed_ms:.1f}",
    }
    columns = {"model": [shown(e.model) for e in evaluations]} | {t: [say(e) for e in evaluations] for t, say in figures.items()}
    if any(e.words is not None for e in evaluations):
        of_words: dict[str, Callable[[WordFigures], float]] = {
            "words": lambda w: w.accuracy, "words P@10": lambda w: w.p10, "words mAP": lambda w: w.map
        }  # fmt: skip
        columns |= {t: ["" if e.words is None else f"{say(e.words):.3f}" for e in evaluations] for t, say in of_words.items()}
    remarks = [f"{e.skipped:,} files could not be read" for e in evaluations[:1] if e.skipped]
    for one in evaluations:
        if one.words is not None and one.words.classes < one.words.of:
            remarks.append(f"words: of the {one.words.classes:,} of {one.words.of:,} class names that {shown(one.model)} knows")
    return "\n".join([*_lines(columns), *remarks])


def report_table(report: IndexReport, *, say: Callable[[Named], str] = in_python) -> str:
    """The summary of an `index` run: the counts that are not zero, then what was skipped by reason, with examples and the way out.

    Args:
        say: how a setting or a verb in a hint is said.
    """
    counts = ("added", "updated", "moved", "unchanged", "missing", "offline", "excluded", "pruned", "renewed", "embedded", "dated")
    lines = [f"{word:<10}{getattr(report, word):>9,}" for word in counts if getattr(report, word)]
    lines += [f"{note:<10}{pictures:>9,}" for note, pictures in sorted(report.notes.items())]
    if report.skipped:
        lines.append(f"{'skipped':<10}{len(report.skipped):>9,}")
        lines += _skipped_lines(report.skipped, say)
    if not lines:
        lines.append("no images found")
    lines += passed_lines(report.passed)
    if report.outdated:
        lines.append(outdated_line(report.outdated, say))
    if report.tags:
        lines.append(_tags_line(report.tags))
    return "\n".join([*lines, f"{'took':<10}{report.seconds:>9,.1f} s"])


def dataset_table(report: DatasetReport) -> str:
    """The summary of a run into a data set: the counts that are not zero, then why pictures have no vector."""
    counts = ("images", "vectors", "embedded", "blocks", "made", "pruned")
    lines = [f"{word:<10}{getattr(report, word):>9,}" for word in counts if getattr(report, word) or word in ("images", "embedded")]
    if report.refused:
        lines.append(f"{'refused':<10}{sum(report.refused.values()):>9,}")
        lines += [f"  {count:,} {reason}" for reason, count in report.refused.items()]
    lines += [f"{report.passed:,} other files passed by"] if report.passed else []
    left_out = {"nameless": "without an address", "foreign": "of a kind of address that is not known", "repeated": "named before"}
    lines += [f"{'left out':<10}{number:>9,}  {words}" for name, words in left_out.items() if (number := getattr(report, name))]
    lines += [f"cannot be read: {shown(folder)}" for folder in report.unread]
    return "\n".join([*lines, f"{'took':<10}{report.seconds:>9,.1f} s"])


def tags_words(tags: Sequence[Tag]) -> str:
    """What a picture shows: "tabby cat (얼룩 고양이) 87%, ...", or that it cannot be told."""
    return ", ".join(f"{tag.name} ({tag.korean}) {tag.probability:.0%}" for tag in tags) or "I do not know"


def _tags_line(found: Mapping[str, Sequence[Tag]]) -> str:
    """What most pictures show: each counts with what is said of it first."""
    first = Counter(tags[0].name for tags in found.values() if tags)
    most = ", ".join(f"{name} {pictures:,}" for name, pictures in first.most_common(_MOST_TAGS))
    unsure = len(found) - first.total()
    more = [*([most + (", ..." if len(first) > _MOST_TAGS else "")] if most else []), *([f"I do not know {unsure:,}"] if unsure else [])]
    return f"{'tagged':<10}{len(found):>9,}  {'; '.join(more)}"


def reembed_table(report: ReembedReport, *, say: Callable[[Named], str] = in_python) -> str:
    """The summary of a `reembed` run, as `report_table` has that of an `index` run."""
    counts = ("images", "pictures", "embedded", "updated", "gone", "unreachable", "without")
    was = f"was {shown(report.before)}" if report.before != report.model else "as it is now"
    lines = [f"model {shown(report.model)}, {was}"]
    lines += [f"{word:<11}{getattr(report, word):>8,}" for word in counts if getattr(report, word)]
    if report.unreachable:
        lines.append(f"  without a vector until they can be read: {say(Verb('index', ('FOLDER',)))}")
    if report.skipped:
        lines.append(f"{'skipped':<11}{len(report.skipped):>8,}")
        lines += _skipped_lines(report.skipped, say)
    return "\n".join([*lines, f"{'took':<11}{report.seconds:>8,.1f} s"])


def changes_line(report: IndexReport) -> str:
    """What an index run has changed, in one line; "" for nothing."""
    counts = ("added", "updated", "moved", "missing", "excluded", "pruned", "renewed")
    said = [f"{getattr(report, word):,} {word}" for word in counts if getattr(report, word)]
    return ", ".join([*said, *([f"{len(report.skipped):,} skipped"] if said and report.skipped else [])])


def columns_table(columns: Sequence[tuple[str, str, int]]) -> str:
    """The columns of the user's own tables: name, kind, how many different images have a value."""
    if not columns:
        return "no columns"
    texts = {"name": [shown(name) for name, _, _ in columns], "kind": [kind for _, kind, _ in columns]}
    return "\n".join(_lines(texts | {"images": [f"{images:,}" for _, _, images in columns]}))


def passed_lines(passed: Sequence[Passed]) -> list[str]:
    """How many files nobody looked at, and by which rule; of formats that are not read each ending."""
    if not passed:
        return []
    more = "+" if any(one.more for one in passed) else ""
    lines = [f"{'passed by':<10}{sum(one.files for one in passed):>9,}{more}"]
    for rule in dict.fromkeys(one.rule for one in passed):
        mine = [one for one in passed if one.rule == rule]
        least = "at least " if any(one.more for one in mine) else ""
        endings = ", ".join(f"{_ending(one.detail)} {one.files:,}" for one in mine if one.detail)
        lines.append(f"  {least}{sum(one.files for one in mine):,} {rule}{f': {endings}' if endings else ''}")
    return lines


def _ending(detail: str) -> str:
    name, extra = unread_extensions().get(detail), extra_for(detail)
    words = f"{name}, read with the extra [{extra}]" if extra else name
    return f"{detail} ({words})" if words else detail


def outdated_line(outdated: Mapping[str, int], say: Callable[[Named], str]) -> str:
    """That newer pixel rules could show these pictures otherwise."""
    formats = ", ".join(f"{format} {pictures:,}" for format, pictures in sorted(outdated.items(), key=lambda one: (-one[1], one[0])))
    told_how = told(Advice("renew them with ", Setting("reread", "True")), say)
    return f"{'outdated':<10}{sum(outdated.values()):>9,} could look different by today's rules ({formats}); {told_how}"


def _skipped_lines(skipped: Sequence[Skipped], say: Callable[[Named], str]) -> list[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for s in skipped:
        groups.setdefault((s.reason, told(s.hint, say)), []).append(s.path)
    lines = []
    for (reason, hint), paths in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"  {len(paths):,} {reason}" + (f": {hint}" if hint else ""))
        lines += [f"    {shown(path)}" for path in paths[:SKIPPED_EXAMPLES]]
        if len(paths) > SKIPPED_EXAMPLES:
            lines.append(f"    and {len(paths) - SKIPPED_EXAMPLES:,} more")
    return lines
