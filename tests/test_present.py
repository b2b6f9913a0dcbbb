"""Showing results: the comparison picture, the table, the report, JSON."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import stat
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from image_search.errors import DiskFullError, ImageSearchError, UsageError
from image_search.present import canvas as canvas_module
from image_search.present import fonts as fonts_module
from image_search.present.figure import LESS_LIKE, Panel, draw_comparison, match_panel, png_bytes, save_comparison
from image_search.present.fonts import choose, font_advice
from image_search.present.json import SCHEMA, matches_json
from image_search.present.progress import bar, bars
from image_search.present.table import matches_table, report_table
from image_search.present.text_fit import cells, flow, shorten, wrap
from image_search.types import IndexReport, Match, Skipped

KOREAN = "김치찌개"
UNASSIGNED = "\u0378"  # no font has a character that does not exist


def match(rank: int = 1, name: str = "Bread", similarity: float = 0.875, closeness: float | None = None, uri: str = "", **more) -> Match:
    uri = uri or f"/photos/{name}/{rank}.jpg"
    return Match(f"id:{rank}", rank, name, similarity, closeness, uri, uri, **more)


def picture(width: int = 64, height: int = 48, shade: int = 0) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, shade % 256)], axis=-1).astype(np.uint8)


def query(title: str = "query.jpg", badge: str = "", **size) -> Panel:
    return Panel(picture(**size), title, badge=badge, query=True)


def texts(figure) -> list[str]:
    return [t.get_text() for t in figure.texts]


def extents(figure) -> dict[str, list]:
    """Boxes of all texts and of all axes, in pixels of the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    return {"text": [t.get_window_extent(renderer) for t in figure.texts], "axes": [a.get_window_extent(renderer) for a in figure.axes]}


def overlap(a, b) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5


def assert_tidy(figure) -> None:
    """No text over another text, and nothing outside the page."""
    boxes = extents(figure)
    for i, a in enumerate(boxes["text"]):
        assert not [texts(figure)[j] for j, b in enumerate(boxes["text"][:i]) if overlap(a, b)], texts(figure)[i]
    width, height = figure.get_size_inches() * figure.dpi
    for box in boxes["text"] + boxes["axes"]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


# The comparison picture


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 12, 50])
def test_one_axes_a_picture_query_first_then_by_rank(n):
    panels = [match_panel(match(i + 1), picture(shade=i + 1)) for i in range(n)]
    figure = draw_comparison([*panels, query()])  # the query is drawn first wherever it comes

    assert [a.get_label() for a in figure.axes] == ["query.jpg", *(f"{i + 1}. Bread" for i in range(n))]
    assert [int(a.images[0].get_array()[0, 0, 2]) for a in figure.axes] == list(range(n + 1))
    assert not any(a.axison for a in figure.axes)
    assert_tidy(figure)
    # Read like a text: by lines, the query to the left of all.
    boxes = extents(figure)["axes"]
    order = sorted(range(1, n + 1), key=lambda i: (-round(boxes[i].y1), boxes[i].x0))
    assert order == list(range(1, n + 1))
    assert all(boxes[0].x1 < box.x0 for box in boxes[1:])
    if n <= 4:
        assert len({round(b.y0 + b.y1) for b in boxes}) == 1, "few pictures stand in one row"
    assert ("nothing similar" in texts(figure)) is (n == 0)


def test_proportions_are_true():
    sizes = [(640, 480), (480, 640), (640, 64), (64, 640), (500, 500), (8, 8), (640, 427)]
    figure = draw_comparison([query(width=640, height=360)] + [match_panel(match(i + 1), picture(*s)) for i, s in enumerate(sizes)])
    figure.canvas.draw()
    for axes, (width, height) in zip(figure.axes, [(640, 360), *sizes], strict=True):
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(width / height, rel=1e-6)
        left, right, bottom, top = axes.images[0].get_extent()
        assert (axes.get_xlim(), axes.get_ylim()) == ((left, right), (bottom, top)), "the picture fills its axes"
    assert_tidy(figure)


def test_a_hair_thin_picture_is_still_seen():
    figure = draw_comparison([query(width=2000, height=1), match_panel(match(), picture(1, 2000))])
    for axes in figure.axes:
        assert min(axes.get_window_extent().width, axes.get_window_extent().height) > 1.99


