"""The demo command: what it writes, what it says, that it can be repeated; and that the README shows what it really prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import image_search.demo
from image_search import ImageSearchEngine, UsageError
from image_search.cli import demo as command
from image_search.demo import CLASSES, QUERIES, draw_gallery

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^ +(\d+)  (\w+) +(\d\.\d{3}) +(\d\.\d{3}) +(\d\.\d{2}|-)  (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The README's own command, in an empty folder."""
    folder = tmp_path_factory.mktemp("demo")
    home = tmp_path_factory.mktemp("home")
    env = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, ROOT / "ai_image_search_engine.py", "demo"]
    return folder, subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_what_it_writes(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = demo
    assert done.returncode == 0, done.stderr
    assert {p.name for p in folder.iterdir()} == {"gallery", "gallery-queries", "demo.library"}
    assert {p.name for p in (folder / "gallery").iterdir()} == set(CLASSES) and len(CLASSES) >= 11
    assert all(len(list((folder / "gallery" / name).iterdir())) == 10 for name in CLASSES)
    names = [name.lower() for name, _ in QUERIES]
    assert {p.name for p in (folder / "gallery-queries").iterdir()} == {f"{n}{end}" for n in names for end in (".jpg", "-compared.png")}
    for name in names:
        with Image.open(folder / "gallery-queries" / f"{name}-compared.png") as picture:
            assert picture.width > 3 * picture.height  # the query and three matches in a row
            picture.load()


@pytest.mark.slow
def test_what_it_says(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = demo
    for query, table in tables(done.stdout).items():
        rows = ROW.findall(table)
        assert [int(rank) for rank, *_ in rows] == [1, 2, 3], query
        assert rows[0][1].lower() == query  # the nearest has the right class
        assert all(abs(float(similarity) + float(distance) - 1) < 0.0011 for _, _, similarity, distance, *_ in rows)
        assert all(os.path.isfile(uri) for *_, uri in rows)
    assert len(tables(done.stdout)) == len(QUERIES)
    ending = done.stdout.split("Next, with your own pictures:")[1]
    assert "image-search index" in ending and "image-search search" in ending and "--library" in ending
    assert "mini" in done.stderr and "--model dino" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_readme_shows_what_it_prints(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = demo
    shown = {readme: (ROOT / readme).read_text(encoding="utf-8") for readme in ("README.md", "README.ko.md")}
    for readme, text in shown.items():
        ((query, example),) = tables(text).items()
        real = ROW.findall(tables(done.stdout.replace(f"{folder}{os.sep}", ""))[query])
        told = ROW.findall(example)
        assert [(row[1], row[5]) for row in told] == [(row[1], row[5]) for row in real], readme
        for ours, theirs in zip(told, real, strict=True):  # another processor may round the last digit differently
            assert all(abs(float(a) - float(b)) < 0.015 for a, b in zip(ours[2:5], theirs[2:5], strict=True)), readme


def tables(text: str) -> dict[str, str]:
    """Query -> the lines that follow its heading, up to the comparison's name."""
    pattern = re.compile(r"^(\w+)\.jpg, which is not in the library:\n(.*?)^side by side: gallery-queries/\1-compared\.png$", re.M | re.S)
    return dict(pattern.findall(text))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where to draw: one picture per class, one query."""
    monkeypatch.setattr(image_search.demo, "draw_gallery", partial(draw_gallery, per_class=1))
    monkeypatch.setattr(image_search.demo, "QUERIES", [query for query in QUERIES if query[0] == "Cat"])
    return tmp_path / "pictures"


@pytest.mark.slow
def test_a_second_run_repeats_the_first(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.run(small, None)
    first = capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jpg")}
    command.run(small, None)
    second = capsys.readouterr().out
    assert first == second and first.count("not in the library") == 1
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jpg")} == before
    with ImageSearchEngine(tmp_path / "demo.library") as engine:
        assert engine.status()["images"] == len(CLASSES)
        assert engine.index(small).unchanged == len(CLASSES)


def test_it_stops_before_files_that_are_not_its_own(small: Path, in_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_search.demo, "draw", lambda *_: Image.new("RGB", (8, 8)))  # whatever is drawn
    theirs = tmp_path / "pictures-queries" / "cat.jpg"
    theirs.parent.mkdir()
    theirs.write_bytes(b"my only picture")
    with pytest.raises(UsageError, match=r"cat\.jpg"):
        command.run(small, tmp_path / "library")
    assert theirs.read_bytes() == b"my only picture"
