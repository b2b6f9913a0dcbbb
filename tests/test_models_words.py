"""Models that know words, against transformers' own on random checkpoints of exact architecture."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import export_two_towers, put_in_cache, two_towers

from image_search.errors import ModelDamagedError, ModelError, ModelMissingError
from image_search.models import canonical_pictures, load_model

pytest.importorskip("torch")
FAMILIES = ("clip", "siglip", "siglip2")
TEXTS = [
    "a red bicycle in the snow",
    "A RED Bicycle",
    "",
    " ",
    "  two   blanks\tand a tab ",
    "눈 속의 빨간 자전거",
    "🚲❄️",
    "photo, of: a cat!",
    "x" * 3000,
]


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Family -> its folder for torch, its folder for ONNX Runtime."""
    home = tmp_path_factory.mktemp("towers")
    made = {}
    for family in FAMILIES:
        torch = two_towers(family, home / family / "torch")
        made[family] = torch, export_two_towers(torch, home / family / "onnx")
    return made


def reference(family: str, folder: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """float32 vectors of the canonical pictures and of TEXTS, by transformers' own processors and models."""
    import torch
    import transformers

    model_class = transformers.CLIPModel if family == "clip" else transformers.SiglipModel
    model = model_class.from_pretrained(folder).eval()
    processor = (transformers.CLIPImageProcessor if family == "clip" else transformers.SiglipImageProcessor).from_pretrained(folder)
    recipe = load_model(str(folder), runtime="torch").fingerprint.preprocess
    with torch.inference_mode():
        pixels = processor(images=list(canonical_pictures(recipe)), return_tensors="pt")["pixel_values"]
        pictures = model.get_image_features(pixel_values=pixels).pooler_output
        words = [model.get_text_features(input_ids=torch.tensor([ids])).pooler_output[0] for ids in token_ids(family, folder)]
    return tuple(torch.nn.functional.normalize(v, dim=-1).numpy() for v in (pictures, torch.stack(words)))  # type: ignore[return-value]


# What SigLIP's authors make of TEXTS before they cut them (transformers' class for it needs the SentencePiece file).
FIRST_GENERATION = [
    "a red bicycle in the snow", "a red bicycle", "", "", "two blanks and a tab", "눈 속의 빨간 자전거",
    "🚲❄️", "photo of a cat", "x" * 3000,
]  # fmt: skip


def token_ids(family: str, folder: Path) -> list[list[int]]:
    """As transformers reads these words for this family."""
    import transformers

    if family == "clip":
        clip = transformers.CLIPTokenizer.from_pretrained(folder)
        return [clip(text, truncation=True, max_length=77)["input_ids"] for text in TEXTS]
    texts = TEXTS if family == "siglip2" else FIRST_GENERATION
    kind = transformers.Siglip2Tokenizer if family == "siglip2" else transformers.PreTrainedTokenizerFast
    made = kind.from_pretrained(folder, padding_side="right")
    return [made(text, truncation=True, max_length=64, padding="max_length")["input_ids"] for text in texts]


def cosines(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    return float(np.min(np.sum(a.astype(np.float64) * b.astype(np.float64), axis=1)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_pictures_and_words_are_those_of_transformers(towers: Any, family: str, runtime: str) -> None:
    folder = towers[family][runtime == "onnx"]
    pictures, words = reference(family, towers[family][0])
    model = load_model(str(folder), runtime=runtime)
    assert cosines(model.embed(canonical_pictures(model.fingerprint.preprocess)), pictures) >= 0.99999
    found = model.embed_text(TEXTS)
    assert found.dtype == np.float32 and found.shape == (len(TEXTS), model.fingerprint.dim)
    assert cosines(found, words) >= 0.99999
    assert len({row.tobytes() for row in found}) >= 6  # and they are not all one


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bits_are_equal_across_processes(towers: Any, family: str) -> None:
    folder = towers[family][1]
    code = (
        "import sys; from image_search.models import load_model;"
        f"sys.stdout.buffer.write(load_model({str(folder)!r}).embed_text(['a cat', '고양이']).tobytes())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert load_model(str(folder)).embed_text(["a cat", "고양이"]).tobytes() == other


def test_words_are_opened_when_they_are_asked_for_and_kept(towers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from image_search.models import onnx_text

    opened, asked = [], []
    real = onnx_text.open_text

    def counted(*args: Any) -> Any:
        opened.append(1)
        run, digest = real(*args)
        return lambda ids: asked.append(1) or run(ids), digest

    monkeypatch.setattr(onnx_text, "open_text", counted)
    model = load_model(str(towers["siglip2"][1]))
    model.embed(canonical_pictures(model.fingerprint.preprocess))
    assert not opened
    model.embed_text(["a cat", "a dog", "a cat"])
    model.embed_text(["a dog"])
    assert (len(opened), len(asked)) == (1, 2)


def test_what_is_cut_is_told(towers: Any) -> None:
    assert load_model(str(towers["clip"][1])).cuts("a cat") is None
    assert load_model(str(towers["clip"][1])).cuts("cat " * 100) == 77
    assert load_model(str(towers["siglip2"][1])).cuts("고양이 " * 100) == 64


def test_siglip_knows_its_probability(towers: Any) -> None:
    for folder in towers["siglip2"][:1]:
        scale, bias = load_model(str(folder)).calibration
        assert scale == pytest.approx(np.exp(4.7), rel=1e-5) and bias == pytest.approx(-16.5)
    assert load_model(str(towers["siglip2"][1])).calibration is None  # an ONNX file alone does not hold it, and no row says it
    assert load_model(str(towers["clip"][0])).calibration is None


def test_words_tell_their_files_apart(towers: Any, tmp_path: Path) -> None:
    _, onnx = towers["siglip2"]
    changed = shutil.copytree(onnx, tmp_path / "changed")
    facts = json.loads((changed / "tokenizer_config.json").read_text())
    (changed / "tokenizer_config.json").write_text(json.dumps(facts | {"padding_side": "left"}))
    one, other = load_model(str(onnx)), load_model(str(changed))
    assert one.fingerprint.weights_sha256 == other.fingerprint.weights_sha256
    assert one.words_sha256 != other.words_sha256 == load_model(str(changed)).words_sha256


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), ModelMissingError, "not on this machine"),
        (lambda f: (f / "onnx" / "text_model.onnx").unlink(), ModelMissingError, "not on this machine"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), ModelDamagedError, "tokenizer does not load"),
        (lambda f: (f / "tokenizer.json").write_bytes(b"\x80" * 50), ModelDamagedError, "tokenizer does not load"),
        (lambda f: (f / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.py"}}'), ModelError, "code of its own"),
        (lambda f: (f / "tokenizer_config.json").write_text('{"pad_token": "<none>"}'), ModelDamagedError, "tokenizer does not load"),
        (lambda f: (f / "onnx" / "text_model.onnx").write_bytes(b"no graph"), ModelDamagedError, "does not load"),
        (lambda f: shutil.copy(f / "onnx" / "vision_model.onnx", f / "onnx" / "text_model.onnx"), ModelError, "not the tokens of a text"),
    ],
)
def test_spoiled_words_are_one_plain_line_and_pictures_go_on(towers: Any, tmp_path: Path, spoil: Any, error: Any, says: str) -> None:
    folder = shutil.copytree(towers["siglip2"][1], tmp_path / "spoiled")
    spoil(folder)
    model = load_model(str(folder))
    assert np.isfinite(model.embed(canonical_pictures(model.fingerprint.preprocess))).all()
    with pytest.raises(error, match=says) as caught:
        model.embed_text(["a cat"])
    assert "\n" not in str(caught.value)


def test_towers_that_do_not_belong_together(towers: Any, tmp_path: Path) -> None:
    other = export_two_towers(two_towers("siglip2", tmp_path / "small", dim=24), tmp_path / "onnx")
    folder = shutil.copytree(towers["siglip2"][1], tmp_path / "mixed")
    shutil.copy(other / "onnx" / "text_model.onnx", folder / "onnx" / "text_model.onnx")
    with pytest.raises(ModelError, match=r"words of model .* have 24 numbers, its pictures 48"):
        load_model(str(folder)).embed_text(["a cat"])


def test_any_shape_siglip2_is_refused(towers: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(towers["siglip2"][0], tmp_path / "naflex")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "siglip2"}))
    with pytest.raises(ModelError, match="any shape"):
        load_model(str(folder))


def test_from_the_cache_of_the_hub(towers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    put_in_cache(tmp_path, "somebody/clip", towers["clip"][1])
    model = load_model("somebody/clip", runtime="onnx", download=False)
    assert model.embed_text(["a cat"]).shape == (1, 48)