def test_a_match_is_told_by_rank_name_and_numbers():
    panel = match_panel(match(2, "Soup", 0.8764, 0.91), picture())
    assert panel.title == "2. Soup"
    assert panel.lines == ("similarity 0.876", "distance 0.124", "closeness 0.91")
    drawn = "\n".join(texts(draw_comparison([panel])))
    for word in ("2. Soup", "similarity 0.876", "distance 0.124", "closeness 0.91"):
        assert word in drawn
    assert "closeness" not in "".join(match_panel(match(), picture()).lines)
    assert match_panel(match(3, "", uri="/photos/IMG_1.jpg"), picture()).title == "3. IMG_1.jpg"
    assert match_panel(match(1, similarity=-0.0001), picture()).lines[:2] == ("similarity -0.001", "distance 1.001")
    assert match_panel(match(1, similarity=-0.0), picture()).lines[0] == "similarity 0.000"
    assert match_panel(match(1, similarity=0.9999, closeness=0.999), picture()).lines == (
        "similarity 0.999",  # only what is equal is 1.000
        "distance 0.001",
        "closeness 0.99",
    )


def test_identical_offline_query_and_less_like_are_marked():
    panels = [
        query(),
        query("not this.jpg", badge=LESS_LIKE),
        match_panel(match(1, similarity=1.0, identical=True, offline=True), picture()),
    ]
    drawn = texts(draw_comparison(panels))
    assert [drawn.count(word) for word in ("query", "less like", "identical", "offline")] == [1, 1, 1, 1]
    assert "similarity 1.000" in "".join(drawn)


def test_missing_pixels_are_a_placeholder_with_the_reason():
    figure = draw_comparison([query(), match_panel(match(1, offline=True), None, "its disk is away"), match_panel(match(2), None)])
    assert [len(a.images) for a in figure.axes] == [1, 0, 0]
    assert {"its disk is away", "no picture"} <= set(texts(figure))
    assert_tidy(figure)


def test_long_names_never_overlap():
    names = ["word " * 40, "x" * 200, "a_b-c." * 30, KOREAN * 30, "W" * 60, "\u202e\x1b[31m" * 20]
    panels = [match_panel(match(i + 1, names[i % len(names)], closeness=0.5, identical=True), picture()) for i in range(18)]
    figure = draw_comparison([query("Q" * 300), query("second " * 30), *panels])
    assert_tidy(figure)
    assert sum("…" in t for t in texts(figure)) >= 18
    assert any(t.startswith("18. ") for t in texts(figure)), "the rank stays"


def test_names_are_text_never_formulas_or_controls():
    drawn = texts(draw_comparison([match_panel(match(1, "$x^2$ \x1b[31m\u202e\udcff"), picture())]))
    assert "1. $x^2$ \\x1b[31m\\u202e\\xff" in drawn
    assert png_bytes(draw_comparison([Panel(picture(), "$\\frac$ {broken")]))


def test_the_picture_is_bounded(monkeypatch):
    figure = draw_comparison([query(), *(match_panel(match(i + 1), None) for i in range(50))])
    width, height = figure.get_size_inches() * figure.dpi
    assert width * height < 4e6
    monkeypatch.setattr(canvas_module, "COMPARISON_PIXELS", 500_000)  # above it, everything is drawn smaller
    figure = draw_comparison([query(), *(match_panel(match(i + 1), None) for i in range(20))])
    assert math.prod(Image.open(io.BytesIO(png_bytes(figure))).size) <= 500_000 * 1.01
    assert_tidy(figure)


def test_nothing_at_all_is_still_a_picture():
    assert Image.open(io.BytesIO(png_bytes(draw_comparison([])))).width > 100


def test_png_is_the_figure_in_its_own_size_on_white():
    figure = draw_comparison([query(), match_panel(match(), picture(shade=200))])
    image = Image.open(io.BytesIO(png_bytes(figure)))
    assert image.size == pytest.approx(tuple(figure.get_size_inches() * figure.dpi), abs=1) and image.mode == "RGB"
    assert image.getpixel((2, 2)) == (255, 255, 255)
    # The upper left corner of each picture is where the upper left corner of its axes is.
    for axes, colour in zip(figure.axes, [(0, 0, 0), (0, 0, 200)], strict=True):
        box = axes.get_window_extent()
        x, y = math.ceil(box.x0) + 2, math.ceil(image.height - box.y1) + 2
        assert max(abs(a - b) for a, b in zip(image.getpixel((x, y)), colour, strict=True)) < 12


