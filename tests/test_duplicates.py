"""Groups of copies: which there are, which is the best, what is remembered, and how it is shown."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from inprocess import Answer
from pictures import fill, picture
from PIL import Image, ImageOps

from image_search import ImageSearchEngine, QueryError, UsageError
from image_search.library.pairs import FoundPairs
from image_search.library.salvage import salvage
from image_search.present.duplicates import DUPLICATES_SCHEMA, KINDS, WHY, duplicates_table
from image_search.present.duplicates_page import duplicates_page
from image_search.testing import quick_engine
from image_search.tidy.copies import Kind, Prepared, Verdict
from image_search.tidy.duplicates import Duplicates
from image_search.tidy.found import Copies, Pair
from image_search.tidy.groups import Why, beside, stars, untested


class Eye:
    """Stands in for `compare`, which has tests of its own: the same small grey picture, or mirrored. Counts."""

    def __init__(self) -> None:
        self.looked = 0

    def __call__(self, one: Prepared, other: Prepared) -> Verdict:
        self.looked += 1
        small = [np.asarray(Image.fromarray(p.grey).resize((8, 6), Image.Resampling.BOX), np.int16) for p in (one, other)]
        if np.abs(small[0] - small[1]).mean() < 3:
            return Verdict(Kind.SAME_PICTURE)
        if np.abs(small[0] - small[1][:, ::-1]).mean() < 3:
            return Verdict(Kind.CHANGED_COPY, "mirrored")
        return Verdict(None)


@pytest.fixture(autouse=True)
def eye(monkeypatch: pytest.MonkeyPatch) -> Eye:
    eye = Eye()
    monkeypatch.setattr("image_search.tidy.found.compare", eye)
    return eye


@pytest.fixture
def copies(photos: Path) -> Path:
    """Beside 12 pictures: of circle/0 the same file, a smaller one and a mirrored one; of square/1 a JPEG."""
    first = Image.open(photos / "circle" / "0.png")
    place = photos / "copies"
    place.mkdir()
    shutil.copy(photos / "circle" / "0.png", place / "same.png")
    first.resize((80, 60)).save(place / "small.png")
    ImageOps.mirror(first).save(place / "mirrored.png")
    Image.open(photos / "square" / "1.png").save(place / "square.jpg", quality=90)
    return photos


@pytest.fixture
def indexed(engine: ImageSearchEngine, copies: Path) -> ImageSearchEngine:
    engine.index(copies, progress=False)
    return engine


def names(found: Duplicates) -> list[list[tuple[str, str]]]:
    """Of each group each file's name and what it is."""
    return [[(Path(m["uri"]).name, m["change"] or m["kind"]) for m in group["members"]] for group in found.to_dict()["groups"]]


CIRCLE = [("0.png", "best"), ("same.png", "same bytes"), ("small.png", "same picture"), ("mirrored.png", "mirrored")]
SQUARE = [("1.png", "best"), ("square.jpg", "same picture")]


def test_groups_are_told_apart_and_name_their_best(indexed: ImageSearchEngine, photos: Path) -> None:
    os.utime(photos / "copies" / "same.png", (2e9, 2e9))
    indexed.index(photos, progress=False)
    found = indexed.duplicates(progress=False)
    assert names(found) == [CIRCLE, SQUARE]
    assert [group.why for group in found] == [Why.DATE, Why.FORMAT]
    assert found[0].best.item.path == str(photos / "circle" / "0.png")
    assert [member.similarity for member in found[0].members[:2]] == [1.0, 1.0] and found[0].members[3].kind is Kind.CHANGED_COPY
    assert found.rest_bytes == sum(os.path.getsize(photos / "copies" / name) for name in os.listdir(photos / "copies"))
    answer = found.to_dict()
    jsonschema.validate(answer, DUPLICATES_SCHEMA)
    assert list(answer) == DUPLICATES_SCHEMA["required"]
    assert json.loads(json.dumps(answer)) == answer and str(found) == duplicates_table(answer)
    assert tuple(Why) == WHY and KINDS[1:] == tuple(Kind)


# Work


