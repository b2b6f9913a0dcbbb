"""What the documents say is run or checked here, so that it cannot go stale: commands, snippets, tables, limits, links, the notebook."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from pictures import fill, picture
from PIL import Image

from image_search import ImageSearchEngine, SkipReason, config
from image_search.cli import app as cli
from image_search.models import MODELS
from image_search.search.closeness import sample
from image_search.testing import InProcessPool

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
GUIDES = [ROOT / "docs" / "guide.md", ROOT / "docs" / "guide.ko.md"]
PYTHONS = [ROOT / "docs" / "python.md", ROOT / "docs" / "python.ko.md"]
HTTPS = [ROOT / "docs" / "http.md", ROOT / "docs" / "http.ko.md"]
SCALINGS = [ROOT / "docs" / "scaling.md", ROOT / "docs" / "scaling.ko.md"]
PROGRAM = ("image-search", "python ai_image_search_engine.py")


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(document), re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Our own program's command lines among shell lines, as words without the program; what is redirected into them stays as "<", FILE."""
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&")
        lexer.whitespace_split = True
        words = list(lexer)
        for separator in ("&&", "|"):
            while separator in words and shlex.join(words[words.index(separator) + 1 :]).startswith(PROGRAM):
                words = words[words.index(separator) + 1 :]
        for program in PROGRAM:
            if words[: len(program.split())] == program.split():
                yield words[len(program.split()) :]


ALL_COMMANDS = sorted({tuple(words) for d in DOCUMENTS for text in blocks(d, "bash") for words in commands(text)})


def test_the_documents_name_every_command() -> None:
    assert len(ALL_COMMANDS) > 20
    named = {word for words in ALL_COMMANDS for word in words[:1]}  # in blocks
    spoken = set(re.findall(r"`image-search ([a-z]+)", text_of(READMES[0]) + text_of(GUIDES[0])))
    existing = set(cli.app.commands)
    assert named | spoken >= existing
    assert spoken <= existing


@pytest.mark.parametrize("words", ALL_COMMANDS, ids=" ".join)
def test_commands_of_the_documents_parse(words: tuple[str, ...]) -> None:
    arguments = list(words[: words.index("<")] if "<" in words else words)
    context = cli.app.make_context("image-search", list(arguments))
    _, command, rest = cli.app.resolve_command(context, arguments)
    assert command is not None
    command.make_context(command.name, rest, parent=context)