def test_threads_draw_the_same_picture():
    panels = [query(KOREAN), *(match_panel(match(i + 1, "Ж ü $"), picture(shade=i)) for i in range(3))]
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: png_bytes(draw_comparison(panels)), range(8)))) == 1


def test_a_users_matplotlibrc_changes_nothing(tmp_path):
    import matplotlib

    panels = [query(), match_panel(match(), picture())]
    plain = png_bytes(draw_comparison(panels))
    ours = {"savefig.bbox": "tight", "figure.autolayout": True, "savefig.dpi": 30, "font.size": 40, "text.parse_math": True}
    with matplotlib.rc_context({**ours, "savefig.facecolor": "black", "figure.facecolor": "black", "image.origin": "lower"}):
        assert png_bytes(draw_comparison(panels)) == plain
        figure = draw_comparison(panels)
        save_comparison(figure, tmp_path / "a.svg")
    assert f'width="{figure.get_figwidth() * 72:g}pt"' in (tmp_path / "a.svg").read_text()


# Fonts


def test_base_font_is_enough_for_european_names():
    assert choose(["Crème brûlée", "Борщ", "Σαλάτα", "1. A: 0.12 · …"]).families == ["DejaVu Sans"]
    assert font_advice(["Crème brûlée"]) == "" and not choose(["Crème brûlée"]).missing


def korean_font() -> list[str]:
    if choose([KOREAN]).missing:
        pytest.skip("no installed font has Korean: apt install fonts-nanum")
    return choose([KOREAN]).families


def glyph_file_has(family: list[str], char: str) -> bool:
    from matplotlib import ft2font
    from matplotlib.font_manager import FontProperties, fontManager

    for path in [fontManager.findfont(FontProperties(family=[name])) for name in family]:
        face = getattr(path, "face_index", 0)
        font = ft2font.FT2Font(str(path), face_index=face) if face else ft2font.FT2Font(str(path))
        if font.get_char_index(ord(char)):
            return True
    return False


def test_korean_is_drawn_with_a_font_that_has_it(caplog, recwarn):
    families = korean_font()
    assert families != ["DejaVu Sans"] and all(glyph_file_has(families, c) for c in KOREAN)
    figure = draw_comparison([match_panel(match(1, KOREAN), picture())])
    png_bytes(figure)
    title = next(t for t in figure.texts if t.get_text() == f"1. {KOREAN}")
    assert title.get_fontfamily() == choose([f"1. {KOREAN}"]).families
    assert not [w for w in recwarn if "Glyph" in str(w.message)] and not [r for r in caplog.records if "findfont" in r.message]


def test_decomposed_korean_is_composed_first():
    korean_font()
    parts = unicodedata.normalize("NFD", KOREAN)
    assert parts != KOREAN and choose([parts]).families == choose([KOREAN]).families and not choose([parts]).missing
    assert f"1. {KOREAN}" in texts(draw_comparison([match_panel(match(1, parts), picture())]))


def test_a_character_without_a_font_is_a_box_and_said_in_one_line(recwarn):
    assert choose([f"a{UNASSIGNED}b", UNASSIGNED]).missing == {UNASSIGNED}
    advice = font_advice([UNASSIGNED])
    assert "\n" not in advice and "apt install fonts-noto" in advice
    figure = draw_comparison([match_panel(match(1, f"a{UNASSIGNED}b"), picture())])
    png_bytes(figure)
    assert "1. a□b" in texts(figure)
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_advice_names_the_script_and_its_package(monkeypatch):
    monkeypatch.setattr(fonts_module, "_candidates", lambda missing: iter(()))  # a machine with DejaVu alone
    monkeypatch.setattr(fonts_module, "_known", lambda missing: [])
    assert "Korean" in font_advice([KOREAN]) and "fonts-nanum" in font_advice([KOREAN])
    assert "Japanese" in font_advice(["ラーメン"]) and "Chinese" in font_advice(["红烧肉"]) and "fonts-noto-cjk" in font_advice(["红烧肉"])
    assert "1. □□□□" in texts(draw_comparison([match_panel(match(1, KOREAN), picture())]))


