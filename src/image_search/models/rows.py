"""The model table: a model is a row of data. To add a model, add a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..types import Preprocess

__all__ = ["BUNDLED", "HUB_ID", "MODELS", "ModelRow", "full_precision_of", "near_identical", "words_rows"]

BUNDLED = "bundled"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model, as data.

    Attributes:
        name: what people type.
        source: hub id, "bundled", or the absolute path of a local folder.
        revision: commit or branch of `source`; "" for bundled and folders.
        onnx_repo, onnx_revision: a hub repository that holds the same model as ONNX; None if there is none.
        onnx_file: the ONNX file in it (or in the package); of a model with words the one that takes pictures.
        vocabulary: the file beside a bundled model's ONNX file that holds its words; None: it has none.
        onnx_text: the ONNX file beside it that takes words; None: it knows none, or the file's usual name tells (a folder).
        output: "auto" (a trained pooler if the checkpoint has one, else the class token), "cls", "pooler" or "embedding".
        dim: D; None: what the file says.
        preprocess: None: what its preprocessor_config.json says.
        sha256: the only weights that may carry this name; None: any (they go into the fingerprint).
        licence: of the weights.
        terms: address of that licence, where it has conditions of its own: said before they are first fetched.
        megabytes: to fetch and to keep; None if unknown.
        about: one line for people.
        calibration: (scale, bias) with which sigmoid(scale * cosine + bias) is the trained probability that words fit a picture, where
            the files that are opened do not hold them; None: they do, or none was trained (CLIP).
        near_identical: similarity from which two pictures count as near-identical; None: not calibrated.
        full_precision: the row whose ONNX file this model is in 8-bit numbers; None: a model of its own.
    """

    name: str
    source: str
    revision: str = "main"
    onnx_repo: str | None = None
    onnx_revision: str = "main"
    onnx_file: str | None = None
    onnx_text: str | None = None
    vocabulary: str | None = None
    output: Literal["auto", "cls", "pooler", "embedding"] = "auto"
    dim: int | None = None
    preprocess: Preprocess | None = None
    sha256: str | None = None
    licence: str = "unknown"
    terms: str = ""
    megabytes: float | None = None
    about: str = ""
    calibration: tuple[float, float] | None = None
    near_identical: float | None = None
    full_precision: str | None = None

    @property
    def is_bundled(self) -> bool:
        return self.source == BUNDLED

    @property
    def knows_words(self) -> bool:
        """Any (`words_rows`), or those of its vocabulary."""
        return self.onnx_text is not None or self.vocabulary is not None

    @property
    def is_folder(self) -> bool:
        return not self.is_bundled and HUB_ID.fullmatch(self.source) is None


# DINO's main branch holds a pickle only, which is never opened. This commit, the hub's conversion bot's (refs/pr/1 of that repository),
# holds the same weights as safetensors: huggingface.co/facebook/dino-vits16/commits/a7a4d161f5c0bd70478c05ca5777ec7cd8848021.
# The ONNX repository stays on its branch: of its commits public pages show seven letters (5d80e74 is the last), which pin nothing.
_DINO = "a7a4d161f5c0bd70478c05ca5777ec7cd8848021"