@pytest.fixture
def user(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photo.jpg, a.jpg, b.jpg, and ~/Pictures."""
    fill(own_home / "Pictures", 20)
    (own_home / "Pictures" / "private").mkdir()
    for name, seed in (("photo", 900), ("a", 901), ("b", 902)):
        picture("circle", seed).save(tmp_path / f"{name}.jpg")
    picture("stripes", 903).save(own_home / "Pictures" / "private" / "diary.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(own_home))
    return tmp_path


@pytest.mark.slow
def test_the_guides_commands_used_from_top_to_bottom(user: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chapter = text_of(GUIDES[0]).split("## The commands\n")[1].split("\n## ")[0]
    ran = 0
    for words in commands("\n".join(re.findall(r"^```bash\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL))):
        if any(word.startswith("http") for word in words) or words[:1] == ["serve"]:
            continue
        if words[0] == "relocate":
            Path(words[1]).expanduser().rename(Path(words[2]).expanduser())
        if "<" in words:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(words[-1]).read_bytes())))
            words = words[: words.index("<")]
        monkeypatch.setattr(sys, "argv", ["image-search", *words])
        cli.main()  # any failure is a SystemExit
        ran += 1
    assert ran >= 15
    with Image.open(user / "compare.png") as comparison:
        assert comparison.width > comparison.height > 200
    assert (own_home / "Photos" / "private" / "diary.jpg").is_file()  # forgotten, not deleted


def printed(code: str) -> str:
    """What it prints, run in this process as a program of its own."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {"__name__": "__main__"})
    return out.getvalue()


def test_python_snippets_run(user: Path, in_process: None) -> None:
    (readme,), (guide,) = blocks(READMES[0], "python"), blocks(GUIDES[0], "python")
    assert re.match(r"1 \w+ 0\.\d+ /", printed(readme))
    with ImageSearchEngine("photos.library", store="chroma") as engine:
        engine.rebuild()
    assert re.match(r"61 .*'name': 'circle'", printed(guide))


def test_the_python_page_runs_from_top_to_bottom(user: Path, own_home: Path, in_process: None) -> None:
    """Its blocks in one process, as at a prompt; a line of dashes after each."""
    code = "\nprint('---')\n".join(blocks(PYTHONS[0], "python"))
    index, _, _, query, shown, vectors, each, tagged, along, kept, own, errors = printed(code).split("---\n")
    assert re.match(r"61 0 \[\]\n1 ", index) and len(index.splitlines()) == 4
    assert query == "(256,) 3 30\n"
    assert re.match(r"id:\d+ \w+ /.* False False\n", shown) and "similarity" in shown and (user / "compare.png").is_file()
    assert vectors.startswith("(3, 256) float32\n")
    assert re.fullmatch(r"a\.jpg \(256,\)\n.*not an image: notes\.jpg.*\nb\.jpg \(256,\)\n", each)
    assert len(tagged.splitlines()) == 3 and "'tabby'" in tagged, tagged
    assert along == "a.jpg circle\nnotes.jpg not read\nb.jpg circle\n2\n61\n[('price', 'number', 2)]\n1\n", along
    assert kept == "61\n61\n1\n60\n60\nFalse\n[]\n"
    assert (own_home / "Photos" / "private" / "diary.jpg").is_file()  # forgotten, not deleted
    assert len(own.splitlines()) == 4 and "/Photos/" in own
    assert "nowhere.jpg" in errors and "|" in errors and "nowhere.library" in errors


@pytest.mark.parametrize("pair", [READMES, GUIDES, PYTHONS, HTTPS, SCALINGS], ids=lambda pair: pair[0].name)
def test_the_korean_document_is_the_same_one(pair: list[Path]) -> None:
    english, korean = map(text_of, pair)
    for language in ("bash", "python", "text"):
        both = [[re.sub(r" +#.*", "", block) for block in blocks(document, language)] for document in pair]
        assert both[0] == both[1]
    for pattern in (r"^#+ ", r"^\|.*\|$", r"^- "):  # headings, rows, items
        ours, theirs = (re.findall(pattern, text, re.MULTILINE) for text in (english, korean))
        assert len(ours) == len(theirs), pattern
    links = [[link.partition("#")[0].replace(".ko.md", ".md") for link in links_of(text)] for text in (english, korean)]
    assert sorted(links[0]) == sorted(links[1])
    assert set(re.findall(r"`(--[a-z-]+)", english)) == set(re.findall(r"`(--[a-z-]+)", korean))


def links_of(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", text)


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.name)
def test_the_table_of_models_is_the_programs_own(readme: Path) -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text_of(readme), re.MULTILINE)
    assert [row[0] for row in rows] == [model.name for model in MODELS]
    for (_, dim, size, what, licence), model in zip(rows, MODELS, strict=True):
        assert model.dim in (None, int(dim))
        if not model.is_bundled:
            assert (size, model.source in what, licence) == (f"{model.megabytes:.0f} MB", True, model.licence)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda p: p.name)
def test_reasons_and_limits_are_the_programs_own(guide: Path) -> None:
    text = text_of(guide)
    for reason in SkipReason:
        assert re.search(rf"^\| .*\b{re.escape(reason.value)}\b.*\|", text, re.MULTILINE), reason
    library, upload = config.LIBRARY_LIMITS, config.UPLOAD_LIMITS
    facts = (
        rf"{library.megapixels:.0f}\s?(megapixels|메가픽셀)",
        f"{library.file_bytes // config.MIB} MB",
        f"({library.cpu_seconds} seconds|{library.cpu_seconds}초)",
        f"{library.memory_bytes // config.MIB // 1024} GB",
        rf"{upload.megapixels:.0f}\s?(megapixels|메가픽셀)",
        f"{upload.file_bytes // config.MIB} MB",
        f"{config.STORE_PAYS_FROM:,}",
        f"{config.THUMBNAILS_BYTES // 1024**3} GB",
        rf"{config.MIN_CLOSENESS_IMAGES}( images|장)",
        re.escape(f"${config.LIBRARY_ENV}"),
    )
    for fact in facts:
        assert re.search(rf"(?<!\d){fact}", text), fact


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.name)
def test_the_readme_says_how_long_as_it_was_measured(readme: Path) -> None:
    """Images a second on two cores, from docs/performance.md -> minutes for 10,000 photos of 12 megapixels."""
    figures = text_of(ROOT / "docs" / "performance.md")
    (mini,) = re.findall(r"share of both in decoders and model, mini, 12 MP.* ([\d.]+) images/s", figures)
    dino = re.findall(r"^\| 2 models of 1 thread.*\(as `index`\) \| ([\d.]+)", figures, re.MULTILINE)[0]
    said = [int("".join(pair)) for pair in re.findall(r"(?:about (\d+)(?: minutes)?\b(?! MB)|약 (\d+)분)", text_of(readme))]
    assert said == [round(10_000 / float(rate) / 60) for rate in (mini, dino)]