def test_installed_fonts_are_searched_only_when_needed(monkeypatch):
    def never(missing):
        raise AssertionError("DejaVu has it all")

    monkeypatch.setattr(fonts_module, "_candidates", never)
    monkeypatch.setattr(fonts_module, "_known", never)
    draw_comparison([match_panel(match(1, "Käse"), picture())])


# Files


@pytest.fixture
def figure():
    return draw_comparison([query(), match_panel(match(), picture())])


STARTS = {"a.png": b"\x89PNG", "a.JPG": b"\xff\xd8", "a.jpeg": b"\xff\xd8", "a.webp": b"RIFF", "a.pdf": b"%PDF", "a.svg": b"<?xml"}


@pytest.mark.parametrize("name", STARTS)
def test_only_an_earlier_comparison_is_replaced(figure, tmp_path, name):
    theirs = tmp_path / f"photo{os.path.splitext(name)[1]}"
    theirs.write_bytes(b"somebody's only picture")
    link = tmp_path / name
    link.symlink_to(theirs)
    for target in (theirs, link):
        with pytest.raises(UsageError, match="is no comparison"):
            save_comparison(figure, target)
    assert theirs.read_bytes() == b"somebody's only picture"
    theirs.write_bytes(b"")
    for _ in range(2):  # first an empty file, then a comparison
        save_comparison(figure, theirs)
    assert theirs.stat().st_size > 1000


@pytest.mark.parametrize("name", STARTS)
def test_the_extension_says_how(figure, tmp_path, name):
    save_comparison(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(STARTS[name])
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.gif", "a", ".png", "png", "a.png.txt"])
def test_unknown_extension_is_refused_and_the_known_ones_named(figure, tmp_path, name):
    with pytest.raises(UsageError, match=r"\.png \.jpg .*\.svg"):
        save_comparison(figure, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_missing_folder_and_folder_as_file_are_one_line(figure, tmp_path):
    with pytest.raises(UsageError, match="no such folder") as caught:
        save_comparison(figure, tmp_path / "no" / "a.png")
    assert "\n" not in str(caught.value)
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(UsageError, match="not a file"):
        save_comparison(figure, tmp_path / "dir.png")
    assert os.listdir(tmp_path) == ["dir.png"]


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, DiskFullError), (errno.EACCES, ImageSearchError), (errno.EIO, ImageSearchError)]
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_no_other(figure, tmp_path, monkeypatch, code, error, step):
    target = tmp_path / "a.png"
    save_comparison(figure, target)
    before = target.read_bytes()

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(error) as caught:
        save_comparison(figure, target)
    assert "\n" not in str(caught.value) and str(target) in str(caught.value) and isinstance(caught.value.__cause__, OSError)
    assert target.read_bytes() == before and os.listdir(tmp_path) == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_line(figure, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ImageSearchError, match="permission denied"):
            save_comparison(figure, tmp_path / "a.png")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="POSIX links and modes")
def test_a_link_stays_a_link_and_a_file_keeps_its_mode(figure, tmp_path):
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    save_comparison(figure, real)
    real.chmod(0o600)
    link.symlink_to(real)
    before = real.stat().st_ino
    save_comparison(figure, link)
    assert real.stat().st_ino != before
    assert link.is_symlink() and real.read_bytes().startswith(b"\x89PNG") and stat.S_IMODE(real.stat().st_mode) == 0o600


