"""The program: what it prints, where, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from inprocess import Answer, Quick
from pictures import fill, picture

from image_search import ImageSearchEngine, ImageSearchError, QueryError
from image_search.advice import Advice, Setting, Verb
from image_search.cli.console import bytes_from_stdin
from image_search.library.catalog import Catalog
from image_search.present.json import SCHEMA
from image_search.testing import InProcessPool
from image_search.web.start import PageSettings

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "chromadb", "onnxruntime", "matplotlib", "PIL", "httpcore", "huggingface_hub", "fastapi", "uvicorn")


@pytest.fixture
def indexed(run: Callable[..., Answer], photos: Path) -> Path:
    assert run("index", photos, "--store", "exact").code == 0
    return photos


@pytest.fixture(scope="module")
def unchanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that no test changes."""
    place = tmp_path_factory.mktemp("unchanging")
    fill(place / "photos", 4)
    with ImageSearchEngine(place / "library", model=Quick(), store="exact", jobs=1, notify=lambda line: None) as engine:
        engine._make_pool = InProcessPool
        engine.index(place / "photos")
    return place / "library"


def test_index_search_status(real_model: None, run: Callable[..., Answer], photos: Path) -> None:
    first = run("index", photos, "--store", "exact")
    assert first.code == 0 and "added" in first.out and "12" in first.out
    assert "mini" in first.err and "--model dino" in first.err  # which model, and how to get the better one
    again = run("index", photos, "--json")
    assert json.loads(again.out)["unchanged"] == 12 and again.err == ""
    query = photos / "circle" / "0.png"
    found = run("search", query)
    lines = found.out.splitlines()
    assert found.code == 0 and len(lines) == 4 and "identical" in lines[1] and "1.000" in lines[1] and str(query) in lines[1]
    status = run("status")
    assert "12" in status.out and "mini" in status.out and str(photos) in status.out
    assert json.loads(run("status", "--json").out)["images"] == 12


def test_json_keeps_its_schema(run: Callable[..., Answer], indexed: Path) -> None:
    for options in (("-n", 5), ("--name", "none"), ("--less", "id:3", "-n", 2)):
        answer = json.loads(run("search", indexed / "circle" / "0.png", "--json", *options).out)
        jsonschema.validate(answer, SCHEMA)
    assert list(answer) == ["query", "model", "exact", "matches"]
    assert list(answer["matches"][0]) == [
        "id", "rank", "name", "similarity", "distance", "closeness", "uri", "identical", "offline", "gone",
        "width", "height", "format", "bytes", "captured", "modified",
    ]  # fmt: skip
    by_id = json.loads(run("search", answer["matches"][0]["id"], "-n", 1, "--json").out)
    assert by_id["matches"][0]["id"] == answer["matches"][0]["id"]


