"""A model's tokenizer and length without its weights, for whoever asks what the model reads."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from ..files import in_home
from .loaded import reading
from .loudness import quiet
from .model import source_of, unreadable


def load_tokenizer(
    name: str | None, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a hub name, model directory or GGUF file; None means the embedded model.

    Raises `ProbeError` when there is none.
    """
    quiet()
    folder = name is not None and in_home(name).is_dir()  # it may hold a tokenizer alone
    source = str(in_home(str(name))) if folder else source_of(name)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    fact = "no tokenizer that can be loaded"
    remedy = "Give a model directory, a GGUF file or a hub name."
    made: PreTrainedTokenizerBase = reading(
        f"--model {name}", fact, remedy, lambda: AutoTokenizer.from_pretrained(source, **options)
    )
    return made


def model_length(
    name: str | None, revision: str | None = None, trust_remote_code: bool = False
) -> int | None:
    """The longest sequence that the model's positions allow, by its config; None where it names none, and for
    a directory that holds a tokenizer alone, as an adapter's."""
    folder = in_home(name or "")
    if name is not None and folder.is_dir() and not (folder / "config.json").exists():
        return None
    source, options = source_of(name), {"revision": revision, "trust_remote_code": trust_remote_code}
    what, fact, remedy = unreadable(name, source)
    config: Any = reading(what, fact, remedy, lambda: AutoConfig.from_pretrained(source, **options))
    length: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length
