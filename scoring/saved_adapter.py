"""A saved peft adapter: its weights on a model, its tokenizer, and the model that it was made for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download

from ..errors import ProbeError
from ..files import in_home
from ..records import Finding
from .loaded import check_adapter, reading
from .weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_files, read_json, tensor_names

TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = ("*token*.json", "*.jinja", "vocab*", "merges.txt", "*.model")


def with_adapter(model: torch.nn.Module, adapter: str | None) -> torch.nn.Module:
    """The model under a peft adapter (safetensors only). Raises `ProbeError` when that is none."""
    if adapter is None:
        return model
    from peft import PeftConfig, PeftModel

    directory = adapter_directory(adapter)
    files = adapter_files(directory)
    how = (
        adapter,
        "not a peft adapter of this model",
        "Give the directory of a saved adapter and its model.",
    )
    config = reading(*how, lambda: PeftConfig.from_pretrained(str(directory)))
    refuse_virtual_tokens(adapter, config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys")  # refused below, by name
        wrapped: PeftModel = reading(*how, lambda: PeftModel.from_pretrained(model, str(directory)))
        info = reading(*how, lambda: wrapped.load_adapter(str(directory), "default"))
    check_adapter(adapter, wrapped, info, tensor_names(files))
    return cast(torch.nn.Module, wrapped)


def refuse_virtual_tokens(what: str, config: Any) -> None:
    """Raises `ProbeError` for an adapter that is no change of weights; `config` is peft's."""
    if config.is_prompt_learning:
        raise ProbeError(
            f"{what}: {config.peft_type} adds virtual tokens, which shift every position. "
            "Give a LoRA adapter or merged weights."
        )


def adapter_directory(adapter: str) -> Path:
    """The directory of an adapter; one on the hub is fetched, config, safetensors and tokenizer alone."""
    path = in_home(adapter)
    if path.is_dir():
        return path
    if adapter.count("/") > 1 or adapter.startswith((".", "/", "~")):
        raise ProbeError(f"{adapter}: no such directory. Give the directory of an adapter, or a hub name.")
    how = (
        adapter,
        "neither a directory nor an adapter on the hub or in its cache",
        "Check name and network.",
    )
    wanted = [ADAPTER_CONFIG, ADAPTER_WEIGHTS, *TOKENIZER_FILES]
    return Path(reading(*how, lambda: snapshot_download(adapter, allow_patterns=wanted)))


def tokenizer_directory(adapter: str | None) -> Path | None:
    """The adapter's directory where a tokenizer was saved in it, as TRL does; else None."""
    directory = adapter_directory(adapter) if adapter else None
    return directory if directory and (directory / TOKENIZER_CONFIG).is_file() else None


def adapter_facts(adapter: str | None, source: str, name: str) -> dict[str, Any]:
    """Of an adapter that says to be another model's: that model, as `adapter_base`; `tokenizer`: its own."""
    if adapter is None:
        return {}
    own = {"tokenizer": adapter} if tokenizer_directory(adapter) else {}
    base = read_json(adapter_directory(adapter) / ADAPTER_CONFIG).get("base_model_name_or_path")
    known = {_plain(source), _plain(name)}
    other = isinstance(base, str) and base and _plain(base) not in known
    return own | ({"adapter_base": base} if other else {})


def other_base(facts: Mapping[str, Any]) -> Finding | None:
    """PB016 adapter of another model: it names another base model than the one that it is put on.

    Means: `base_model_name_or_path` in the adapter's config and the model's name or directory differ, apart
    from owner, place and the form of the file.
    Why: an adapter changes the weights that it was trained on. On others of the same shape it loads without
    an error, and what is measured is a model that nobody trained.
    Do: give the base model by --model; where a directory was only renamed, nothing.
    Source: peft writes the base model's name when it saves an adapter.
    """
    if not facts.get("adapter_base"):
        return None
    return Finding(
        "PB016", "warning",
        f"the adapter {facts['adapter']} was trained on {facts['adapter_base']}, not on {facts['name']}",
        "Give its base model by --model; where that was only renamed, nothing is wrong.",
    )  # fmt: skip


def _plain(name: str) -> str:
    """A model's name without its place, its owner and the form of its file."""
    return PurePath(name.removesuffix(" (embedded)")).name.lower().removesuffix(".gguf")
