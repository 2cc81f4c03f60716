"""The token ids that TRL's trainer of preferences makes of a conversation: the oracle of ours."""

from __future__ import annotations

import json
from typing import Any

from trl import data_utils


def by_trl(
    tokenizer: Any, prompt: list, chosen: list, rejected: list, meta: dict[str, Any]
) -> tuple[int, list[int], list[int]]:
    """The start of the responses and both sequences, as `DPOTrainer` makes them."""
    tools = meta.get("tools")
    tools = json.loads(tools) if isinstance(tools, str) else tools
    ids = [
        data_utils._tokenize(tokenizer, turns, tools=tools, **more)["input_ids"]
        for turns, more in (
            (prompt, {"add_generation_prompt": True}),
            (prompt + chosen, {}),
            (prompt + rejected, {}),
        )
    ]
    return min(data_utils.common_prefix_length(ids[0], side) for side in ids[1:]), ids[1], ids[2]
