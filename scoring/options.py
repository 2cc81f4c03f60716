"""The options that say which model is run and how; importing them loads no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model, how it is run, and how pairs become tokens: the options of every measuring command."""

    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    revision: str | None = None
    adapter: str | None = None
    trust_remote_code: bool = False
    template: str = "auto"
    max_length: int | None = None
    no_cache: bool = False
    quantize: str | None = None
    tokenizer: str | None = None  # of a model behind an endpoint


def is_endpoint(model: str | None) -> bool:
    """Whether `--model` names a server and not weights."""
    return model is not None and model.startswith(("http://", "https://"))