@pytest.mark.parametrize("readme", READMES, ids=lambda p: p.name)
def test_the_readme_is_short_and_ci_runs_its_two_commands(readme: Path) -> None:
    assert len(text_of(readme).splitlines()) <= 135
    see, develop = (block for block in blocks(readme, "bash") if block.startswith("pip install"))
    assert see.endswith(" demo\n") and develop.endswith(" pytest\n")  # one runs the main job, one passes the tests
    steps = {name for _, name in re.findall(r"^step (['\"])(.*?)\1 ", text_of(ROOT / ".ci" / "run"), re.MULTILINE)}
    assert steps >= {command.strip() for command in f"{see} && {develop}".split("&&")}


def test_every_document_is_listed() -> None:
    listed = {
        (ROOT / "docs" / link).resolve()
        for link in links_of(text_of(ROOT / "docs" / "README.md"))
        if not link.startswith(("http:", "https:", "#"))
    }
    assert set(DOCUMENTS) - {ROOT / "docs" / "README.md"} <= listed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_lines_of_prose_are_not_endless(document: Path) -> None:
    """Tables, code and pictures are as wide as they have to be."""
    prose = re.sub(r"^```.*?^```$", "", text_of(document), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 160 and not line.startswith(("|", "!["))] == []


def test_small_libraries_have_no_closeness() -> None:
    import numpy as np

    vectors = np.eye(config.MIN_CLOSENESS_IMAGES, dtype=np.float32)
    assert sample(vectors[1:]) is None and sample(vectors) is not None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in links_of(text_of(document)):
        if not target.startswith(("http:", "https:")):
            path, _, anchor = target.partition("#")
            there = document.parent / path if path else document
            assert there.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.*)$", text_of(there), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


@pytest.mark.usefixtures("in_process")
def test_the_script_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the toy that it makes, over four flat pictures: what it says can be told beforehand."""
    monkeypatch.setattr("image_search.evaluate.words.DecodePool", InProcessPool)
    for name, colour in {"sky": "blue", "rose": "red", "leaf": "green", "sun": "yellow"}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), colour).save(tmp_path / "photos" / name / f"{name}.png")
    monkeypatch.setattr("image_search.models.is_available", lambda row: False)
    script = runpy.run_path(str(ROOT / "examples" / "words.py"))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        script["main"](tmp_path, str(tmp_path / "photos"))
    blue, yellow, both, vectors, *labels = out.getvalue().splitlines()
    assert blue.startswith("blue: sky 1.00 ") and yellow.startswith("노란: sun 1.00 ")
    assert both.startswith("sky, with red, without green: rose ") and vectors == "vectors: (2, 3)"
    assert labels == ["leaf.png: green, 100%", "rose.png: red, 100%", "sky.png: blue, 100%"]


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)


def test_the_notebook_is_kept_without_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    fresh = nbformat.reads(nbformat.writes(notebook), as_version=4)
    NotebookClient(fresh, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in fresh.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"] == []
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "72 added, 72 embedded; the second time 72 unchanged, 0 embedded" in said
    assert "nearest: Sailboat" in said and "(3, 256) float32" in said
    shown = fresh.cells[-1].outputs[-1].data  # the comparison itself is the end
    assert "image/png" in shown and "Matches of" in shown["text/plain"]
    assert list(tmp_path.iterdir()) == []  # everything went to a folder of its own