def test_what_is_known_is_not_compared_again(indexed: ImageSearchEngine, copies: Path, eye: Eye) -> None:
    first = indexed.duplicates(progress=False)
    assert (first.contents, first.compared, first.remembers) == (15, 15, True)
    assert 60 < first.looked_at <= 15 * 14 / 2
    eye.looked = 0
    again = indexed.duplicates(progress=False)
    assert (again.compared, again.looked_at, eye.looked) == (0, 0, 0) and names(again) == names(first)
    picture("circle", 77).save(copies / "circle" / "new.png")
    indexed.index(copies, progress=False)
    one_more = indexed.duplicates(progress=False)
    assert one_more.compared == 1 and 12 <= one_more.looked_at <= 15 and eye.looked == one_more.looked_at
    assert names(one_more) == names(first)


def test_who_lost_a_neighbour_is_compared_again_and_nothing_is_looked_at_twice(indexed: ImageSearchEngine, copies: Path, eye: Eye) -> None:
    indexed.duplicates(progress=False)
    (copies / "copies" / "small.png").unlink()
    indexed.index(copies, progress=False)
    eye.looked = 0
    found = indexed.duplicates(progress=False)
    assert names(found)[0] == [one for one in CIRCLE if one[0] != "small.png"]
    assert found.compared > 0 and eye.looked < 15, "only pairs that had no place before"
    eye.looked = 0
    assert indexed.duplicates(progress=False).compared == 0 and eye.looked == 0


def test_only_pairs_of_the_folders_that_are_asked_about_are_looked_at(indexed: ImageSearchEngine, copies: Path, eye: Eye) -> None:
    found = indexed.duplicates(copies / "copies", progress=False)
    assert names(found) == [[("same.png", "best"), ("small.png", "same picture"), ("mirrored.png", "mirrored")]]
    assert found.looked_at == 6
    assert names(indexed.duplicates(progress=False)) == [CIRCLE, SQUARE]
    with pytest.raises(UsageError, match="no image in this folder"):
        indexed.duplicates([copies, copies / "nothing"], progress=False)


@pytest.mark.parametrize("damage", ["lost", "no database", "another's table", "odd values", "another model"])
def test_the_list_of_pairs_may_be_lost(indexed: ImageSearchEngine, damage: str, eye: Eye) -> None:
    first = names(indexed.duplicates(progress=False))
    file = indexed.library / "pairs.sqlite"
    if damage == "lost":
        file.unlink()
    elif damage == "no database":
        file.write_bytes(b"no database" * 1000)
    else:
        with sqlite3.connect(file) as db:
            if damage == "another's table":
                db.execute("CREATE TABLE more (x)")
            elif damage == "another model":
                db.execute('UPDATE made_by SET facts = replace(facts, \'"model": "\', \'"model": "x\')')
            else:
                db.execute("UPDATE pairs SET kind = 7, similarity = 'x' WHERE one < 9")
                db.execute("UPDATE compared SET sha256 = 'text' || id WHERE id < 4")
        db.close()
    eye.looked = 0
    found = indexed.duplicates(progress=False)
    assert found.remembers
    if damage != "odd values":  # a stranger's file may hide pairs, and does no other harm
        assert names(found) == first and found.compared == 15 and eye.looked > 60


def test_who_comes_second_answers_and_says_that_it_cannot_remember(indexed: ImageSearchEngine, capsys: pytest.CaptureFixture[str]) -> None:
    with FoundPairs(indexed.library) as held:
        found = indexed.duplicates(progress=False)
        assert held.remembers and not found.remembers and names(found) == [CIRCLE, SQUARE]
        assert any("not remembered" in line for line in found.remarks())
        assert held.compared() == {}
    assert indexed.duplicates(progress=False).compared == 15
    with FoundPairs(indexed.library):
        assert indexed.duplicates(progress=False).compared == 0, "what another one keeps is read"


