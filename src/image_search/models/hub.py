"""Checkpoints of the Hugging Face hub: in its cache (never a network call) or fetched (only when asked)."""

from __future__ import annotations

import os
from pathlib import Path

from ..advice import Advice, Setting
from ..config import HUB_LISTING_SECONDS
from ..errors import ModelError, ModelMissingError, UnknownModelError, in_words
from .files import PICKLES, SHARD_INDEX, TOKENIZER, TOKENIZER_CONFIG, ModelFiles, Weights, choose_text, choose_weights, files_in
from .rows import MODELS

_OURS = frozenset(repo for row in MODELS for repo in (row.source, row.onnx_repo))  # names that surely are the names of repositories

__all__ = ["cached", "fetch", "nothing_to_open"]

_BUILT_IN = Setting("model", "mini")
_CONFIGS = ("config.json", "preprocessor_config.json", TOKENIZER, TOKENIZER_CONFIG)


def cached(repo: str, revision: str, kind: Weights) -> ModelFiles | None:
    """The repository's files with weights of this kind in the local cache; None if they are not all there. Looks, asks nobody."""
    from huggingface_hub.constants import HF_HUB_CACHE

    if repo in _OURS and not os.path.isdir(os.path.join(HF_HUB_CACHE, f"models--{repo.replace('/', '--')}")):
        return None  # and what follows takes .1 s to import
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(repo, _CONFIGS[0], revision=revision)
    except HFValidationError as error:
        raise UnknownModelError(f"{repo} cannot be the name of a model on the Hugging Face hub", hint="check its spelling") from error
    if not isinstance(config, str):  # None, or "known not to exist"
        return None
    files = files_in(Path(config).parent, kind)
    return files if files is not None and files.preprocessor is not None else None


def fetch(repo: str, revision: str, kinds: tuple[Weights, ...], *, name: str) -> ModelFiles:
    """Download the first of these kinds of weights that it has, with the hub library's own progress on stderr.

    Args:
        repo, revision: on the hub.
        kinds: in order of preference.
        name: what the user called the model, for errors.

    Raises:
        UnknownModelError: no such repository or revision.
        ModelMissingError: no network, no permission, no room.
        ModelError: the repository has nothing we can or may open.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        # model_info asks once; the hub library's own listing retries for 24 s where there is no network.
        siblings = huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=HUB_LISTING_SECONDS).siblings
        names = [file.rfilename for file in siblings or ()]
        for kind in kinds:
            weights = choose_weights(names, kind)
            if weights:
                wanted = [*weights, *choose_text(names, weights, kind), SHARD_INDEX, *_CONFIGS[1:]]
                folder = Path(huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=wanted))
                if _CONFIGS[0] in names:  # last, of the same commit: `cached` looks for it first, so half a download is none
                    huggingface_hub.hf_hub_download(repo, _CONFIGS[0], revision=folder.name)
                files = files_in(folder, kind)
                if files is not None:
                    return files
    except errors.GatedRepoError as error:
        raise ModelMissingError(
            f"model {name} asks for a permission first",
            hint=f"accept its licence at https://huggingface.co/{repo}, then run: hf auth login",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise UnknownModelError(
            f"there is no model {repo} (revision {revision}) on the Hugging Face hub", hint="check its spelling"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelMissingError(
            f"model {name} is not on this machine, and HF_HUB_OFFLINE forbids fetching it",
            hint=Advice("unset HF_HUB_OFFLINE, or use the built-in model: ", _BUILT_IN),
        ) from error
    except Exception as error:  # httpx, requests, OSError, ... by version of the hub library
        raise ModelMissingError(
            f"model {name} is not on this machine and could not be fetched ({_reason(error)})",
            hint=Advice("try again with a network, or use the built-in model: ", _BUILT_IN),
        ) from error
    raise nothing_to_open(names, repo)


def nothing_to_open(names: list[str], where: str) -> ModelError:
    """Why none of these files can be opened."""
    if any(n in PICKLES for n in names):
        return ModelError(
            f"{where} offers its weights only as a pickle, which can run code and is never opened",
            hint="ask its owner for safetensors, or convert it where you trust it",
        )
    return ModelError(f"{where} holds no weights (model.safetensors or onnx/model.onnx)")


def _reason(error: Exception) -> str:
    """The first line of a foreign error, or its kind if it says nothing."""
    lines = str(error).strip().splitlines()
    return in_words(lines[0])[:200] if lines else type(error).__name__
