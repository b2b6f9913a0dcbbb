"""How the house is built: the map in docs/architecture.md, what each room may know, and how large things may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "src" / "image_search"
FILES = sorted(HOUSE.rglob("*.py"))
FACES = ("cli/", "web/")

FILE_LINES, FUNCTION_LINES = 400, 60
SQL = re.compile(r"\b(SELECT\b.*\bFROM|INSERT\b.*\bINTO|UPDATE\b.*\bSET|DELETE FROM|CREATE TABLE|PRAGMA|WHERE|ORDER BY)\b", re.DOTALL)
SHELL = re.compile(r"(?<![\w-])--[a-z]|\bimage-search [a-z]")  # --max-megapixels, image-search index
OTHERS = re.compile(r"\b(pip install|chroma run) ")  # programs that a shell alone can run


def place(file: Path) -> str:
    return file.relative_to(HOUSE).as_posix()


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


# The map


def rooms() -> list[str]:
    """The files in the order of the table in docs/architecture.md."""
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Rooms\n")[1].split("\n## ")[0]
    return [name for row in re.findall(r"^\| [^|]*\|([^|]*)\|", table, re.MULTILINE) for name in re.findall(r"`([\w/]+\.py)`", row)]


def test_the_map_of_the_house_is_complete() -> None:
    """Each file of the package once; those without a line of code, such as an empty __init__.py, need not be named."""
    there = {place(file) for file in FILES if tree_of(file).body}
    named = rooms()
    assert len(named) == len(set(named))
    assert (there - set(named), set(named) - there) == (set(), set())


def test_a_file_imports_only_from_files_above_it() -> None:
    named = rooms()
    wrong = [
        f"{name} imports {other}"
        for position, name in enumerate(named)
        for other in imports_of(HOUSE / name) & set(named)
        if named.index(other) > position
    ]
    assert wrong == []


def imports_of(file: Path) -> set[str]:
    """The package's own files that a file imports anywhere, for types only excepted; relative to the package."""
    tree = tree_of(file)
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    for_types = {id(inner) for guard in guards for inner in ast.walk(guard)}
    found: set[Path] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in for_types:
            continue
        parts = (node.module or "").split(".")
        if node.level:
            target = file.parents[node.level - 1].joinpath(*parts)
        elif parts[0] == "image_search":
            target = HOUSE.joinpath(*parts[1:])
        else:
            continue
        found |= {file_of(target / alias.name) or file_of(target) or target for alias in node.names}
    return {place(path) for path in found} - {place(file)}


def file_of(module: Path) -> Path | None:
    return next((path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()), None)


# What a room may know


@pytest.mark.parametrize(
    ("package", "home"),
    [
        ("torch", "models/torch"),
        ("chromadb", "stores/chroma.py"),
        ("openTSNE", "tidy/layout.py"),
        ("pymilvus", "stores/milvus"),
        ("milvus_lite", "stores/milvus"),
        ("tqdm", "present/progress.py"),
        ("simsimd", "library/codes.py"),
        ("tokenizers", "models/tokenizer.py"),
        ("openvino", "models/openvino.py"),
        ("rawpy", "images/raw.py"),
        ("watchfiles", "index/watch.py"),
        ("pyarrow", "dataset/arrow.py"),
        ("ray", "cluster/"),
        ("pillow_jxl", "images/jxl.py"),
        ("click", "cli/"),
        ("uvicorn", "web/"),
        ("fastapi", "web/"),
        ("sqlite3", "library/"),
    ],
)
def test_a_foreign_library_has_one_room(package: str, home: str) -> None:
    assert [place(file) for file in FILES if package in foreign_imports(file) and not place(file).startswith(home)] == []


def foreign_imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every text in the code; what only explains the code is none: docstrings, and texts that stand alone."""
    tree = tree_of(file)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):  # each formatted value is a word of its own
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone | inside:
            yield node.lineno, node.value


def test_only_the_library_speaks_sql() -> None:
    spoken = [f"{place(file)}:{line}" for file in FILES for line, text in texts(file) if SQL.search(text)]
    assert [where for where in spoken if not where.startswith("library/")] == []


def test_below_the_faces_nobody_speaks_shell() -> None:
    """A hint names a setting or a verb (advice.py), and each face says it in its own words."""
    spoken = [
        f"{place(file)}:{line}: {text}"
        for file in FILES
        if not place(file).startswith((*FACES, "advice.py"))  # which makes the words
        for line, text in texts(file)
        if SHELL.search(text) and not OTHERS.search(text)
    ]
    assert spoken == []


def test_a_hint_begins_in_lower_case() -> None:
    """It follows a full stop in one place and a colon in another; `capitalised` does the rest."""
    hints = [
        (f"{place(file)}:{keyword.value.lineno}", beginning(keyword.value))
        for file in FILES
        for keyword in ast.walk(tree_of(file))
        if isinstance(keyword, ast.keyword) and keyword.arg == "hint"
    ]
    assert len(hints) > 50
    assert [(where, text) for where, text in hints if text[:1].isupper()] == []


def beginning(node: ast.expr) -> str:
    """The first piece of text, as far as it stands in the code; a call is an Advice."""
    if isinstance(node, ast.Call):
        return beginning(node.args[0]) if node.args else ""
    if isinstance(node, ast.JoinedStr):
        return beginning(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


# How large things may be


def test_a_file_can_be_read_in_one_sitting() -> None:
    assert {place(f): n for f in FILES if (n := len(f.read_text(encoding="utf-8").splitlines())) > FILE_LINES} == {}


def test_a_function_is_short_or_says_why_it_is_not() -> None:
    """`# long: why` on the line of its `def`."""
    found = {}
    for file in FILES:
        lines = file.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree_of(file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                head = lines[node.lineno - 1 : node.body[0].lineno]
                if length > FUNCTION_LINES and not any("# long: " in line for line in head):
                    found[f"{place(file)}:{node.lineno} {node.name}"] = length
    assert found == {}