def test_a_stop_keeps_what_was_seen(indexed: ImageSearchEngine, eye: Eye, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if what == "look closer" and done < total:
            raise StopError

    first = indexed.duplicates(progress=False).looked_at
    (indexed.library / "pairs.sqlite").unlink()
    monkeypatch.setattr("image_search.tidy.found._AT_ONCE", 10)
    with pytest.raises(StopError):
        indexed.duplicates(progress=stop)
    eye.looked = 0
    found = indexed.duplicates(progress=False)
    assert names(found) == [CIRCLE, SQUARE] and found.compared == 0 and 0 < found.looked_at == first - 10


# Which files count


def test_files_that_are_gone_or_changed_are_in_no_group(indexed: ImageSearchEngine, copies: Path) -> None:
    (copies / "circle" / "0.png").unlink()
    (copies / "square" / "1.png").write_bytes(b"something else")
    found = indexed.duplicates(progress=False)
    assert names(found) == [[("same.png", "best"), ("small.png", "same picture"), ("mirrored.png", "mirrored")]]
    assert found.absent == 2 and "2 files left out" in found.remarks()[0]


def test_two_names_of_one_file_are_no_copies(engine: ImageSearchEngine, photos: Path) -> None:
    """Whoever deletes "the rest" must not delete the only one."""
    os.link(photos / "circle" / "0.png", photos / "circle" / "again.png")
    engine.index(photos, progress=False)
    assert names(engine.duplicates(progress=False)) == []


def test_preferred_folders_overrule(indexed: ImageSearchEngine, copies: Path) -> None:
    found = indexed.duplicates(prefer=copies / "copies", progress=False)
    assert [names(found)[0][0], names(found)[1][0]] == [("same.png", "best"), ("square.jpg", "best")]
    assert [group.why for group in found] == [Why.PIXELS, Why.PREFERRED], "of those preferred as well the mirrored one was made later"


def test_across_two_folders(indexed: ImageSearchEngine, copies: Path) -> None:
    found = indexed.duplicates(across=(copies / "circle", copies / "copies"), progress=False)
    assert names(found) == [CIRCLE] and found[0].why is Why.PREFERRED
    turned = indexed.duplicates(across=(copies / "copies", copies / "circle"), progress=False)
    assert names(turned) == [[("same.png", "best"), ("0.png", "same bytes")]], "of each file of the second folder where it is in the first"
    assert names(indexed.duplicates(across=(copies / "circle", copies / "square"), progress=False)) == []
    for wrong in ([copies], [copies, copies], [copies / "circle", copies / "square", copies]):
        with pytest.raises(UsageError, match="two different folders"):
            indexed.duplicates(across=wrong, progress=False)


def test_kinds_and_days(indexed: ImageSearchEngine, copies: Path) -> None:
    found = indexed.duplicates(kinds="same bytes", progress=False)
    assert names(found) == [CIRCLE[:2]] and (found.compared, found.looked_at) == (0, 0), "the hashes tell"
    assert names(indexed.duplicates(kinds=["changed copy"], progress=False)) == [[CIRCLE[0], CIRCLE[3]]]
    for path in copies.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    os.utime(copies / "copies" / "square.jpg", (1.1e9, 1.1e9))  # 2004
    indexed.index(copies, progress=False)
    assert names(indexed.duplicates(since="2003-01-01", progress=False)) == [SQUARE]
    assert names(indexed.duplicates(since="2005-01-01", progress=False)) == []
    for wrong in ("yesterday", "2003-1", "2003-13-01"):
        with pytest.raises(UsageError, match="since"):
            indexed.duplicates(since=wrong, progress=False)
    with pytest.raises(UsageError, match="kinds"):
        indexed.duplicates(kinds="twins", progress=False)


@pytest.mark.parametrize("count", [1, 2, 4, 49])
def test_libraries_of_any_size(engine: ImageSearchEngine, tmp_path: Path, count: int) -> None:
    (tmp_path / "some").mkdir()
    for number in range(count):
        picture("circle", number).save(tmp_path / "some" / f"{number}.png", compress_level=1)
    engine.index(tmp_path / "some", progress=False)
    assert len(engine.duplicates(progress=False)) == 0
    for number in range(1, count):
        shutil.copy(tmp_path / "some" / "0.png", tmp_path / "some" / f"{number}.png")
    engine.index(tmp_path / "some", progress=False)
    assert [len(group.members) for group in engine.duplicates(progress=False)] == ([count] if count > 1 else [])
    engine.forget(tmp_path / "some")
    found = engine.duplicates(progress=False)
    assert (len(found), found.contents) == (0, 0) and str(found) == "no copies found"


# Decisions


def test_not_the_same_is_remembered_by_content(indexed: ImageSearchEngine, copies: Path) -> None:
    decided = indexed.decide("not the same", copies / "circle" / "0.png", copies / "copies" / "mirrored.png")
    assert indexed.decide("not the same", copies / "copies" / "mirrored.png", copies / "copies" / "same.png") == decided, (
        "the same pictures"
    )
    assert names(indexed.duplicates(progress=False))[0] == CIRCLE[:3]
    (copies / "moved").mkdir()
    for name in ("same.png", "mirrored.png"):
        (copies / "copies" / name).rename(copies / "moved" / f"new {name}")
    indexed.index(copies, progress=False)
    indexed.rebuild()
    assert [name for name, _ in names(indexed.duplicates(progress=False))[0]] == ["0.png", "new same.png", "small.png"]
    (listed,) = indexed.decisions()
    assert (listed.number, listed.word) == (1, "not the same") and str(copies / "moved" / "new mirrored.png") in listed.uris
    indexed.undo_decision(1)
    assert indexed.decisions() == [] and len(names(indexed.duplicates(progress=False))[0]) == 4
    with pytest.raises(UsageError, match="no decision 1"):
        indexed.undo_decision(1)


def test_leave_these(indexed: ImageSearchEngine, copies: Path) -> None:
    indexed.decide("leave", copies / "square" / "1.png", copies / "copies" / "square.jpg")
    indexed.decide("leave", "id:1")  # circle/0.png: its copies of the same bytes
    assert indexed.decisions()[1].uris == (str(copies / "circle" / "0.png"),)
    assert names(indexed.duplicates(progress=False)) == [[CIRCLE[0], *CIRCLE[2:]]]
    (copies / "square" / "1.png").unlink()
    indexed.index(copies, progress=False)
    indexed.forget(copies / "copies")
    assert indexed.decisions()[0].uris == ("", ""), "one is missing, the other one left the library"


def test_decisions_that_make_no_sense(indexed: ImageSearchEngine, copies: Path, tmp_path: Path) -> None:
    picture("square", 99).save(tmp_path / "stranger.png")
    first, same = copies / "circle" / "0.png", copies / "copies" / "same.png"
    wrong: list[tuple[str, tuple[str | Path, ...], type[Exception], str]] = [
        ("not the same", (first,), UsageError, "one picture alone"),
        ("not the same", (first, same), UsageError, "same bytes"),
        ("leave", (), UsageError, "no picture"),
        ("leave", (first, first.parent / ".." / "circle" / "0.png"), UsageError, "named twice"),
        ("not the same", ("id:1", "id:1"), UsageError, "named twice"),
        ("keep", (first,), UsageError, "word must be one of"),
        ("leave", (tmp_path / "stranger.png",), QueryError, "not in the library"),
        ("leave", (tmp_path / "nothing.png",), QueryError, "no such file"),
        ("leave", ("id:999",), QueryError, "no image id:999"),
    ]
    for word, pictures, kind, text in wrong:
        with pytest.raises(kind, match=text):
            indexed.decide(word, *pictures)
    assert indexed.decisions() == []


def test_decisions_are_saved_from_a_damaged_catalog(indexed: ImageSearchEngine, copies: Path, tmp_path: Path) -> None:
    indexed.decide("leave", "id:1", "id:2", "id:3")
    indexed.decide("not the same", "id:4", "id:5")
    before = indexed.decisions()
    indexed.close()
    salvage(indexed.library, tmp_path / "saved")
    with quick_engine(tmp_path / "saved") as saved:
        assert saved.decisions() == before and saved.verify() == []


def test_a_decision_of_an_unknown_word_is_left_alone(indexed: ImageSearchEngine) -> None:
    indexed.decide("leave", "id:1")
    indexed.close()
    with sqlite3.connect(indexed.library / "catalog.sqlite") as db:
        db.execute("INSERT INTO decisions VALUES (2, zeroblob(32), 'of a later version', 5)")
    db.close()
    assert [one.number for one in indexed.decisions()] == [1]
    assert indexed.decide("leave", "id:2").number == 3


# Stars


def known(*pairs: tuple[int, int]) -> Copies:
    found = Copies()
    for one, other in pairs:
        found.pairs[one, other] = Pair(Kind.SAME_PICTURE, "there", "back", 0.9)
        found._now.add((one, other))
    return found


def grouped(order: list[int], found: Copies) -> dict[int, list[int]]:
    return stars(order, beside(found, lambda *_: True), lambda c: True, lambda c: True)


def test_a_copy_of_a_copy_is_none() -> None:
    chain = known((1, 2), (2, 3), (3, 4), (4, 5))
    assert grouped([1, 2, 3, 4, 5], chain) == {1: [2], 3: [4], 5: []}
    assert grouped([3, 1, 2, 4, 5], chain) == {3: [2, 4], 1: [], 5: []}


def test_what_hangs_together_is_held_against_its_best() -> None:
    chain = known((1, 2), (2, 3))
    found = grouped([1, 2, 3], chain)
    assert untested(found, beside(chain, lambda *_: True), chain) == [(1, 3)]
    chain._now.add((1, 3))
    assert untested(found, beside(chain, lambda *_: True), chain) == []
    apart = known((1, 2), (3, 4))
    assert untested(grouped([1, 2, 3, 4], apart), beside(apart, lambda *_: True), apart) == []


def test_two_crowds_of_one_picture_find_each_other() -> None:
    """Each has more copies than neighbours are looked for, all in its own crowd."""
    crowds = known(*((1, n) for n in range(2, 15)), *((100, n) for n in range(101, 114)))
    order = [*range(1, 15), *range(100, 114)]
    assert untested(grouped(order, crowds), beside(crowds, lambda *_: True), crowds) == [(1, 100)]


def test_many_copies_of_one_picture_are_one_group(engine: ImageSearchEngine, tmp_path: Path, eye: Eye) -> None:
    (tmp_path / "many").mkdir()
    shot = picture("circle", 1)
    for quality in range(40):
        shot.save(tmp_path / "many" / f"{quality:02}.jpg", quality=50 + quality)
    engine.index(tmp_path / "many", progress=False)
    found = engine.duplicates(progress=False)
    assert [len(group.members) for group in found] == [40]
    assert eye.looked < 40 * 39 / 2, "not each with each"


# The command, and how it is shown


@pytest.fixture
def ready(run: Callable[..., Answer], copies: Path) -> Iterator[Path]:
    assert run("index", copies, "--store", "exact").code == 0
    yield copies


def test_the_command(run: Callable[..., Answer], ready: Path, tmp_path: Path) -> None:
    shown = run("duplicates")
    assert shown.code == 0 and "2 groups, 6 files; beside the best 4 files" in shown.out and "copy, mirrored" in shown.out
    answer = json.loads(run("duplicates", "--json").out)
    jsonschema.validate(answer, DUPLICATES_SCHEMA)
    rows = list(csv.DictReader(io.StringIO(run("duplicates", "--csv").out)))
    assert len(rows) == 6 and rows[0]["why"] and rows[1]["path"].endswith(".png") and {row["group"] for row in rows} == {"1", "2"}
    rest = run("duplicates", "--prefer", ready / "circle", "--list-rest").out.splitlines()
    assert rest == [str(ready / "copies" / name) for name in ("same.png", "small.png", "mirrored.png", "square.jpg")]
    across = run("duplicates", "--across", ready / "circle", ready / "copies", "--kind", "bytes", "--list-rest")
    assert across.out.splitlines() == [str(ready / "copies" / "same.png")]
    for wrong in (
        ("--json", "--csv"),
        ("--null",),
        ("--html", tmp_path / "page.txt"),
        ("--since", "soon"),
        ("--across", ready, ready),
        ("--prefer", "/nope"),
    ):
        refused = run("duplicates", *wrong)
        assert refused.code == 2 and len(refused.err.splitlines()) <= 4, refused.err
    assert "no image in this folder" in run("duplicates", "--prefer", "/nope").err
    assert run("duplicates", "--since", "2024").out == shown.out and "no copies" in run("duplicates", "--since", "2999-05").out


def test_odd_names_are_listed_as_they_are(run: Callable[..., Answer], ready: Path) -> None:
    odd = os.fsdecode(b"line\nbreak \xff.png")
    shutil.copy(ready / "square" / "0.png", ready / "copies" / odd)
    os.utime(ready / "square" / "0.png", (1_000_000_000, 1_000_000_000))  # the earlier one is the better
    run("index", ready)
    refused = run("duplicates", "--list-rest")
    assert refused.code == 2 and "--null" in refused.err and refused.out == ""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "image_search", "duplicates", "--list-rest", "-0", "--kind", "bytes", "--prefer", ready / "square"]
    said = subprocess.run(command, capture_output=True, env=environment, check=True).stdout
    assert os.fsencode(ready / "copies" / odd) in said.split(b"\0")
    assert "file:" in (shown := run("duplicates").out) and "\\x0abreak %FF.png" in shown, shown


