"""The built wheel: everything the program needs, nothing else, and it runs from there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import image_search

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "src" / "image_search"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    from hatchling.builders.wheel import WheelBuilder

    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return zipfile.ZipFile(path)


def test_it_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if not name.endswith("/")}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"image_search", "ai_image_search_engine"}
    inside = {name.removeprefix("image_search/") for name in names if name.startswith("image_search/")}
    sources = {p.relative_to(HOUSE).as_posix() for p in HOUSE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert inside == sources
    assert {"py.typed", "models/mini/mini.onnx", "models/mini/README.md"} <= inside
    assert any(name.startswith("web/static/") and name.endswith(".html") for name in inside)
    kinds = {Path(name).suffix for name in inside}
    assert kinds <= {".py", ".typed", ".npz", ".onnx", ".md", ".html", ".css", ".js", ".svg", ".png", ".webp", ".json", ".woff2"}


def test_its_facts(wheel: zipfile.ZipFile) -> None:
    (facts,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = wheel.read(facts).decode()
    assert f"\nVersion: {image_search.__version__}\n" in metadata
    assert "License-Expression: MIT" in metadata and "Requires-Python: >=3.11" in metadata
    assert wheel.read(facts.replace("METADATA", "licenses/LICENSE")) == (ROOT / "LICENSE").read_bytes()
    assert "image-search = image_search.__main__:main" in wheel.read(facts.replace("METADATA", "entry_points.txt")).decode()


def test_the_newest_release_in_the_changelog_is_this_one() -> None:
    releases = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert releases[0] == image_search.__version__ and releases[-1] == "0.1.0"


def test_no_python_is_claimed_that_was_not_tried(wheel: zipfile.ZipFile) -> None:
    """Classifiers against the row of docs/README.md that says what was really run on Linux."""
    (facts,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    claimed = set(re.findall(r"Classifier: Programming Language :: Python :: (3\.\d+)", wheel.read(facts).decode()))
    rows = re.findall(r"^\| Linux[^|]*\|[^|]*\| yes[^|]*\|$", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert claimed and claimed <= set(re.findall(r"3\.\d+", " ".join(row.split("|")[1] for row in rows)))


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_the_readme_tells_its_size(wheel: zipfile.ZipFile, readme: str) -> None:
    (limit,) = re.findall(r"(?:under (\d+) MB|(\d+) MB 미만)", (ROOT / readme).read_text(encoding="utf-8"))
    assert 0 < sum(info.file_size for info in wheel.infolist()) < 1e6 * int("".join(limit))


def test_it_runs_from_there(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import image_search; print(image_search.__file__)"
    where = subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(where.strip()).is_relative_to(tmp_path)
    command = [sys.executable, "-m", "image_search", "models", "--json"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {row["name"]: row["here"] for row in json.loads(done.stdout)}["mini"] is True
