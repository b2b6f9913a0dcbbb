"""What a question in words costs: opening a model's text tower, one phrase, and the whole command. The section "words".

CLIP ViT-B/32 and SigLIP 2 ViT-B/16 of exact size with random weights, exported as the hub's ONNX repositories have them; the tokenizers are
of our own, since reading words takes microseconds beside the model.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from image_search import ImageSearchEngine
from image_search.models import load_model

from .clock import medians, run
from .report import Row
from .setting import Setting

__all__ = ["words"]

TOKENS = {"clip": 77, "siglip": 64}
NAMES = {"clip": "CLIP ViT-B/32", "siglip": "SigLIP 2 ViT-B/16"}


def words(setting: Setting) -> Iterator[Row]:
    """Opening, one phrase, the whole process."""
    for family in TOKENS:
        folder = two_towers(setting.cache, family)
        yield from _inside(setting, family, folder)
        yield _whole(setting, family, folder)


def _inside(setting: Setting, family: str, folder: Path) -> Iterator[Row]:
    yield _opened(setting, family, folder / "onnx" / "text_model.onnx")
    model: Any = load_model(str(folder), runtime="onnx", threads=1)
    model.embed_text(["a first one"])
    phrases = iter(range(10_000))
    phrase = medians({"one": lambda: model.embed_text([f"word {next(phrases)}"])}, setting.rounds)["one"]
    model.close()
    yield Row("words", f"a phrase, {NAMES[family]}", "CPU ms", phrase, note="long-lived; the same phrase again costs nothing")


def _opened(setting: Setting, family: str, path: Path) -> Row:
    import onnxruntime as ort

    from image_search.models.graph import read_onnx
    from image_search.models.onnx import open_session

    began = time.process_time()
    read = read_onnx((path,))
    reading = time.process_time() - began
    whole = path.read_bytes()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: open_session(read, path, soon=True),
        "the whole file given": lambda: ort.InferenceSession(whole, options, providers=["CPUExecutionProvider"]),
    }
    found = medians(ways, setting.size(3, 1))
    note = f"beside reading and hashing the file: {len(whole) / 1e6:,.0f} MB, {reading:.2f} CPU s"
    return Row("words", f"text tower opened, {NAMES[family]}", "CPU ms", found.pop("ours"), found, goal=300, note=note)


def _whole(setting: Setting, family: str, folder: Path) -> Row:
    """A library of a few pictures: what is left is the start, the model and the search."""
    place = setting.cache / f"words-{family}"
    pictures, library = place / "pictures", place / "library"
    if not library.exists():
        pictures.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(0)
        for number in range(4):
            Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8)).save(pictures / f"{number}.png")
        with ImageSearchEngine(library, model=str(folder), store="exact", jobs=1) as engine:
            engine.index(pictures, progress=False)
    asked = ("--library", str(library), "-n", "1", "--json")
    ended = []
    for turn in range(setting.size(3, 1)):
        queries = ["--text", "a red bicycle"], [new(place, turn)]
        ended.append([run([sys.executable, "-m", "image_search", "search", *query, *asked]) for query in queries])
    text, picture = (sorted(turn[way].cpu for turn in ended)[len(ended) // 2] for way in (0, 1))
    peak = ended[0][0].peak_all / 1e6
    what = f"`search --text`, whole process, {NAMES[family]}"
    return Row("words", what, "CPU s", text, {"with a new picture": picture}, note=f"both towers are opened; peak {peak:,.0f} MB")


def new(place: Path, turn: int) -> str:
    """A picture that the library does not hold."""
    file = place / f"new-{turn}.png"
    Image.fromarray(np.random.default_rng(100 + turn).integers(0, 256, (64, 64, 3), np.uint8)).save(file)
    return str(file)


# --- the checkpoints ------------------------------------------------------------------------------------------------------------


def two_towers(cache: Path, family: str) -> Path:
    """The folder of a random "clip" or "siglip"; made if it is not there."""
    folder = cache / f"{family}-random"
    if not folder.exists():
        fresh = cache / f"{family}-random.part"
        shutil.rmtree(fresh, ignore_errors=True)
        (fresh / "onnx").mkdir(parents=True)
        _export(family, fresh)
        _tokenizer(family, fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


def _export(family: str, folder: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(7)
    base = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    if family == "clip":
        small = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
        text, config = transformers.CLIPTextModelWithProjection, transformers.CLIPTextConfig(**small, projection_dim=512)
        vision = transformers.CLIPVisionModelWithProjection
        seen = transformers.CLIPVisionConfig(**base, patch_size=32, projection_dim=512)
    else:
        text = transformers.SiglipTextModel
        config = transformers.SiglipTextConfig(**base, vocab_size=256_000, max_position_embeddings=64, projection_size=768)
        vision, seen = transformers.SiglipVisionModel, transformers.SiglipVisionConfig(**base, patch_size=16, image_size=224)
    tokens, pixels = torch.ones(1, TOKENS[family], dtype=torch.int64), torch.zeros(1, 3, 224, 224)
    for name, model_class, made, sample, feed, embeds in (
        ("text_model", text, config, tokens, "input_ids", "text_embeds"),
        ("vision_model", vision, seen, pixels, "pixel_values", "image_embeds"),
    ):
        made._attn_implementation = "eager"
        output = embeds if family == "clip" else "pooler_output"
        tower = _Named(model_class(made).eval(), feed, output)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            free = {1: "tokens"} if (family, feed) == ("clip", "input_ids") else {}
            torch.onnx.export(
                tower.module, (sample,), str(folder / "onnx" / f"{name}.onnx"), input_names=[feed], output_names=[output],
                dynamic_axes={feed: {0: "batch", **free}, output: {0: "batch"}}, dynamo=False,
            )  # fmt: skip
    facts = {"model_type": family, "text_config": {"max_position_embeddings": TOKENS[family]}}
    (folder / "config.json").write_text(json.dumps(facts))
    recipe = {"image_processor_type": "CLIPImageProcessor" if family == "clip" else "SiglipImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe))


class _Named:
    """A tower with one input and one output."""

    def __init__(self, model: Any, feed: str, output: str) -> None:
        import torch

        class Module(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, given: Any) -> Any:
                return getattr(self.model(**{feed: given}), output)

        self.module = Module().eval()


def _tokenizer(family: str, folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    ends = ["<pad>", "<eos>", "<unk>"]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(ends)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.save(str(folder / "tokenizer.json"))
    kind = "CLIPTokenizer" if family == "clip" else "Siglip2Tokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, "pad_token": "<pad>"}))
