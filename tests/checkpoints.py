"""Checkpoints with random weights, saved as the real ones are, and a Hugging Face cache to put them in. For tests; most need torch."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

# As the real checkpoints' files say it, old spellings included.
DINO_PREPROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "size": 224,
}
DINOV2_PREPROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "BitImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}
DINOV3_PREPROCESSOR = {  # of the hub's ONNX repository; no crop
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
DINO_VIT_S16 = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
    "patch_size": 16,
    "image_size": 224,
}
SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96, "patch_size": 16, "image_size": 64}
SMALL_PREPROCESSOR = DINO_PREPROCESSOR | {"size": 64}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def save(kind: str, folder: Path, *, preprocessor: dict[str, Any], pooler: bool = False, spread: float = 0.2, **config: Any) -> Path:
    """Save a randomly initialised `kind` ("ViT", "Dinov2", "Dinov2WithRegisters", "DINOv3ViT") and return its folder.

    The weights are drawn wider than for training (`spread`: .2, not .02), so that different pictures get clearly different vectors.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(7)
    made = getattr(transformers, f"{kind}Config")(initializer_range=spread, **config)
    options = {"add_pooling_layer": pooler} if kind == "ViT" else {}
    model = getattr(transformers, f"{kind}Model")(made, **options)
    with torch.no_grad():  # as if trained: no parameter keeps the value it was made with
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def export_onnx(checkpoint: Path, folder: Path, *, outputs: tuple[str, ...] = ("last_hidden_state",)) -> Path:
    """The checkpoint as a folder like those on the hub: onnx/model.onnx, config.json, preprocessor_config.json."""
    import torch
    import transformers

    (folder / "onnx").mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(checkpoint / name, folder / name)
    kind = json.loads((folder / "config.json").read_text())
    model = getattr(transformers, kind["architectures"][0]).from_pretrained(checkpoint).eval()

    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            found = self.model(pixel_values=pixel_values)
            return tuple(found[name] for name in outputs)

    if kind["model_type"] == "dinov2_with_registers":  # at its own size its positions are not stretched; the exporter does not see that
        model.embeddings.interpolate_pos_encoding = lambda *_: model.embeddings.position_embeddings
    side = kind["image_size"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, and needs neither onnxscript nor 5 seconds
        torch.onnx.export(
            Outputs().eval(),
            (torch.zeros(1, 3, side, side),),
            str(folder / "onnx" / "model.onnx"),
            input_names=["pixel_values"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in ("pixel_values", *outputs)},
            dynamo=False,
        )
    return folder


def weights_beside(folder: Path, location: str = "model.onnx_data") -> Path:
    """An exported folder, its weights moved out of onnx/model.onnx into a file beside it, as the hub has DINOv3."""
    import onnx

    file = folder / "onnx" / "model.onnx"
    model = onnx.load(file)
    file.unlink()
    onnx.save_model(model, file, save_as_external_data=True, location=location, size_threshold=0)
    return folder


def tiny_onnx(folder: Path, *, preprocessor: dict[str, object] | None = None, config: dict[str, object] | None = None) -> Path:
    """A folder with an ONNX "model" of 8 x 8 pictures: mean red, green, blue, of which it takes the logarithm."""
    import onnx
    from onnx import TensorProto, helper

    node = [
        helper.make_node("ReduceMean", ["pixel_values"], ["mean"], axes=[2, 3], keepdims=0),  # (N, 3)
        helper.make_node("Log", ["mean"], ["embedding"]),  # black: -inf
    ]
    graph = helper.make_graph(
        node,
        "tiny",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])],
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    recipe = DINO_PREPROCESSOR | {"size": 8, "do_normalize": False} if preprocessor is None else preprocessor
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def onnx_in_two_files(
    folder: Path, location: str = "model.onnx_data", *, named: str | None = None, config: dict[str, object] | None = None
) -> Path:
    """As `tiny_onnx`: mean red, green, blue to 64 numbers by weights at `location`, where the graph looks for them (or at `named`)."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    tiny_onnx(folder, config=config)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["embedding"]),
        helper.make_node("Unsqueeze", ["embedding", "one"], ["last_hidden_state"]),
    ]
    ends = [("x", ["n", 3, 8, 8]), ("embedding", ["n", 64]), ("last_hidden_state", ["n", 1, 64])]
    feed, *found = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends)
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32), "w")
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "g", [feed], found, [weights, one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location=location, size_threshold=0)
    if named is not None:
        model = onnx.load(folder / "model.onnx", load_external_data=False)
        next(entry for entry in model.graph.initializer[0].external_data if entry.key == "location").value = named
        (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def put_in_cache(cache: Path, repo: str, checkpoint: Path) -> Path:
    """Lay a folder into a Hugging Face cache as a download would; returns its snapshot folder."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    (home / "blobs").mkdir()
    for file in sorted(p for p in checkpoint.rglob("*") if p.is_file()):
        content = file.read_bytes()
        blob = home / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        link = snapshot / file.relative_to(checkpoint)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return snapshot


