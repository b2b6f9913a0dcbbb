"""A library's model must draw the library's vectors *here*: on this processor, with this runtime, in its version.

The same weights and the same runtime are no proof: kernels are chosen by the processor, and a library may be carried to another. So the
eight canonical pictures are embedded and compared with what the library holds of them, once. What was proved is remembered in the user's
cache folder by an empty file whose name is a hash of all that matters; if it is lost or cannot be written, the proof is done again
(.05 s with mini, .8 s with DINO). So are the vectors that a model drew of them, for the next library that is made with it here.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from pathlib import Path

import numpy as np

from ..advice import Advice, Setting, Verb
from ..config import SAME_COSINE
from ..errors import ModelError, ModelMismatchError, UsageError
from ..private import write_private
from ..types import Embedder, Fingerprint, Float32, TextEmbedder
from .recipe import check_fingerprint
from .runtimes import RUNTIMES
from .vectors import canonical_pictures, check_same_vectors
from .vocabulary import VocabularyEmbedder
from .words import NEUTRAL_PHRASES

__all__ = [
    "canonical_vectors",
    "check_embedder",
    "drawn_before",
    "draws_the_same",
    "prove",
    "prove_words",
    "remember",
    "remember_drawn",
    "ways_out",
    "words_record",
]

_WAY = 1  # from pixels to vectors, in this program; another number where it changes, and everything is proved again
_OF_THE_PROCESSOR = ("model name", "flags", "Features", "CPU implementer", "CPU part")  # lines of /proc/cpuinfo, x86 and ARM


def check_embedder(model: object) -> Embedder:
    """A model of the caller's own, if it keeps the protocol `types.Embedder`.

    Raises:
        UsageError: a member is missing or is not what it should be; the line says which.
    """
    kinds = {"fingerprint": Fingerprint, "runtime": str}
    for member in ("fingerprint", "runtime", "embed", "close"):
        found = getattr(model, member, None)
        if not (isinstance(found, kinds[member]) if member in kinds else callable(found)):
            wrong = "has no" if found is None else "has no proper"
            what = f"{member}: {kinds[member].__name__}" if member in kinds else f"method {member}"
            raise UsageError(
                f"a model of your own must be an image_search.types.Embedder; this {type(model).__name__} {wrong} {what}",
                hint=Advice("or name one: ", Setting("model", "mini")),
            )
    return model  # type: ignore[return-value]  # just looked at


def canonical_vectors(embedder: Embedder) -> Float32:
    """What a new library keeps of its model: float32 (8, D), the vectors of the canonical pictures, each of unit length.

    Raises:
        ModelError: it gives something else; a library made with it could never be proved.
    """
    made = embedder.fingerprint
    try:
        check_fingerprint(made)
    except ValueError as error:
        raise ModelError(f"model {made.name} cannot be used ({error})") from error
    found = embedder.embed(canonical_pictures(made.preprocess))
    if not isinstance(found, np.ndarray):
        raise ModelError(f"model {made.name} gives a {type(found).__name__} for eight pictures, not an array")
    if found.shape != (8, made.dim) or found.dtype != np.float32:
        raise ModelError(f"model {made.name} gives {found.dtype} {found.shape} for eight pictures, not float32 {(8, made.dim)}")
    if not np.allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, atol=1e-3):  # also where it is NaN
        raise ModelError(f"model {made.name} gives vectors that are not of length 1")
    if float((found @ found[0]).min()) > 1 - 1e-6:  # as where all its weights are zero but the last ones
        raise ModelError(f"model {made.name} gives the same vector for eight different pictures")
    return found


def prove(embedder: Embedder, canonical: Float32, made_with: Fingerprint, *, from_memory: bool = True) -> None:
    """Make sure that this embedder draws the library's vectors here, unless that is known already.

    Args:
        embedder: the library's model, as it was loaded.
        canonical: float32 (8, D), what the library holds of the canonical pictures.
        made_with: the library's own fingerprint.
        from_memory: False: a caller's own model, whose code may change under the same fingerprint; nothing is believed or remembered.

    Raises:
        ModelMismatchError: another dimension, or a cosine below `config.SAME_COSINE` for any of the eight.
    """
    known = _memory(embedder, canonical) if from_memory else None
    if known is not None and os.path.exists(known):  # False also where the folder cannot be entered
        return
    try:
        check_same_vectors(embedder, canonical)
    except ModelMismatchError as error:
        name = embedder.fingerprint.name
        if embedder.fingerprint.weights_sha256 == made_with.weights_sha256:
            raise
        raise ModelMismatchError(f"{error.what}: its weights are not those that the library was made with", hint=ways_out(name)) from error
    if from_memory:
        remember(embedder, canonical)


def draws_the_same(embedder: Embedder, found: Float32, theirs: Fingerprint, canonical: Float32) -> bool:
    """Whether a library's vectors are this model's: by its name and recipe, and by the canonical pictures.

    Args:
        found, canonical: float32 (8, D) each, what the model gives for them, and what the library holds.
    """
    mine = embedder.fingerprint
    if (mine.name, mine.dim, mine.output, mine.preprocess) != (theirs.name, theirs.dim, theirs.output, theirs.preprocess):
        return False
    return bool(np.sum(found * canonical, axis=1).min() >= SAME_COSINE)


def ways_out(model: str) -> Advice:
    """For a library of another model than this."""
    asked = Setting("model", model)
    other = Verb("index", ("FOLDER", asked, Setting("library", "OTHER")))
    return Advice("bring the library to this one: ", Verb("reembed", (asked,)), ", or make a second library: ", other)


def words_record(embedder: TextEmbedder) -> bytes | None:
    """What a library keeps of its model's words: 32 bytes (sha256 of their files and rules), then float32 (8, D) of neutral phrases.

    None: nothing. A vocabulary is bound to its pictures' model by its own file, and may be learnt anew.
    """
    if isinstance(embedder, VocabularyEmbedder):
        return None
    vectors = embedder.embed_text(NEUTRAL_PHRASES)
    return bytes.fromhex(embedder.words_sha256) + np.ascontiguousarray(vectors, "<f4").tobytes()


def prove_words(embedder: TextEmbedder, record: bytes) -> None:
    """Make sure that these words lie among the library's pictures: the same files, or others that give the same vectors.

    Raises:
        ModelMismatchError: neither.
    """
    if record[:32].hex() == embedder.words_sha256:
        return
    kept = np.frombuffer(record[32:], "<f4")
    found = embedder.embed_text(NEUTRAL_PHRASES)
    if kept.size != found.size or not np.min(np.sum(found * kept.reshape(found.shape), axis=1)) >= SAME_COSINE:
        raise ModelMismatchError(
            f"model {embedder.fingerprint.name} has other words than those that the library was made with",
            hint="fetch or copy its text model and its tokenizer again",
        )


def remember(embedder: Embedder, canonical: Float32) -> None:
    """This embedder drew these vectors on this machine: just proved, or just made."""
    known = _memory(embedder, canonical)
    if known is None:
        return
    try:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()
    except OSError:  # a full disk, a home that cannot be written: proved again next time
        pass


def drawn_before(embedder: Embedder) -> Float32 | None:
    """float32 (8, D): what `canonical_vectors` gave for this embedder on this machine, as `remember_drawn` kept it; None: not known."""
    kept = _memory(embedder, None)
    try:
        found = b"" if kept is None else kept.read_bytes()
    except OSError:
        return None
    digest, vectors = found[:32], found[32:]
    if len(vectors) != 8 * 4 * embedder.fingerprint.dim or hashlib.sha256(vectors).digest() != digest:
        return None
    return np.frombuffer(vectors, "<f4").reshape(8, -1).astype(np.float32)


def remember_drawn(embedder: Embedder, canonical: Float32) -> None:
    """For the next library that is made with this embedder here."""
    kept = _memory(embedder, None)
    if kept is None:
        return
    vectors = np.ascontiguousarray(canonical, dtype="<f4").tobytes()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_private(kept, hashlib.sha256(vectors).digest() + vectors, durable=False)
    except OSError:  # as in `remember`
        pass


def _memory(embedder: Embedder, canonical: Float32 | None) -> Path | None:
    """The file that says so, or for None the one that keeps the vectors themselves.

    None where nothing tells which version of which library computes, or there is no home to keep it in.
    """
    packages = next((row.packages for row in RUNTIMES if row.name == embedder.runtime.split(" ")[0]), ())
    versions = [getattr(sys.modules.get(package), "__version__", None) for package in packages]
    if not versions or None in versions:
        return None
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("image-search", appauthor=False))
    if not folder.is_absolute():
        return None
    vectors = "drawn" if canonical is None else hashlib.sha256(np.ascontiguousarray(canonical, dtype="<f4").tobytes()).hexdigest()
    facts = [_WAY, embedder.fingerprint.to_json(), vectors, embedder.runtime, versions, _processor(embedder.runtime)]
    return folder / "proofs" / hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _processor(runtime: str) -> list[str]:
    """What decides which kernels are taken: the processor and its abilities; the card, too, where the runtime uses one."""
    kind = [platform.machine(), os.environ.get("PROCESSOR_IDENTIFIER", "")]  # the latter on Windows
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():  # the first one stands for all
                    break
                if line.split(":")[0].strip() in _OF_THE_PROCESSOR:
                    kind.append(line.strip())
    except OSError:
        pass  # not Linux
    if "cuda" in runtime:
        from .torch import card_name

        kind.append(card_name())
    return kind