MODELS: tuple[ModelRow, ...] = (
    ModelRow(
        name="mini",
        source=BUNDLED,
        revision="",
        onnx_file="mini.onnx",
        vocabulary="vocabulary.npz",
        output="embedding",
        dim=256,
        preprocess=Preprocess(size=(112, 112)),  # the graph holds mean, std and unit length
        # The next two change with the file: see mini/README.md.
        sha256="e6f332bfc308a65070541bc7d90e8cf0d658a66f464d7702bac10910c080c6cd",
        megabytes=10.9,
        licence="see its card: trained on research-use pictures",
        about="small and built in; quick, no download; knows 1,500 words",
        near_identical=0.98,  # benchmarks/near_identical.py over clothing, grocery, scenes, tiny-imagenet and the sample gallery
    ),
    ModelRow(
        name="dino",
        source="facebook/dino-vits16",
        revision=_DINO,
        onnx_repo="Xenova/dino-vits16",
        onnx_file="onnx/model.onnx",
        output="cls",  # the checkpoint has no pooler; what ViTModel puts in its place is random, anew in each process
        dim=384,
        licence="Apache-2.0",
        megabytes=87,
        about="DINO ViT-S/16, the original program's model",
    ),
    ModelRow(
        name="dinov2-s",
        source="facebook/dinov2-small",
        # Proved by the model list of MTEB (docs/overview/available_models/image.md).
        revision="ed25f3a31f01632728cabb09d1542f84ab7b0056",
        onnx_repo="Xenova/dinov2-small",
        # Pinned by several public programs, one with the file's sha256 (83141175ec78b4ff...) and its 88,459,888 bytes.
        onnx_revision="c2bb04a51fab207c420665f1946016107bffc701",
        onnx_file="onnx/model.onnx",
        output="cls",
        dim=384,
        licence="Apache-2.0",
        megabytes=89,
        about="DINOv2 ViT-S/14; takes 1.5 times as long as dino",
    ),
    ModelRow(
        name="dinov2-reg-s",
        source="facebook/dinov2-with-registers-small",
        revision="0d9846e56b43a21fa46d7f3f5070f0506a5795a9",  # pinned by several public programs, Intel's Geti Prompt among them
        onnx_repo="onnx-community/dinov2-with-registers-small",
        # Pinned by two public programs with the file's sha256 (815e440d222e6029...). How many bytes it has was not found: 87 MB are
        # what the same architecture's export has here.
        onnx_revision="ec7abea1a8757ec4f9f7b26399d31234ffaa6e6a",
        onnx_file="onnx/model.onnx",
        output="cls",  # before the four registers; its pooled output is the same token
        dim=384,
        licence="Apache-2.0",
        megabytes=87,
        about="DINOv2 ViT-S/14 with registers, which take what plain DINOv2 hides in a few patches; takes as long as dinov2-s",
    ),
    ModelRow(
        name="dinov2-b",
        source="facebook/dinov2-base",
        revision="f9e44c814b77203eaa57a6bdbbd535f21ede1415",  # in the model list of MTEB
        onnx_repo="Xenova/dinov2-base",
        # huggingface.co/Xenova/dinov2-base/tree/d5c6f95... shows onnx/model.onnx, 347 MB; no public digest of it was found.
        onnx_revision="d5c6f95370b205a804bf4415fd98fd6d7f778cf9",
        onnx_file="onnx/model.onnx",
        output="cls",
        dim=768,
        licence="Apache-2.0",
        megabytes=347,
        about="DINOv2 ViT-B/14; takes 5 times as long as dino",
    ),
    ModelRow(
        name="dinov3-s",
        source="facebook/dinov3-vits16-pretrain-lvd1689m",  # asks for a permission first; the ONNX repository does not
        revision="114c1379950215c8b35dfcd4e90a5c251dde0d32",  # pinned by several public programs, Intel's Geti Prompt among them
        onnx_repo="onnx-community/dinov3-vits16-pretrain-lvd1689m-ONNX",
        # Pinned by public programs with sha256 and size of the graph (bb75e9e30ff382ec..., 137,969 bytes) and of onnx/model.onnx_data
        # beside it, which holds the weights (1eff0bb9f4fdef83..., 86,347,776 bytes).
        onnx_revision="48988dfe73065df8d6f5ccc0edc7c8bcf307de41",
        onnx_file="onnx/model.onnx",
        output="cls",  # before the four registers; its pooler_output is the same token
        dim=384,
        licence="DINOv3 License",
        terms="https://ai.meta.com/resources/models-and-libraries/dinov3-license",
        megabytes=87,
        about="DINOv3 ViT-S/16; as quick as dino; Meta's licence has conditions",
    ),
    ModelRow(
        name="dino-b8",
        source="facebook/dino-vitb8",
        # Its branch holds safetensors (f1ca762, "Adding safetensors variant of this model (#3)"); of both repositories' commits public
        # pages show seven letters, which pin nothing. That the ONNX file is called like its siblings' (Xenova/dino-vits8) is not proved,
        # its size is what the same architecture's export has here.
        onnx_repo="Xenova/dino-vitb8",
        onnx_file="onnx/model.onnx",
        output="cls",  # as of dino: no pooler was trained
        dim=768,
        licence="Apache-2.0",
        megabytes=343,
        about="DINO ViT-B/8, patches of 8 pixels: fine detail; takes 17 times as long as dino",
    ),
    ModelRow(
        name="vit-in21k",
        source="google/vit-base-patch16-224-in21k",
        # "Adding safetensors variant of this model (#6)", as huggingface.co/google/vit-base-patch16-224-in21k/tree/main shows it.
        revision="b4569560a39a0f1af58e3ddaf17facf20ab919b0",
        output="pooler",  # trained with it
        dim=768,
        licence="Apache-2.0",
        megabytes=346,
        about="ViT-B/16 trained on ImageNet-21k's classes; takes 4 times as long as dino; needs the torch extra",
    ),
    ModelRow(
        name="siglip2",
        source="google/siglip2-base-patch16-224",
        revision="75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",  # pinned by several public programs
        onnx_repo="onnx-community/siglip2-base-patch16-224-ONNX",
        # Pinned by a public program, with the sha256 of its 8-bit files; of the float32 ones no public digest was found.
        onnx_revision="ba1f3b0843f24bc5417d38e19c37b287d719b2f4",
        onnx_file="onnx/vision_model.onnx",
        onnx_text="onnx/text_model.onnx",
        output="pooler",
        dim=768,
        licence="Apache-2.0",
        megabytes=1540,  # pictures 372, words 1,130, tokenizer 34
        about="SigLIP 2 ViT-B/16: pictures and words of many languages, Korean among them; takes 4 times as long as dino",
        # exp(4.724453449249268): logit_scale and logit_bias of the checkpoint, as a public program that exported it wrote them down.
        calibration=(112.66890226978423, -16.771724700927734),
    ),
    ModelRow(
        name="clip-b32",
        source="openai/clip-vit-base-patch32",
        # The hub's conversion bot's, with the safetensors (605,157,884 bytes) that the branch lacks; pinned by several public programs.
        revision="c237dc49a33fc61debc9276459120b7eac67e7ef",
        onnx_repo="Xenova/clip-vit-base-patch32",
        # Pinned by several public programs, one with the sha256 of both files (fd6e1402a588279d..., 3f6571f5bad13a97...).
        onnx_revision="d15189d7028b43f1d3e65039190477f6af591c2a",
        onnx_file="onnx/vision_model.onnx",
        onnx_text="onnx/text_model.onnx",
        output="embedding",
        dim=512,
        licence="MIT",
        megabytes=608,  # pictures 352, words 254, tokenizer 2
        about="CLIP ViT-B/32: pictures and English words; as quick as dino",
    ),
    ModelRow(
        name="dino-int8",
        source="facebook/dino-vits16",
        revision=_DINO,
        onnx_repo="Xenova/dino-vits16",
        onnx_file="onnx/model.onnx",
        output="cls",
        dim=384,
        licence="Apache-2.0",
        megabytes=87,
        about="dino in 8-bit numbers: twice as quick, less exact (evaluate shows how much); needs the int8 extra",
        full_precision="dino",
    ),
)


def words_rows() -> list[ModelRow]:
    """The rows that know any word."""
    return [row for row in MODELS if row.onnx_text is not None]


def full_precision_of(name: str) -> str | None:
    """The model that this one is in 8-bit numbers; None for any other."""
    return next((row.full_precision for row in MODELS if row.name == name), None)


def near_identical(name: str) -> float | None:
    """Similarity from which two pictures count as the same one; None: not measured for this model."""
    return next((row.near_identical for row in MODELS if row.name == name), None)