# --- models with words -------------------------------------------------------------------------------------------------------

CLIP_PREPROCESSOR = {
    "crop_size": 32,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 32,
}
SIGLIP_PREPROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 32, "width": 32},
}
_TEXT_CORPUS = [
    "a red bicycle in the snow", "a photo of a cat", "people", "a bowl of ramen", "at night", "빨간 자전거", "눈 속의 자전거",
    "사진 그림", "밤에",
    "the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs", "0123456789 .,;:!?'\"()-",
]  # fmt: skip


def tokenizer(family: str, folder: Path) -> None:
    """A small tokenizer of the family's make, trained on a dozen phrases: tokenizer.json and tokenizer_config.json."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if family == "clip":  # bytes, lower case, words end in </w>, framed by two special tokens
        made = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
        made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
        words = pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
        made.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        special = ["<|startoftext|>", "<|endoftext|>"]
        trainer = trainers.BpeTrainer(
            vocab_size=600, special_tokens=special, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        made.train_from_iterator(_TEXT_CORPUS, trainer)
        frame = [(token, made.token_to_id(token)) for token in special]
        made.post_processor = processors.TemplateProcessing(single=f"{special[0]} $A {special[1]}", special_tokens=frame)
        facts = {"tokenizer_class": "CLIPTokenizer", "bos_token": special[0], "eos_token": special[1], "pad_token": special[1]}
    else:  # Gemma's: blanks become ▁, unknown letters bytes, the end is marked
        made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        made.normalizer = normalizers.Replace(" ", "▁")
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{n:02X}>" for n in range(256))]
        made.train_from_iterator(_TEXT_CORPUS, trainers.BpeTrainer(vocab_size=600, special_tokens=special))
        made = Tokenizer.from_str(_without_special_bytes(made.to_str()))
        made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", made.token_to_id("<eos>"))])
        facts = {"tokenizer_class": "Siglip2Tokenizer" if family == "siglip2" else "SiglipTokenizer", "pad_token": "<pad>"}
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(facts | {"model_max_length": 77 if family == "clip" else 64}))


def _without_special_bytes(text: str) -> str:
    """The byte tokens are ordinary ones: they were given as special only so that the trainer keeps them."""
    made = json.loads(text)
    made["added_tokens"] = [token for token in made["added_tokens"] if not token["content"].startswith("<0x")]
    return json.dumps(made)


def two_towers(family: str, folder: Path, *, dim: int = 48) -> Path:
    """A random CLIP, SigLIP or SigLIP 2 ("clip", "siglip", "siglip2") checkpoint of exact architecture, with its tokenizer."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(11)
    tokenizer(family, folder)
    size = {"hidden_size": dim, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    vision = size | {"image_size": 32, "patch_size": 8}
    text = size | {"vocab_size": len(vocabulary) + 8, "max_position_embeddings": 77 if family == "clip" else 64}
    if family == "clip":
        ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"], "pad_token_id": 1}
        made = transformers.CLIPConfig(text_config=text | ends, vision_config=vision, projection_dim=dim)
        model: Any = transformers.CLIPModel(made)
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
    with torch.no_grad():  # drawn wide, so that different pictures and words get clearly different vectors
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    if family != "clip":
        model.logit_scale.data.fill_(4.7)
        model.logit_bias.data.fill_(-16.5)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(CLIP_PREPROCESSOR if family == "clip" else SIGLIP_PREPROCESSOR))
    return folder