def test_decisions_in_the_shell(run: Callable[..., Answer], ready: Path) -> None:
    assert run("decisions").out == "nothing was decided yet\n"
    said = run("decisions", "--leave", ready / "square" / "1.png", ready / "copies" / "square.jpg")
    assert said.code == 0 and said.out.startswith("1. leave") and str(ready / "copies" / "square.jpg") in said.out
    assert "1 group," in run("duplicates").out
    assert json.loads(run("decisions", "--json").out)[0]["word"] == "leave"
    assert run("decisions", "--undo", 1).code == 0 and "2 groups," in run("duplicates").out
    for wrong in (("--undo", 5), (ready / "square" / "1.png",), ("--leave", "--not-the-same", "id:1", "id:2"), ("--not-the-same", "id:1")):
        refused = run("decisions", *wrong)
        assert refused.code == 2 and "Traceback" not in refused.err and "?." not in refused.err


def test_the_page_is_whole_and_takes_no_name_for_markup(run: Callable[..., Answer], ready: Path, tmp_path: Path) -> None:
    shutil.copy(ready / "square" / "0.png", ready / "copies" / '<script>alert("사진")<script>.png')
    run("index", ready)
    page = tmp_path / "copies.html"
    assert run("duplicates", "--html", page).code == 0
    text = page.read_text("utf-8")
    assert text.count("<section>") == 3 and text.count("data:image/webp;base64,") == 8
    assert "<script" not in text and "&lt;script&gt;alert(&quot;사진&quot;)" in text
    assert "http" not in text.replace("http-equiv", "") and 'src="data:' in text
    assert run("duplicates", "--html", page).code == 0, "its own page may be replaced"
    page.write_text("somebody's page")
    refused = run("duplicates", "--html", page)
    assert refused.code == 2 and "Give a new name" in refused.err and page.read_text() == "somebody's page"


