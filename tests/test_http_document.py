"""docs/http.md is run as it stands: its curl lines and its Python against a server; its tables and the container's files are compared."""

from __future__ import annotations

import ast
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from pageserver import ALIVE, make_library, picture, serving

from image_search import config
from image_search.cli import app as cli
from image_search.web.schemas import SearchRequest
from image_search.web.server import PageServer

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
KOREAN = (ROOT / "docs" / "http.ko.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with serving(make_library(tmp_path_factory.mktemp("document"), per_class=3)) as running:
        yield running


@pytest.fixture
def user(server: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photo.jpg, and where the examples look for the server."""
    (tmp_path / "photo.jpg").write_bytes(picture(2, 960))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BASE", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("KEY", server.keys.token)
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="no curl here")
def test_the_curl_lines_run(user: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("curl")]
    said = [subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=ALIVE, check=True).stdout for line in lines]
    upload, search, batch, health = said
    assert upload.startswith('{"id":"up:') and '"rank":3' in search and '"rank":4' not in search
    assert batch.count('"rank":1') == 2 and health == '{"status":"ok"}'


def test_the_python_runs_from_top_to_bottom(user: Path) -> None:
    with redirect_stdout(io.StringIO()) as out:
        exec("\n".join(blocks("python")), {"__name__": "__main__"})
    lines = out.getvalue().splitlines()
    assert len(lines) == 7 and re.match(r"1 0\.\d+ Red /.*/Red/\d\.jpg", lines[0]) and all(" -> /" in line for line in lines[3:6])
    assert lines[6] == "0 0", "no copies among them"
    assert (user / "best.webp").read_bytes()[8:12] == b"WEBP"


def test_its_tables_and_limits_are_the_programs_own() -> None:
    for text in (TEXT, KOREAN):
        table = text.split("\n## ")[2]
        assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(SearchRequest.model_fields)
        for fact in (
            f"{config.PAGE_BATCH}( searches|개)",
            f"{config.PAGE_BATCH_RESULTS:,}( matches|개)",
            f"1( to |~){config.PAGE_PARTS}( pictures|장)",
            f"{config.PAGE_UPLOADS}( pictures|장)",
            f"{config.PAGE_UPLOADS_BYTES // config.MIB} MB",
            f"{config.UPLOAD_LIMITS.file_bytes // config.MIB} MB",
            f"{config.PAGE_JSON_BYTES // 1024} KB",
            f"at least {config.PAGE_KEY_CHARACTERS} characters",
            r"\b60\b",
        ):
            assert re.search(fact, text), fact
    assert SearchRequest.model_fields["n"].default == 60


# --- the container, as far as it can be checked without one ---------------------------------------------------------------------

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instruction(name: str) -> str:
    """The last of that name, its lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    found: str = re.findall(rf"^\s*{name} (.*)$", joined, re.MULTILINE)[-1]
    return found


def test_the_container_starts_what_the_program_knows() -> None:
    words = ast.literal_eval(instruction("CMD"))
    assert ast.literal_eval(instruction("ENTRYPOINT")) == ["image-search"] and words[0] == "serve"
    context = cli.app.make_context("image-search", list(words))
    _, command, rest = cli.app.resolve_command(context, list(words))
    given = command.make_context("serve", rest, parent=context).params
    assert (given["host"], given["port"], given["no_browser"]) == ("0.0.0.0", 8417, True)
    assert str(given["key_file"]).startswith("/data/") and given["folders"] == ("/pictures",)
    settings = dict(pair.split("=", 1) for pair in instruction("ENV").split())
    assert settings[config.LIBRARY_ENV].startswith("/data/")
    assert all(settings[name].startswith("/data") for name in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"))
    assert instruction("USER") == "1000:1000" and ast.literal_eval(instruction("VOLUME")) == ["/data"]
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*) \./?\S*$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    assert all((ROOT / name).exists() for name in copied - {"src"})
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied, "what is copied is not ignored, and nothing else is sent"


def test_the_containers_health_is_asked_as_it_is_written(server: PageServer) -> None:
    command = ast.literal_eval(re.search(r"CMD (\[.*\])", instruction("HEALTHCHECK"))[1])  # type: ignore[index]
    assert command[0] == "python" and "127.0.0.1:8417" in command[2]
    for port, code in ((server.port, 0), (1, 1)):
        asked = command[2].replace("8417", str(port))
        assert subprocess.run([sys.executable, "-c", asked], capture_output=True, timeout=ALIVE, check=False).returncode == code


def test_the_compose_file_mounts_what_the_container_expects() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for line in ('- "127.0.0.1:8417:8417"', "- library:/data", "- ./pictures:/pictures:ro", "read_only: true", "no-new-privileges:true"):
        assert line in compose, line


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint here")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(["hadolint", os.fspath(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=ALIVE, check=False)
    assert (done.returncode, done.stdout) == (0, "")