def test_undecodable_file_names_can_be_saved_to(figure, tmp_path):
    if sys.platform in ("darwin", "win32"):
        pytest.skip("this system has no such names")
    save_comparison(figure, os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff.png"]


# The table


def test_columns_are_aligned_for_wide_and_composed_characters():
    rows = [
        match(1, KOREAN),
        match(2, unicodedata.normalize("NFD", KOREAN)),
        match(3, "Crème"),
        match(10, "寿司", closeness=0.5),
        match(11, ""),
    ]
    lines = matches_table(rows).splitlines()
    assert lines[0].split() == ["rank", "name", "similarity", "distance", "closeness", "uri"]
    starts = {cells(line[: line.index("/photos")]) for line in lines[1:]}
    assert starts == {cells(lines[0][: lines[0].index("uri")])}
    assert lines[1].split()[:6] == ["1", KOREAN, "0.875", "0.125", "-", f"/photos/{KOREAN}/1.jpg"]
    assert lines[4].split()[4] == "0.50" and lines[5].split()[1] == "-"


def test_identical_and_offline_are_marked_in_the_table():
    lines = matches_table([match(1, similarity=1.0, identical=True), match(2, offline=True), match(3)]).splitlines()
    assert "identical" in lines[1] and "1.000" in lines[1] and "offline" in lines[2] and lines[3].split()[-2] == "-"


@pytest.mark.parametrize("width", [70, 80, 100, 120])
def test_narrow_terminals_shorten_in_the_middle(width):
    uri = "/home/someone/" + "folder/" * 20 + "the_file.jpg"
    lines = matches_table([match(1, "n" * 100, uri=uri), match(2, KOREAN * 20, uri=KOREAN * 40)], width=width).splitlines()
    assert max(map(cells, lines)) <= width
    assert "/hom" in lines[1] and lines[1].endswith(".jpg") and lines[1].count("…") == 2
    assert uri in matches_table([match(1, uri=uri)]), "a pipe gets all of it"


@pytest.mark.parametrize("width", [20, 30, 40, 50, 69])
def test_in_a_terminal_too_narrow_for_a_row_the_path_has_its_own(width):
    uri = "/home/someone/" + "folder/" * 20 + "the_file.jpg"
    rows = [match(1, "n" * 100, uri=uri, closeness=0.5, identical=True), match(2, KOREAN * 20, uri=KOREAN * 40, offline=True)]
    head, *lines = matches_table(rows, width=width).splitlines()
    assert max(map(cells, lines)) <= max(width, 26) and len(lines) == 4
    assert head.split()[:3] == ["rank", "name", "similarity"]
    assert lines[0].split()[0] == "1" and lines[2].split()[0] == "2"
    assert cells(lines[1]) >= width - 2 and lines[1].startswith("  /hom") and lines[1].endswith(".jpg")
    assert ("closeness" in head) == (width >= 50)


def test_the_terminal_is_safe_from_names():
    table = matches_table([match(1, "\x1b[31mred\n\u202e", uri="/a\udcff\r\n.jpg")])
    assert len(table.splitlines()) == 2 and not set("\x1b\r\u202e\udcff") & set(table)
    assert "\\x1b[31mred\\x0a\\u202e" in table and "/a\\xff\\x0d\\x0a.jpg" in table


def test_no_matches_say_so():
    assert matches_table([]) == "nothing similar"


def test_report_counts_what_is_not_zero_and_groups_what_was_skipped():
    skipped = [Skipped(f"/a/{i}.jpg", "empty file", "copy it again") for i in range(5)] + [
        Skipped("/b\n.png", "damaged image", "restore it")
    ]
    text = report_table(IndexReport(added=1200, moved=3, skipped=skipped, seconds=2.5))
    words = [line.split() for line in text.splitlines()]
    assert ["added", "1,200"] in words and ["moved", "3"] in words and ["skipped", "6"] in words
    assert not any(word in text for word in ("updated", "unchanged", "missing", "offline"))
    assert text.index("5 empty file: copy it again") < text.index("1 damaged image: restore it")
    assert "/a/2.jpg" in text and "/a/3.jpg" not in text and "and 2 more" in text and "/b\\x0a.png" in text
    assert "no images found" in report_table(IndexReport())


# JSON


def test_json_keeps_its_schema_and_the_schema_its_words():
    Draft202012Validator.check_schema(SCHEMA)
    rows = [match(1, KOREAN, np.float32(1.0), np.float64(0.5), identical=True), match(2, "\x00\ud800", -0.25, float("nan"), "/a\udcff%")]
    data = matches_json(rows, query="q.jpg", model="mini", exact=np.bool_(True))
    text = json.dumps(data, allow_nan=False, ensure_ascii=False)
    text.encode()  # no lone surrogates
    Draft202012Validator(SCHEMA).validate(json.loads(text))
    assert list(data) == ["query", "model", "exact", "vote", "matches"] and data["query"] == "q.jpg" and data["exact"] is True
    measured = ["id", "rank", "name", "similarity", "distance", "closeness", "probability", "uri", "identical", "offline", "gone"]
    assert list(data["matches"][0]) == [*measured, "width", "height", "format", "bytes", "captured", "modified"]
    assert {type(data["matches"][0][k]) for k in ("similarity", "distance", "closeness")} == {float}
    assert data["matches"][1]["closeness"] is None and data["matches"][1]["distance"] == 1.25 and data["matches"][1]["uri"] == "/a%FF%25"
    assert json.loads(text)["matches"][0]["name"] == KOREAN


def test_json_of_nothing_and_of_several_queries():
    validator = Draft202012Validator(SCHEMA)
    data = matches_json([], query=["a.jpg", "b\udcff.jpg"], model="mini", exact=False)
    validator.validate(data)
    assert data == {"query": ["a.jpg", "b%FF.jpg"], "model": "mini", "exact": False, "vote": None, "matches": []}
    assert not validator.is_valid({**data, "more": 1}) and not validator.is_valid({**data, "query": []})


@pytest.mark.parametrize("similarity", [float("nan"), float("inf"), 1.01])
def test_json_refuses_what_is_no_cosine(similarity):
    with pytest.raises(ValueError, match="not a cosine"):
        matches_json([match(similarity=similarity)], query="q", model="m", exact=True)
    assert matches_json([match(similarity=1.0000001)], query="q", model="m", exact=True)["matches"][0]["similarity"] == 1.0


# Texts that fit


def test_cells_are_what_a_terminal_takes():
    assert [cells(t) for t in ("abc", KOREAN, unicodedata.normalize("NFD", KOREAN), "e\u0301", "寿司", "ｱ", "")] == [3, 8, 8, 1, 4, 1, 0]


def test_shorten_keeps_both_ends_and_never_cuts_a_letter_from_its_mark():
    assert shorten("short", 10) == "short"
    assert shorten("abcdefghij.jpg", 9) == "abcd….jpg"
    for width in range(1, 30):
        assert cells(shorten(KOREAN * 10, width)) <= width
        assert "…\u0301" not in shorten("e\u0301" * 40, width)


def test_wrap_breaks_at_blanks_and_shortens_the_rest():
    assert wrap("one two three", 8, len) == ["one two", "three"]
    assert wrap("one", 8, len) == ["one"]
    first, second = wrap("x" * 100, 10, len)
    assert first == "x" * 10 and len(second) == 10 and "…" in second


def test_flow_puts_facts_side_by_side_as_far_as_they_fit():
    facts = ("one 1", "two 2", "three 3")
    assert flow(facts, 100, len) == ["one 1  ·  two 2  ·  three 3"]
    assert flow(facts, 16, len) == ["one 1  ·  two 2", "three 3"]
    assert flow(facts, 7, len) == list(facts)


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_says_how_far_how_fast_and_how_long_yet(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with bar("index", 4) as show:
        show(1, 4)
        show(4, 4, 2)
    assert re.search(r"index: 100%\|.*\| 4/4 \[\d\d:\d\d<\d\d:\d\d, .*img.*, 2 skipped\]", terminal.getvalue())
    with bars() as show:
        show("mini: pictures", 1, 2)
        show("mini: copies", 3, 3)
        show("look closer", 1, 2)
    assert "mini: pictures:  50%" in terminal.getvalue() and "mini: copies: 100%" in terminal.getvalue()
    assert re.search(r"look closer:  50%[^\r]* pairs/s", terminal.getvalue())


def test_an_index_run_shows_a_bar_in_a_terminal_and_nothing_elsewhere(engine, photos, monkeypatch):
    monkeypatch.setattr(sys, "stderr", quiet := io.StringIO())
    engine.index(photos / "circle")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    engine.index(photos / "square", progress=False)
    assert (quiet.getvalue(), terminal.getvalue()) == ("", "")
    engine.index(photos)
    assert "index: 100%" in terminal.getvalue() and "4/4" in terminal.getvalue()
    shown = len(terminal.getvalue())
    engine.index(photos)  # nothing is new: no bar
    assert len(terminal.getvalue()) == shown


# The room's front door


def test_importing_it_loads_no_matplotlib():
    code = (
        "import sys, image_search.present.figure; from image_search.present.table import matches_table; matches_table([]); "
        "print([m for m in ('matplotlib', 'PIL', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_drawing_needs_no_pyplot():
    code = (
        "import sys, numpy as np; from image_search.present.figure import *; "
        "png_bytes(draw_comparison([Panel(np.zeros((4, 4, 3), np.uint8), 'a')])); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False" and done.stderr == ""
