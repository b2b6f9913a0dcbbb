"""Models of the Hugging Face hub: in its cache without a network call, or fetched from a hub that the test runs itself."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import COMMIT, put_in_cache, tiny_onnx

from image_search import errors, models
from image_search.advice import told
from image_search.cli.console import in_shell
from image_search.models import load_model, resolve
from image_search.models.find import find


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache in place of the user's."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to reach another machine fails, and is noted here."""
    attempts: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        attempts.append(args)
        raise OSError("network is unreachable")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    return attempts


def test_what_cannot_be_a_hub_id_is_unknown(cache: Path, no_network: list[object]) -> None:
    with pytest.raises(errors.UnknownModelError, match="cannot be the name"):
        load_model("some/mo--del")
    assert no_network == []


def test_auto_is_mini_until_dino_is_here_and_asks_nobody(cache: Path, no_network: list[object], tmp_path: Path) -> None:
    name, line = models.choose_auto()
    assert name == "mini" and line is not None and "--model dino (downloads 87 MB" in told(line, in_shell)
    assert load_model("auto", download=False).fingerprint.name == "mini"
    put_in_cache(cache, "Xenova/dino-vits16", tiny_hub_folder(tmp_path / "src"))
    assert models.choose_auto() == ("dino", None)
    assert models.is_available(resolve("dino")) and not models.is_available(resolve("dinov2-s"))
    assert no_network == []


def tiny_hub_folder(folder: Path) -> Path:
    tiny_onnx(folder, config={"model_type": "vit"})
    (folder / "onnx").mkdir()
    shutil.move(folder / "model.onnx", folder / "onnx" / "model.onnx")
    return folder


def test_half_a_download_is_not_available(cache: Path, tmp_path: Path) -> None:
    folder = tiny_hub_folder(tmp_path / "src")
    snapshot = put_in_cache(cache, "Xenova/dino-vits16", folder)
    (snapshot / "preprocessor_config.json").unlink()
    assert models.choose_auto()[0] == "mini"


def test_a_cached_model_loads_without_network_and_a_flipped_byte_in_it_is_found(
    cache: Path, no_network: list[object], tmp_path: Path
) -> None:
    snapshot = put_in_cache(cache, "some/model", tiny_hub_folder(tmp_path / "src"))
    embedder = load_model("some/model")
    assert embedder.fingerprint.source == "some/model" and embedder.fingerprint.revision == "main"
    assert no_network == []
    blob = (snapshot / "onnx" / "model.onnx").resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(errors.ModelDamagedError, match=blob.name):
        load_model("some/model")


def test_a_row_names_one_commit_or_says_why_not(cache: Path, tmp_path: Path) -> None:
    """The pinned one is taken where it is here; a cache that was filled before rows were pinned goes on serving."""
    pinned = {row.name for row in models.MODELS if re.fullmatch("[0-9a-f]{40}", row.revision)}
    assert pinned == {row.name for row in models.MODELS} - {"mini", "dino-b8"}
    row = resolve("dinov2-s")
    snapshot = put_in_cache(cache, str(row.onnx_repo), tiny_hub_folder(tmp_path / "src"))
    assert find(row, None).folder == snapshot
    shutil.copytree(snapshot, snapshot.parent / row.onnx_revision, symlinks=True)
    assert find(row, None).folder == snapshot.parent / row.onnx_revision


@pytest.mark.parametrize("name", ["dino", "vit-in21k", "some/model"])
def test_nothing_is_fetched_unless_asked(cache: Path, no_network: list[object], name: str) -> None:
    with pytest.raises(errors.ModelMissingError, match=f"{name} is not on this machine. Fetch it.*model=.{name}.\\)"):
        load_model(name, download=False)
    assert no_network == []


def test_no_network_and_hf_hub_offline_are_one_line_each(cache: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.ModelMissingError, match=r"could not be fetched \(.*model='mini'") as caught:
        load_model("dino")
    assert "\n" not in str(caught.value) and caught.value.__cause__ is not None
    assert no_network, "it was asked for, so it was tried"
    no_network.clear()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(errors.ModelMissingError, match="HF_HUB_OFFLINE"):
        load_model("dino")
    assert no_network == []


HUB = '''
"""A hub of one repository on the loopback; argv: the repository's files as JSON, what to load."""
import hashlib, http.server, json, os, sys, threading, tempfile
files = {name: text.encode("latin-1") for name, text in json.loads(sys.argv[1]).items()}
asked = []

class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer()

    def answer(self, head=False):
        asked.append(self.path)
        if self.path.startswith("/api/models/some/model"):
            body = json.dumps({"id": "some/model", "sha": "COMMIT", "siblings": [{"rfilename": n} for n in files]}).encode()
            if "/tree/" in self.path:
                body = json.dumps([{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()]).encode()
            return self.send(200, body, {})
        if self.path.startswith("/some/model/resolve/"):
            name = self.path.split("/", 5)[5]
            if name in files:
                tag = hashlib.sha256(files[name]).hexdigest()
                return self.send(200, b"" if head else files[name], {"ETag": f'"{tag}"', "X-Repo-Commit": "COMMIT"}, len(files[name]))
        code = "GatedRepo" if "gated" in self.path else "RepoNotFound"
        self.send(403 if code == "GatedRepo" else 404, b"", {"X-Error-Code": code})

    def send(self, status, body, headers, length=None):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": tempfile.mkdtemp(), "HF_HUB_DISABLE_TELEMETRY": "1"}
os.environ.pop("HF_HUB_OFFLINE", None)
from image_search.errors import ImageSearchError
from image_search.models import load_model
for _ in range(2):
    del asked[:]
    try:
        print(load_model(sys.argv[2]).fingerprint.to_json())
    except ImageSearchError as error:
        print(type(error).__name__, error)
    print(len([path for path in asked if "/resolve/" in path]), len(asked))
server.shutdown()
'''


def from_a_hub(files: dict[str, bytes], name: str = "some/model") -> list[str]:
    """What loading prints, twice, each time followed by the numbers of file and other requests: from a hub that we run ourselves."""
    texts = json.dumps({path: content.decode("latin-1") for path, content in files.items()})
    code = HUB.replace("COMMIT", COMMIT)
    return subprocess.run(
        [sys.executable, "-c", code, texts, name], capture_output=True, text=True, check=True, timeout=600
    ).stdout.splitlines()


def test_a_model_is_fetched_once_and_only_what_it_needs(tmp_path: Path) -> None:
    folder = tiny_hub_folder(tmp_path / "src")
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    first, requests, second, again = from_a_hub(files | {"onnx/model_fp16.onnx": b"not asked for", "README.md": b"nor this"})
    assert json.loads(first)["weights_sha256"] == hashlib.sha256(files["onnx/model.onnx"]).hexdigest()
    assert int(requests.split()[0]) in (3, 6), "three files: a GET each, perhaps a HEAD before"
    assert second == first and again == "0 0", "the second time nobody is asked"


def test_a_hub_that_has_nothing_for_us() -> None:
    said = from_a_hub({"config.json": b'{"model_type": "vit"}', "preprocessor_config.json": b"{}", "pytorch_model.bin": b"pickle"})
    assert said[0].startswith("ModelError some/model offers its weights only as a pickle")
    assert said[1].startswith("0 "), "and nothing of it was fetched"
    assert from_a_hub({}, "some/typo")[0].startswith(
        "UnknownModelError there is no model some/typo (revision main) on the Hugging Face hub"
    )
    assert "ccept its licence" in from_a_hub({}, "some/gated")[0]
