"""Models of the Hugging Face hub: in its cache without a network call, or fetched from a hub that the test runs itself."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from checkpoints import COMMIT, colour_words, onnx_in_two_files, put_in_cache, tiny_onnx

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
"""A hub of one repository on the loopback; argv: its id, its files as JSON, what to load, the rounds as JSON (see `from_a_hub`)."""
import glob, hashlib, http.server, json, os, re, sys, tempfile, threading
repo, name = sys.argv[1], sys.argv[3]
whole = {path: text.encode("latin-1") for path, text in json.loads(sys.argv[2]).items()}
faults, asked = {}, []

class Hub(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer()

    def answer(self, head=False):
        asked.append(self.path)
        pinned = re.search("[0-9a-f]{40}", self.path)
        commit = pinned[0] if pinned else "COMMIT"
        if self.path.startswith("/api/models/" + repo):
            body = json.dumps({"id": repo, "sha": commit, "siblings": [{"rfilename": n} for n in whole]}).encode()
            if "/tree/" in self.path:
                body = json.dumps([{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in whole.items()]).encode()
            return self.send(200, body, {})
        if self.path.startswith(f"/{repo}/resolve/"):
            path = self.path.split("/", 5)[5]
            if path in whole:
                headers = {"ETag": f'"{hashlib.sha256(whole[path]).hexdigest()}"', "X-Repo-Commit": commit}
                body = whole[path]
                fault = None if head else faults.get(path)
                if fault == "other":
                    body = bytes([body[0] ^ 1]) + body[1:]
                if fault == "short":
                    body = body[:-1]
                if head:
                    return self.send(200, b"", headers, len(body))
                return self.send(200, body[: len(body) // 2] if fault == "cut" else body, headers, len(body))
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
import time
time.sleep = lambda seconds: None  # the hub library waits longer and longer before it tries again
from image_search.errors import ImageSearchError
from image_search.models import load_model

def said(make):
    try:
        return make()
    except ImageSearchError as error:
        return f"{type(error).__name__} {error}"

for turn in json.loads(sys.argv[4]):
    faults = turn.get("faults", {})
    for path in turn.get("deleted", ()):
        (link,) = glob.glob(os.environ["HF_HOME"] + "/hub/*/snapshots/*/" + path)
        os.unlink(os.path.realpath(link))
        if turn.get("links", False):
            os.unlink(link)
    del asked[:]
    found = []
    told = said(lambda: found.append(load_model(name)) or found[0].fingerprint.to_json())
    words = said(lambda: found[0].embed_text(["red"]).tolist()) if found and "words" in turn else None
    gets = [path.split("/", 5)[5] for path in asked if "/resolve/" in path]
    print(json.dumps({"said": told, "words": words, "files": sorted(set(gets)), "asked": len(asked)}))
server.shutdown()
'''


def from_a_hub(
    files: dict[str, bytes], name: str = "some/model", repo: str = "some/model", rounds: Sequence[dict[str, object]] = ({}, {})
) -> tuple[list[dict[str, Any]], str]:
    """What a process says that loads `name` once each round from a hub that it runs itself, and its stderr.

    A round may have: "faults", path -> "cut" (the connection ends half-way), "other" (a byte of it), "short" (a byte less than announced);
    "deleted", files taken out of the cache before, and "links", theirs, too; "words": to be embedded as well.
    """
    texts = json.dumps({path: content.decode("latin-1") for path, content in files.items()})
    command = [sys.executable, "-c", HUB.replace("COMMIT", COMMIT), repo, texts, name, json.dumps(rounds)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_model_is_fetched_once_and_only_what_it_needs(tmp_path: Path) -> None:
    files = files_of(tiny_hub_folder(tmp_path / "src"))
    (first, second), _ = from_a_hub(files | {"onnx/model_fp16.onnx": b"not asked for", "README.md": b"nor this"})
    assert json.loads(first["said"])["weights_sha256"] == hashlib.sha256(files["onnx/model.onnx"]).hexdigest()
    assert first["files"] == sorted(files)
    assert second["said"] == first["said"] and second["asked"] == 0, "the second time nobody is asked"


def test_both_towers_are_fetched_once_and_words_that_are_not_here_when_asked_for(tmp_path: Path) -> None:
    """All at first; then from a cache that has the pictures alone, as other programs leave it, over a bad line and a good one."""
    files = files_of(colour_words(tmp_path / "src", calibrated=False))
    words = ["onnx/text_model.onnx", "tokenizer.json", "tokenizer_config.json"]
    more = {"onnx/model.onnx": b"both in one", "onnx/text_model_int8.onnx": b"not asked for", "onnx/vision_model_q4.onnx": b"nor this"}
    rounds = [{}, {"deleted": words, "links": True, "faults": {words[0]: "cut"}}, {}, {}]
    repo = str(resolve("siglip2").onnx_repo)
    (whole, cut, mended, again), _ = from_a_hub(files | more, "siglip2", repo, [{"words": 1, **turn} for turn in rounds])
    assert whole["files"] == sorted(files) and whole["words"][0][0] > 0.99
    assert cut["said"] == whole["said"], "its pictures go on"
    assert re.match(r"ModelMissingError the words of model siglip2 are not on this machine.*index", cut["words"])
    assert {*cut["files"]} <= {*words} and words[0] in mended["files"], "what is here is not fetched again"
    for right in (mended, again):
        assert (right["said"], right["words"]) == (whole["said"], whole["words"])
    assert again["asked"] == 0


def test_a_first_download_that_is_cut_is_none(tmp_path: Path) -> None:
    folder = onnx_in_two_files(tmp_path / "src", config={"model_type": "dinov3_vit"})
    files = {("onnx/" if "onnx" in path else "") + path: content for path, content in files_of(folder).items()}
    data = "onnx/model.onnx_data"
    rounds: list[dict[str, object]] = [
        {"faults": {data: "cut"}}, {"faults": {data: "short"}}, {"faults": {data: "other"}}, {}, {"deleted": [data]}, {}
    ]  # fmt: skip
    row = resolve("dinov3-s")
    (cut, short, other, damaged, mended, again), stderr = from_a_hub(files, "dinov3-s", str(row.onnx_repo), rounds)
    for failed in (cut, short):
        assert re.match(r"ModelMissingError model dinov3-s is not on this machine and could not be fetched", failed["said"])
        assert "config.json" not in failed["files"], "which would make half a download a model"
    for refused in (other, damaged):
        assert re.match(r"ModelDamagedError this model file is damaged: .*Delete it; it is then downloaded again", refused["said"])
    assert damaged["asked"] == 0
    assert mended["said"].startswith("{") and data in mended["files"] and "onnx/model.onnx" not in mended["files"]
    assert (again["said"], again["asked"]) == (mended["said"], 0)
    both = (hashlib.sha256(files[path]).hexdigest() for path in ("onnx/model.onnx", data))
    assert json.loads(again["said"])["weights_sha256"] == hashlib.sha256("".join(both).encode()).hexdigest()
    assert f"Model dinov3-s has conditions of its own, the DINOv3 License: {row.terms}" in stderr


def test_a_hub_that_has_nothing_for_us() -> None:
    pickle = {"config.json": b'{"model_type": "vit"}', "preprocessor_config.json": b"{}", "pytorch_model.bin": b"pickle"}
    (said,), _ = from_a_hub(pickle, rounds=[{}])
    assert said["said"].startswith("ModelError some/model offers its weights only as a pickle")
    assert said["files"] == [], "and nothing of it was fetched"
    (said,), _ = from_a_hub({}, "some/typo", rounds=[{}])
    assert said["said"].startswith("UnknownModelError there is no model some/typo (revision main) on the Hugging Face hub")
    (said,), _ = from_a_hub({}, "some/gated", rounds=[{}])
    assert "ccept its licence" in said["said"]