def test_the_library_may_be_named_before_the_command(run: Callable[..., Answer], indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_SEARCH_LIBRARY", os.environ["IMAGE_SEARCH_LIBRARY"])  # put back afterwards
    assert run("--library", "nowhere", "status").code == 1
    assert run("--version").out.startswith("image-search 0.")


def test_a_class_that_does_not_exist_is_told(run: Callable[..., Answer], indexed: Path) -> None:
    answer = run("search", "id:1", "--name", "hexagon")
    assert (answer.code, answer.out) == (0, "nothing similar\n") and "--name" in answer.err
    for slip, meant in (("Circle", "circle"), ("cirlce", "circle"), ("stripe", "stripes"), ("SQUARE", "square")):
        answer = run("search", "id:1", "--name", slip, "--name", "square")
        assert answer.err == f"No image in the library has the class {slip}. Did you mean {meant}?\n", "also where others are found"


def test_a_file_that_is_called_like_an_option(
    run: Callable[..., Answer], indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-x.jpg", "-n.jpg", "--save.jpg"):
        shutil.copy(indexed / "circle" / "0.png", tmp_path / name)
        answer = run("search", name)
        assert answer.code == 2 and f"./{name}\n" in answer.err
        assert run("search", f"./{name}").code == 0
        assert run("search", "--", name).code == 0
    assert "./" not in run("search", "-y.jpg").err


def test_what_status_says_of_the_store(run: Callable[..., Answer], indexed: Path) -> None:
    assert "store       exact: none is kept, every search compares with every image\n" in run("status").out


def test_a_library_that_does_not_exist_is_guessed(run: Callable[..., Answer], photos: Path, tmp_path: Path) -> None:
    run("index", photos, "--library", tmp_path / "demo.library", "--store", "exact")
    for slip in ("demo.librry", "Demo.library", "demo"):
        answer = run("search", "id:1", "--library", tmp_path / slip)
        meant = "" if slip == "demo" else f"Did you mean {tmp_path / 'demo.library'}? Or make one with: image-search index FOLDER"
        assert answer.code == 1 and meant in answer.err and "Traceback" not in answer.err
    assert not (tmp_path / "demo.librry").exists()


def test_nothing_similar_is_no_failure(run: Callable[..., Answer], indexed: Path) -> None:
    far = ("search", indexed / "circle" / "0.png", "--less", indexed / "square" / "1.png", "--min-similarity", 1)
    answer = run(*far)
    assert (answer.code, answer.out) == (0, "nothing similar\n")
    assert json.loads(run(*far, "--json").out)["matches"] == []
    assert run("search", "id:1", "--min-similarity", 1.5).code == 2, "that nothing can reach it is a slip"


def test_save(run: Callable[..., Answer], indexed: Path, tmp_path: Path) -> None:
    answer = run("search", indexed / "circle" / "0.png", "--save", tmp_path / "compare.png")
    assert answer.code == 0 and (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert run("search", "id:1", "--save", tmp_path / "compare.xyz").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("search", "absent.jpg"), 1, "no such file"),
        (("search", "id:1", "-n", 0), 2, "at least 1"),
        (("search", "id:1", "--region", "1,2,3"), 2, "x,y,w,h"),
        (("search", "id:1", "--region", "0,0,9999,9999"), 2, "160x120"),
        (("search", "id:1", "--exact", "--store-only"), 2, "exclude each other"),
        (("search", "id:1", "--store-only"), 1, "store cannot answer"),
        (("search", "id:1", "--model", "dino"), 1, "mini"),
        (("search", "id:1", "--no-such-option"), 2, "No such option"),
        (("search",), 2, "nothing was given to search with"),
        (("search", "http://127.0.0.1:1/a.png"), 1, "--allow-private-urls"),
        (("index", "absent"), 2, "no such folder"),
        (("index", __file__), 2, "is a file"),
        (("index", ".", "--runtime", "foo"), 2, "there is no runtime"),
        (("search", "id:1", "--library", "x" * 300), 1, "file name too long"),
        (("search", __file__, "--save", "photo.png"), 2, "is no comparison"),
        (
            ("index", ".", "--model", "no-such-model", "--library", "other"),
            2,
            "mini, dino, dinov2-s, vit-in21k, siglip2, clip-b32, dino-int8",
        ),
        (("index", ".", "--store", "cassandra", "--library", "other"), 2, "no store"),
        (("status", "--library", "nowhere"), 1, "image-search index FOLDER"),
        (("forget", "nothing.jpg"), 2, "not in the library"),
        (("relocate", "old", "new"), 2, "no indexed folder"),
        (("rebuild", "--library", "nowhere"), 1, "no library"),
        (("frobnicate",), 2, "No such command"),
        (("photo.jpg",), 2, "image-search search IMAGE"),
        (("search", "id:1", "--min-closeness", 90), 2, "from 0 to 1"),
        (("search", "id:1", "--save", "compare.xyz"), 2, ".png"),
    ],
)
def test_mistakes_are_one_plain_line(
    run: Callable[..., Answer],
    unchanging: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGE_SEARCH_LIBRARY", str(unchanging))
    (tmp_path / "photo.png").write_bytes(b"somebody's photo")
    answer = run(*arguments)
    assert answer.code == code and words in answer.err and "Traceback" not in answer.err and answer.out == ""
    assert len([line for line in answer.err.splitlines() if line.startswith("error:")]) <= 1
    assert len(json.loads(run("search", "id:1", "-n", 100, "--json").out)["matches"]) == 12  # nothing was lost


def test_a_command_with_a_slip_is_guessed(run: Callable[..., Answer]) -> None:
    answer = run("serch", "photo.jpg")
    assert answer.code == 2 and "'search'" in answer.err


def test_a_command_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys; sys.argv[1:] = ['status', '--help']\n"
        "from image_search.cli import app, main\n"
        "try: main()\n"
        "finally: print(*[name for name in app.COMMANDS if f'image_search.cli.{name}' in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "status"


def test_whatever_is_printed_says_hints_in_the_words_of_a_shell(
    run: Callable[..., Answer], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("index", photos, "--store", "exact", "--max-megapixels", "0.001")
    table, data = run(*small).out, json.loads(run(*small, "--json").out)
    assert "12 too many pixels: raise the limit with --max-megapixels\n" in table
    assert {skipped["hint"] for skipped in data["skipped"]} == {"raise the limit with --max-megapixels"}
    with ImageSearchEngine(model=Quick(), store="exact") as engine:  # and Python's own
        hints = {skipped.hint for skipped in engine.index(photos, max_megapixels=0.001).skipped}
    assert hints == {"raise the limit with max_megapixels="}

    monkeypatch.setattr(ImageSearchEngine, "verify", lambda _: [Advice("worn out: ", Verb("rebuild"))])
    answer = run("status", "--verify")
    assert "damage: worn out: image-search rebuild\n" in answer.err  # a line, then an error
    assert "Save what is still good with: image-search salvage\n" in answer.err
    assert json.loads(run("status", "--verify", "--json").out)["damage"] == ["worn out: image-search rebuild"]

    def tired(engine: ImageSearchEngine) -> dict[str, object]:
        engine._notify(Advice("raise ", Setting("jobs")))  # a notice
        raise ImageSearchError("it is over", hint=Advice(Verb("rebuild"), " helps"))

    monkeypatch.setattr(ImageSearchEngine, "status", tired)
    assert run("status").err == "raise --jobs of image-search index\nerror: it is over. image-search rebuild helps\n"


def test_debug_shows_the_trace(run: Callable[..., Answer]) -> None:
    with pytest.raises(Exception, match="no library"):
        run("status", "--debug")


def test_strict_and_skipped(run: Callable[..., Answer], photos: Path) -> None:
    (photos / "circle" / "bad\x1b[31m.jpg").write_bytes(b"")
    answer = run("index", photos, "--store", "exact", "--strict")
    assert answer.code == 1 and "empty file" in answer.out and "\x1b" not in answer.out
    assert run("index", photos).code == 0


def test_stdin_and_the_other_commands(
    real_model: None, program: Callable[..., subprocess.CompletedProcess[str]], run: Callable[..., Answer], indexed: Path, tmp_path: Path
) -> None:
    path = indexed / "square" / "1.png"
    answer = program("search", "-", "-n", 1, "--json", stdin=path.read_bytes())
    assert json.loads(answer.stdout)["matches"][0]["uri"] == str(path)
    assert run("search", "-").code == 1
    assert "1 image left" in run("forget", path).out
    indexed.rename(tmp_path / "moved")
    assert "11 images" in run("relocate", indexed, tmp_path / "moved").out
    assert "dino" in run("models").out
    assert [m["here"] for m in json.loads(run("models", "--json").out)] == [True, False, False, False, False, False, False]


def test_ask_asks_again_after_a_mistake(run: Callable[..., Answer], indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run("ask", stdin=f"absent.png\n'{indexed / 'circle' / '0.png'}'\n\n".encode())
    assert answer.code == 0
    assert "no such file" in answer.err and "identical" in answer.out and "comparison.png" in answer.err


def test_one_program_with_three_names() -> None:
    helps = {
        subprocess.run([sys.executable, *start, "--help"], capture_output=True, text=True, check=True).stdout.replace(name, "NAME")
        for start, name in (
            ((str(ROOT / "ai_image_search_engine.py"),), "ai_image_search_engine.py"),
            (("-m", "image_search"), "python -m image_search"),
        )
    }
    script = Path(sys.executable).with_name("image-search")
    if script.exists():
        helps.add(
            subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout.replace("image-search ", "NAME ", 1)
        )
    assert len({text.split("Options:")[1].strip() for text in helps}) == 1


@pytest.mark.parametrize("code", ["import image_search", "from image_search.cli import app, main"])
def test_importing_loads_nothing_heavy(code: str) -> None:
    check = f"{code}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_script_without_a_main_guard_and_from_stdin(photos: Path, tmp_path: Path) -> None:
    code = (
        "from image_search import ImageSearchEngine\n"
        "from image_search.testing import QuickModel\n"
        f"with ImageSearchEngine({str(tmp_path / 'library')!r}, model=QuickModel(), store='exact', jobs=2) as engine:\n"
        f"    engine.index({str(photos)!r})\n"
        "    print(len(engine.search('id:1', 100)))\n"
    )
    (tmp_path / "script.py").write_text(code)
    for arguments, stdin in (([tmp_path / "script.py"], None), (["-"], code)):
        done = subprocess.run([sys.executable, *arguments], input=stdin, capture_output=True, text=True, timeout=120)
        assert (done.stdout, done.returncode) == ("12\n", 0), done.stderr


# The program with a model that costs nothing and takes its time: 20 ms a picture, so that a run can be met while it works.
PATIENT = """
import time
from dataclasses import replace
from image_search.cli import main
from image_search.index import run
from image_search.library import model
from image_search.testing import InProcessPool, QuickModel

class Patient(QuickModel):
    fingerprint = replace(QuickModel.fingerprint, name="mini")
    def embed(self, pixels):
        time.sleep(0.02 * len(pixels))
        return super().embed(pixels)

run.COMMIT_SECONDS = 0.1
model.load_model = lambda *_, **__: Patient()
main()
"""


def start_indexing(folder: Path, library: Path) -> subprocess.Popen[bytes]:
    """A process that indexes and has committed something."""
    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT, "index", str(folder), "--library", str(library), "--model", "mini", "--store", "exact"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not committed(library):
        time.sleep(0.01)
    return process


def committed(library: Path) -> int:
    """How many images others see."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{library}/catalog.sqlite?mode=ro", uri=True)) as catalog:
            return int(catalog.execute("SELECT count(*) FROM content").fetchone()[0])
    except sqlite3.OperationalError:  # it is not there yet, or being made
        return 0


def test_an_interrupted_run_ends_cleanly_and_goes_on(tmp_path: Path, run: Callable[..., Answer]) -> None:
    paths = fill(tmp_path / "photos", 40)
    process = start_indexing(tmp_path / "photos", tmp_path / "library")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and b"Traceback" not in err and b"go on" in err
    done = json.loads(run("status", "--library", tmp_path / "library", "--json").out)["images"]
    assert 0 < done < len(paths)
    report = json.loads(run("index", tmp_path / "photos", "--library", tmp_path / "library", "--json").out)
    assert (report["embedded"], report["unchanged"]) == (len(paths) - done, done)


def test_killed_runs_lose_nothing_and_one_writer_at_a_time(tmp_path: Path, run: Callable[..., Answer]) -> None:
    fill(tmp_path / "photos", 40)
    process = start_indexing(tmp_path / "photos", tmp_path / "library")
    busy = run("index", tmp_path / "photos", "--library", tmp_path / "library")
    assert busy.code == 1 and str(process.pid) in busy.err and "image-search index" in busy.err
    seen = json.loads(run("status", "--library", tmp_path / "library", "--json").out)["images"]  # readers do not wait
    process.kill()
    process.communicate()
    assert json.loads(run("status", "--library", tmp_path / "library", "--json").out)["images"] >= seen
    report = json.loads(run("index", tmp_path / "photos", "--library", tmp_path / "library", "--json").out)
    assert report["embedded"] + report["unchanged"] == 120 and report["unchanged"] >= seen


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, to give up root's right to write anywhere")
@pytest.mark.parametrize("left_over_log", [False, True])
def test_a_read_only_library_can_be_searched(tmp_path: Path, own_home: Path, indexed: Path, left_over_log: bool) -> None:
    library = own_home / "library"
    if left_over_log:  # as after a kill: the last commit is in the log only
        catalog = Catalog.open(library, write=True)
        with catalog.transaction() as generation:
            catalog.execute("UPDATE files SET name = 'logged', generation = ? WHERE path = ?", (generation, b"circle/0.png"))
        kept = {p.name: p.read_bytes() for p in library.glob("catalog.sqlite*") if not p.name.endswith("shm")}
        catalog.close()
        for name, content in kept.items():
            (library / name).write_bytes(content)
    before = {p.name: p.read_bytes() for p in library.iterdir() if p.is_file()}
    for path in (library, *library.iterdir()):
        path.chmod(path.stat().st_mode & ~0o222)

    def as_user(*arguments: str) -> subprocess.CompletedProcess[str]:
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
        command = [sys.executable, "-m", "image_search", *arguments, "--library", str(library)]
        return subprocess.run([*(drop if os.geteuid() == 0 else []), *command], capture_output=True, text=True)

    found = as_user("search", str(indexed / "circle" / "0.png"), "--json")
    assert found.returncode == 0, found.stderr
    first = json.loads(found.stdout)["matches"][0]
    assert first["identical"] and first["name"] == ("logged" if left_over_log else "circle")
    refused = as_user("index", str(indexed))
    assert refused.returncode == 1 and "cannot be written" in refused.stderr
    assert {p.name: p.read_bytes() for p in library.iterdir() if p.is_file()} == before


def test_the_first_picture_can_be_found_in_korean(run: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "사진" / "고양이").mkdir(parents=True)
    picture("circle", 1).save(tmp_path / "사진" / "고양이" / "나비.png")
    run("index", tmp_path / "사진", "--store", "exact")
    assert "고양이" in run("search", "id:1").out
    assert run("search", "id:1", "--name", "고양이").out.count("나비.png") == 1


def test_options_before_the_command_hold_for_the_command(
    run: Callable[..., Answer], indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = os.environ["IMAGE_SEARCH_LIBRARY"]
    monkeypatch.setenv("IMAGE_SEARCH_LIBRARY", str(tmp_path / "none"))
    assert run("--library", library, "status").code == 0
    assert run("status").code == 1
    assert run("--library", tmp_path / "none", "status", "--library", library).code == 0
    started: list[tuple[bool, PageSettings]] = []
    monkeypatch.setattr("image_search.web.serve.serve", lambda settings, *, browser, notify: started.append((browser, settings)))
    monkeypatch.setenv("DISPLAY", ":0")
    for words in (["--no-browser", "serve"], ["--no-browser"], ["serve", "--no-browser"], ["serve"]):
        assert run(*words).code == 0
    assert [browser for browser, _ in started] == [False, False, False, True]
    assert {(settings.library, settings.host, settings.folders) for _, settings in started} == {(None, "127.0.0.1", ())}


@pytest.mark.parametrize("words", [["--library", "", "status"], ["status", "--library", ""], ["demo", "--library", ""]])
def test_an_empty_library_name_is_not_the_current_folder(run: Callable[..., Answer], words: list[str]) -> None:
    answer = run(*words)
    assert answer.code == 2 and "the library's name is empty" in answer.err


def test_wrong_words_do_no_harm_to_the_terminal(run: Callable[..., Answer]) -> None:
    for words in (["status", "x\x1b\u202e"], ["--bad\x1b\u202e"], ["index", "x", "--jobs", "\x1b\u202e"]):
        answer = run(*words)
        assert answer.code == 2 and "\x1b" not in answer.err and "\u202e" not in answer.err


def test_a_reader_that_leaves_is_no_error() -> None:
    """`image-search ... | head`, also where the output is larger than the pipe."""
    code = "from image_search.cli import app as cli; cli.app.command('flood')(lambda: print('x' * 1_000_000)); cli.main()"
    child = subprocess.Popen([sys.executable, "-c", code, "flood"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    assert (child.stderr.read(), child.wait(120)) == (b"", 0)
    child.stderr.close()


def test_stdin_may_be_what_the_results_should_not_resemble(indexed: Path, run: Callable[..., Answer]) -> None:
    unwanted = (indexed / "circle" / "1.png").read_bytes()
    done = run("search", indexed / "square" / "1.png", "--less", "-", "--json", stdin=unwanted)
    named = run("search", indexed / "square" / "1.png", "--less", indexed / "circle" / "1.png", "--json")
    assert done.code == 0, done.err
    assert [m["id"] for m in json.loads(done.out)["matches"]] == [m["id"] for m in json.loads(named.out)["matches"]]


def test_rebuild_says_where_there_is_no_store(run: Callable[..., Answer], indexed: Path) -> None:
    assert "no store" in run("rebuild").out


def test_json_where_the_output_knows_no_unicode(
    indexed: Path, run: Callable[..., Answer], program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    shutil.copytree(indexed / "circle", indexed.parent / "😀")
    assert run("index", indexed.parent / "😀").code == 0
    done = program("status", "--json", env={**os.environ, "PYTHONIOENCODING": "cp1252"})
    assert any(root["path"].endswith("😀") for root in json.loads(done.stdout)["roots"])


def test_a_missing_font_is_told_in_one_line(run: Callable[..., Answer], indexed: Path, tmp_path: Path) -> None:
    odd = tmp_path / "\U00010ee0.png"  # a letter that no font has
    shutil.copy(indexed / "circle" / "0.png", odd)
    answer = run("search", odd, "--save", tmp_path / "out.png")
    assert [line for line in answer.err.splitlines() if "no installed font" in line] and len(answer.err.splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_takes_nothing(unchanging: Path) -> None:
    command = [sys.executable, "-m", "image_search", "status", "--library", unchanging]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no space left" in done.stderr
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command, "--json"], stderr=subprocess.PIPE, text=True)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_an_import_that_a_signal_cuts_short_is_an_interruption(
    run: Callable[..., Answer], unchanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except SystemExit:
            raise ImportError("initialization failed") from None  # as an extension module says it

    monkeypatch.setattr(ImageSearchEngine, "status", cut_short)
    answer = run("status", "--library", unchanging)
    assert answer.code == 143 and answer.err.startswith("terminated")


def test_a_closed_stdin_is_an_empty_one(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As daemons start their children."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(QueryError, match="nothing came from stdin"):
        bytes_from_stdin(20)
