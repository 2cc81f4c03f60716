"""Sampling speed at 32 prompts: our batched loop, with either cache, beside transformers' `generate`.

    python bench/sample.py [--pairs FILE] [--prompts 32] [--tokens 64] [--rounds 2] [--model DIR] [--json F]

All sample the whole distribution at temperature 1 and end at the model's end token. They take turns in
one process, so that a busy machine is busy for all; each round is timed whole. Ratios are ours / peer's, in
tokens per second of wall time (median of the rounds), and of processor time, which other work on the machine
disturbs less. At temperature 0 the answers of ours and of `generate` per prompt are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PAIRS = Path(__file__).resolve().parents[1] / "pairs/listing_taste.jsonl"
Contexts = Sequence[tuple[int, ...]]


def ours(loaded: Any, contexts: Contexts, tokens: int, temperature: float) -> list[list[int]]:
    """Ids of each answer by `probe.scoring.sampling`, the end token not counted."""
    from probe.scoring.sampling import Draw, draw_samples

    found: dict[int, Any] = {}
    draws = [Draw(context, temperature, i) for i, context in enumerate(contexts)]
    for part in draw_samples(loaded, draws, tokens=tokens):
        found |= part
    return [list(found[i].ids) for i in range(len(contexts))]


def ours_growing(loaded: Any, contexts: Contexts, tokens: int, temperature: float) -> list[list[int]]:
    """The same with transformers' own cache, which is copied for every token."""
    from unittest.mock import patch

    from transformers import DynamicCache

    with patch("probe.scoring.sampling.roomy_cache", lambda config, tokens: DynamicCache(config=config)):
        return ours(loaded, contexts, tokens, temperature)


def generate(loaded: Any, contexts: Contexts, tokens: int, temperature: float) -> list[list[int]]:
    """Ids of each answer by `generate`, all contexts in one batch padded on the left."""
    import torch
    from transformers import GenerationConfig

    end = loaded.tokenizer.eos_token_id
    how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    config = GenerationConfig(max_new_tokens=tokens, eos_token_id=end, pad_token_id=end, **how)
    width = max(map(len, contexts))
    ids = torch.tensor([[end] * (width - len(c)) + list(c) for c in contexts], device=loaded.device)
    mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in contexts], device=loaded.device)
    output = loaded.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    rows = output[:, width:].tolist()
    return [row[: row.index(end)] if end in row else row for row in rows]


def one_by_one(loaded: Any, contexts: Contexts, tokens: int, temperature: float) -> list[list[int]]:
    """The same with a call a prompt."""
    return [generate(loaded, [context], tokens, temperature)[0] for context in contexts]


ENGINES: dict[str, Callable[[Any, Contexts, int, float], list[list[int]]]] = {
    "probe": ours,
    "probe, transformers' cache": ours_growing,
    "generate, one prompt a call": one_by_one,
    "generate, one batch": generate,
}


def timed(engine: str, loaded: Any, contexts: Contexts, tokens: int) -> dict[str, Any]:
    """Tokens, wall seconds and processor seconds of one round at temperature 1."""
    wall, cpu = time.perf_counter(), time.process_time()
    answers = ENGINES[engine](loaded, contexts, tokens, 1.0)
    return {
        "engine": engine,
        "tokens": sum(map(len, answers)),
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }


def load(options: argparse.Namespace) -> tuple[Any, Contexts]:
    """The model, and the contexts of the first prompts."""
    from probe.pairs.read import read_pairs
    from probe.scoring.encode import make_encoder
    from probe.scoring.model import load_model

    loaded = load_model(options.model)
    pairs = list(read_pairs(options.pairs, skip_bad=True))[: options.prompts]
    codes = make_encoder(loaded.tokenizer, pairs).many(pairs)
    return loaded, [code.chosen.ids[: code.chosen.start] for code in codes]


def reading(contexts: Contexts) -> str:
    """How many tokens reading the contexts takes, with padding to the longest of so many."""
    from probe.scoring.sampling import READ_BATCH

    lengths = sorted(map(len, contexts))
    told = [f"contexts of {lengths[0]} to {lengths[-1]} tokens, {sum(lengths)} in all"]
    for size in (32, READ_BATCH):
        groups = [lengths[i : i + size] for i in range(0, len(lengths), size)]
        told.append(f"{sum(len(group) * group[-1] for group in groups)} padded {size} at a time")
    return "; ".join(told)


def speeds(rounds: Sequence[dict[str, Any]], clock: str) -> dict[str, float]:
    """Median tokens per second of each engine, by a clock."""
    return {
        engine: statistics.median(r["tokens"] / r[clock] for r in rounds if r["engine"] == engine)
        for engine in ENGINES
    }


def main() -> None:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="whose prompts")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import torch

    loaded, contexts = load(options)
    print(reading(contexts), flush=True)
    for engine in ENGINES.values():
        engine(loaded, contexts[:2], 2, 1.0)
    some = contexts[:4]
    same = sum(
        a == b for a, b in zip(ours(loaded, some, 16, 0), one_by_one(loaded, some, 16, 0), strict=True)
    )
    rounds = []
    for _ in range(options.rounds):
        for engine in ENGINES:
            rounds.append(timed(engine, loaded, contexts, options.tokens))
            print(
                "{engine}: {tokens} tokens, {seconds:.1f} s, cpu {cpu_seconds:.1f} s".format(**rounds[-1]),
                flush=True,
            )
    wall, cpu = speeds(rounds, "seconds"), speeds(rounds, "cpu_seconds")
    print("\n| engine | tokens/s | ours / it | by processor time |\n|---|---|---|---|")
    for engine in ENGINES:
        print(
            f"| {engine} | {wall[engine]:.1f} | {wall['probe'] / wall[engine]:.2f} "
            f"| {cpu['probe'] / cpu[engine]:.2f} |"
        )
    print(f"\ngreedy answers equal: {same} of {len(some)}")
    if options.json:
        ratios = {name: wall["probe"] / value for name, value in wall.items()}
        environment = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cpus": os.cpu_count()}
        options.json.write_text(
            json.dumps({"ratios": ratios, "rounds": rounds, "environment": environment}, indent=1)
        )


if __name__ == "__main__":
    main()