def test_a_page_of_very_many_says_what_is_not_on_it(indexed: ImageSearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = indexed.duplicates(progress=False).to_dict()
    monkeypatch.setattr("image_search.present.duplicates_page.REPORT_PICTURES", 4)
    assert "1 more groups are not on this page" in duplicates_page(answer, lambda sha256: None)
    monkeypatch.setattr("image_search.present.duplicates_page.REPORT_PICTURES", 3)
    assert "and 1 more" in duplicates_page(answer, lambda sha256: None)
    monkeypatch.setattr("image_search.present.duplicates.GROUP_ROWS", 2)
    assert "and 2 more" in duplicates_table(answer)
    assert max(map(len, duplicates_table(answer, width=80).splitlines())) <= 80


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, to give up root's right to write anywhere")
def test_a_read_only_library_answers_and_says_that_it_cannot_remember(run: Callable[..., Answer], ready: Path, own_home: Path) -> None:
    library = own_home / "library"
    before = {path.name: path.read_bytes() for path in library.iterdir() if path.is_file()}
    for path in (library, *library.iterdir()):
        path.chmod(path.stat().st_mode & ~0o222)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    kinds = ("--kind", "bytes", "--kind", "picture")
    command = [sys.executable, "-m", "image_search", "duplicates", *kinds, "--library", str(library), str(ready / "square")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([*(drop if os.geteuid() == 0 else []), *command], capture_output=True, text=True, env=environment)
    for path in (library, *library.iterdir()):
        path.chmod(path.stat().st_mode | 0o200)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "no copies found\n"
    assert "not remembered" in said.stderr and "Traceback" not in said.stderr
    assert {path.name: path.read_bytes() for path in library.iterdir() if path.is_file()} == before


def test_a_library_that_is_not_there(run: Callable[..., Answer]) -> None:
    for command in ("duplicates", "decisions"):
        answer = run(command)
        assert answer.code == 1 and "there is no library" in answer.err and len(answer.err.splitlines()) == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_with_the_real_eye(engine: ImageSearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    from image_search.tidy.copies import compare

    monkeypatch.setattr("image_search.tidy.found.compare", compare)
    fill(tmp_path / "few", 1, first=seed)
    shot = Image.open(tmp_path / "few" / "square" / f"{seed}.png")
    ImageOps.mirror(shot).save(tmp_path / "few" / "mirrored.png")
    shot.resize((120, 90)).save(tmp_path / "few" / "small.jpg")
    engine.index(tmp_path / "few", progress=False)
    assert names(engine.duplicates(progress=False)) == [
        [(f"{seed}.png", "best"), ("small.jpg", "same picture"), ("mirrored.png", "mirrored")]
    ]
