"""Which pairs, and which prompts, are the same: by what the model is given, not by the words alone.

A chat template is given a row's tools and its own options beside the messages, so two rows that differ in
them ask different questions. Absent, null and empty options are the same, and name nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .record import Pair, text_of

TEMPLATE_OPTIONS = ("tools", "chat_template_kwargs")  # columns that TRL hands to the chat template


def handed_options(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a row hands to the chat template beside its messages, as the row has it.

    TRL hands an empty list of tools on, for which Llama's template writes its tool instructions as well.
    """
    given = {name: meta.get(name) for name in TEMPLATE_OPTIONS}
    return {name: value for name, value in given.items() if value or value == []}


def template_options(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Those options as two rows are told apart by them; JSON text is read, empty ones left out."""
    read = {name: _decoded(value) for name, value in handed_options(meta).items()}
    return {name: value for name, value in read.items() if value}


def options_key(meta: Mapping[str, Any]) -> str:
    """The options as canonical JSON, whatever the order of their keys; "" where there are none."""
    given = template_options(meta) if meta else {}
    return json.dumps(given, sort_keys=True, default=str) if given else ""


def prompt_identity(pair: Pair) -> str:
    """What pairs of one prompt share: its words, and the options that stand beside it. "" for no prompt."""
    words = text_of(pair.prompt)
    options = options_key(pair.meta) if words else ""
    return f"{words}\0{options}" if options else words


def cluster_key(pair: Pair) -> str:
    """What pairs that depend on each other share: the prompt, or where there is none the two texts of the
    sides, whichever of them is chosen. Never ""."""
    sides = "\0".join(sorted((text_of(pair.chosen), text_of(pair.rejected))))
    return prompt_identity(pair) or f"\0{sides}"


def digest(pair: Pair) -> str:
    """16 hex digits of prompt, options and both sides as the file says them: equal for equal pairs only."""
    whole = json.dumps(_whole(pair), sort_keys=True, default=str)
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def content_digest(pair: Pair) -> str:
    """The name under which `probe label` has saved answers to the pair, wherever it stands."""
    return hashlib.sha256(json.dumps(_whole(pair), default=dict).encode()).hexdigest()[:16]


def _whole(pair: Pair) -> list[Any]:
    options = options_key(pair.meta)
    return [pair.prompt, pair.chosen, pair.rejected, *([options] if options else [])]


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
