"""Search with words: `python examples/words.py [FOLDER [MODEL]]`.

Without a folder it draws one. Without a model it takes one that knows words and is on this machine (`siglip2`, `clip-b32`); if there is
none it makes a toy, which knows eight names of colours and nothing else: enough to run this without a network.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from image_search import ImageSearchEngine, Text
from image_search.demo import draw_gallery
from image_search.evaluate.words import label
from image_search.models import is_available, resolve

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
COLOURS |= {"빨간": (1, 0, 0), "초록": (0, 1, 0), "파란": (0, 0, 1), "노란": (1, 1, 0)}


def main(place: Path, folder: str | None = None, model: str | None = None) -> None:
    pictures = Path(folder) if folder else place / "pictures"
    if folder is None:
        draw_gallery(pictures, per_class=2)
    here = (name for name in ("siglip2", "clip-b32") if is_available(resolve(name)))
    model = model or next(here, None) or str(toy(place / "toy"))
    with ImageSearchEngine(place / "words.library", model=model, store="exact") as engine:
        engine.index(pictures, progress=False)
        for words in ("blue", "노란"):
            print(f"{words}:", *(f"{match.name} {match.similarity:.2f}" for match in engine.search(Text(words), n_results=3)))
        first = engine.search(Text("blue"))[0]
        # An image and words: near to both. What is `less` is to be far away.
        both = engine.search([first.path, (Text("red"), 0.5)], n_results=3, less=[Text("green")], exclude_self=True)
        print(f"{first.name}, with red, without green:", *(match.name for match in both))
        print("vectors:", engine.embed_text(["red", "blue"]).shape)
    for found in list(label(pictures, ["red", "green", "blue", "yellow"], model=model))[:3]:
        print(f"{Path(found.path).name}: {found.label}, {found.probability:.0%}")


def toy(folder: Path) -> Path:
    """A "SigLIP" in two small ONNX files: a picture is its mean colour, words are the sum of theirs. Needs the package onnx."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    (folder / "onnx").mkdir(parents=True)
    words = ["<pad>", "<eos>", "<unk>", *COLOURS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.array([(1e-4,) * 3, (1e-4,) * 3, (0.05,) * 3, *COLOURS.values()], np.float32)
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    for name, feed, kind, shape, nodes, constants in (
        ("vision_model", "pixel_values", TensorProto.FLOAT, ["n", 3, 32, 32], [("ReduceMean", ["pixel_values"], {"axes": [2, 3]})], []),
        (
            "text_model", "input_ids", TensorProto.INT64, ["n", 64],
            [("Gather", ["table", "input_ids"], {}), ("ReduceSum", ["each", "axis"], {})],
            [numpy_helper.from_array(table, "table"), axis],
        ),
    ):  # fmt: skip
        made = [
            helper.make_node(operation, inputs, ["pooler_output" if last else "each"], **options, **({"keepdims": 0} if last else {}))
            for (operation, inputs, options), last in zip(nodes, [False, True][-len(nodes) :], strict=True)
        ]
        ends = helper.make_tensor_value_info(feed, kind, shape), helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, ["n", 3])
        graph = helper.make_graph(made, name, [ends[0]], [ends[1]], constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "onnx" / f"{name}.onnx")
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip", "text_config": {"max_position_embeddings": 64}}))
    recipe = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}, "do_normalize": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Siglip2Tokenizer", "pad_token": "<pad>"}))
    return folder


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        main(Path(home), *sys.argv[1:3])
