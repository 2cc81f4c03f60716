"""How a GGUF file's tokenizer splits text before it merges bytes, where transformers does not know it.

`tokenizer.ggml.pre` names the splitting; transformers takes GPT-2's for every name that it has no pattern of.
The groups are those of llama.cpp (`src/llama-vocab.cpp`, the patterns of each pre-tokenizer type).
"""

from __future__ import annotations

import json
from typing import Any

from .gguf_header import GgufHeader

# Each digit alone, then as GPT-2: "\n\n1" is two line breaks in one token and a digit, not three pieces.
DIGITS_APART = frozenset(
    ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2")
)
AS_GPT2 = frozenset(
    ("gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "gigachat", "mellum", "exaone4")
)


def settle_splitting(tokenizer: Any, header: GgufHeader) -> str:
    """Give the tokenizer the splitting that the header names; returns what is to be told of it, "" for none.

    Only of byte-level BPE; one that transformers gave another splitting than GPT-2's is as it should be.
    """
    named = header.values.get("tokenizer.ggml.pre")
    if header.values.get("tokenizer.ggml.model") != "gpt2" or named in AS_GPT2:
        return ""
    if named in DIGITS_APART:
        from tokenizers import pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        return ""
    if not _as_gpt2(tokenizer):
        return ""
    fact = f'splits text as "{named}"' if named else "does not say how it splits text"
    return (
        f"its tokenizer {fact}, which is not known here: it is split as GPT-2's, and tokens may be others "
        "than the model was trained on. Give the original model's safetensors with --model."
    )


def _as_gpt2(tokenizer: Any) -> bool:
    """Whether the splitting is GPT-2's alone."""
    found = json.loads(tokenizer.backend_tokenizer.to_str()).get("pre_tokenizer") or {}
    return found.get("type") == "ByteLevel" and bool(found.get("use_regex", True))