def export_two_towers(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint as the hub's ONNX repositories have it: onnx/vision_model.onnx, onnx/text_model.onnx and the small files."""
    import torch
    import transformers

    (folder / "onnx").mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, folder / name)
    clip = json.loads((folder / "config.json").read_text())["model_type"] == "clip"
    model = (transformers.CLIPModel if clip else transformers.SiglipModel).from_pretrained(checkpoint, attn_implementation="eager").eval()

    class Pictures(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower, self.project = model.vision_model, model.visual_projection if clip else torch.nn.Identity()

        def forward(self, pixel_values: Any) -> Any:
            return self.project(self.tower(pixel_values=pixel_values).pooler_output)

    class Words(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower, self.project = model.text_model, model.text_projection if clip else torch.nn.Identity()

        def forward(self, input_ids: Any) -> Any:
            return self.project(self.tower(input_ids=input_ids).pooler_output)

    towers = {
        "vision_model": (Pictures(), torch.zeros(1, 3, 32, 32), "pixel_values", "image_embeds" if clip else "pooler_output", {0: "batch"}),
        "text_model": (
            Words(), torch.ones(1, 7 if clip else 64, dtype=torch.int64), "input_ids", "text_embeds" if clip else "pooler_output",
            {0: "batch", 1: "tokens"} if clip else {0: "batch"},
        ),
    }  # fmt: skip
    for name, (tower, sample, feed, output, axes) in towers.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                tower.eval(), (sample,), str(folder / "onnx" / f"{name}.onnx"), input_names=[feed], output_names=[output],
                dynamic_axes={feed: axes, output: {0: "batch"}}, dynamo=False,
            )  # fmt: skip
    return folder


COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "빨간": (1, 0, 0), "파란": (0, 0, 1)}


def colour_words(folder: Path, *, calibrated: bool = True, unknown: tuple[float, ...] = (0.05, 0.05, 0.05)) -> Path:
    """A "SigLIP" whose pictures are their mean red, green, blue and whose words are `COLOURS`; made in milliseconds, without torch.

    `unknown`: what any other word is; of another length than 3 its towers do not belong together.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    (folder / "onnx").mkdir(parents=True)
    words = ["<pad>", "<eos>", "<unk>", *COLOURS]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.save(str(folder / "tokenizer.json"))
    rows = [(1e-4,) * 3, (1e-4,) * 3, unknown, *COLOURS.values()]
    table = np.array([(row + (0,) * 9)[: len(unknown)] for row in rows], np.float32)
    graphs = {
        "vision_model": (
            [helper.make_node("ReduceMean", ["pixel_values"], ["pooler_output"], axes=[2, 3], keepdims=0)],
            helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, 8, 8]), [],
        ),
        "text_model": (
            [
                helper.make_node("Gather", ["table", "input_ids"], ["each"]),
                helper.make_node("ReduceSum", ["each", "axis"], ["pooler_output"], keepdims=0),
            ],
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", 64]),
            [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
        ),
    }  # fmt: skip
    for name, (nodes, feed, constants) in graphs.items():
        out = helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, ["n", 3 if name == "vision_model" else len(unknown)])
        graph = helper.make_graph(nodes, name, [feed], [out], constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "onnx" / f"{name}.onnx")
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip", "text_config": {"max_position_embeddings": 64}}))
    (folder / "preprocessor_config.json").write_text(
        json.dumps(SIGLIP_PREPROCESSOR | {"size": {"height": 8, "width": 8}, "do_normalize": False})
    )
    facts = {"tokenizer_class": "Siglip2Tokenizer", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
    if calibrated:  # beside the ONNX files, as in a folder they were made from
        header = {
            name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n, name in enumerate(("logit_bias", "logit_scale"))
        }
        text = json.dumps(header).encode()
        numbers = np.array([-8.0, np.log(10.0)], "<f4").tobytes()
        (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return folder
