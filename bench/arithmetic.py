"""A step of DPO in several arithmetics: processor seconds, and how far what it teaches is from float32's.

    python bench/arithmetic.py [--pairs 16] [--rounds 3] [--updates 4] [--model DIR]

Forms: `peft` is its own forward in float32; `float32` and `bfloat16` are the trial's, an adapted layer in
one step of autograd, the products with frozen weights in either; `whole` is a model loaded in bfloat16, its
adapter in float32. Each round times one update of every form in turn. Afterwards every form makes the same
updates from the same start, and the margins (nats) of the pairs that it trained on stand beside `peft`'s.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMS = ("peft", "float32", "bfloat16", "whole")


def made(form: str, session: Any, recipe: Any) -> Any:
    """A bench of the trial's whose model computes in that form."""
    import torch

    from probe.probes.trial.bench import Bench
    from probe.training.policy import trainable_model

    model = copy.deepcopy(session.loaded.model)
    found = Bench(trainable_model(model.to(torch.bfloat16) if form == "whole" else model, recipe, seed=0))
    found.compute(half=form == "bfloat16")
    if form == "peft":
        found._products.close()
    return found


def measured(options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of an update by form and round, and the margins after `--updates` of them."""
    from gate import write_pairs
    from probe.probes.trial.bench import Tuned
    from probe.scoring.session import ModelOptions, Session, Source
    from probe.training.data import examples
    from probe.training.recipes import recipe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        write_pairs(path, options.pairs)
        source = Source.of(path, None, None, False)
        session = Session.open(source, ModelOptions(options.model, no_cache=True, dtype="float32"), 0)
        pairs = list(source.pairs())
        items = examples(pairs, session.encoder, codes=session.encoded(pairs))
    own = recipe("dpo", session.loaded.facts.get("parameters"), n=options.pairs)
    benches = {form: made(form, session, own) for form in FORMS}
    started = {}
    for form, bench in benches.items():
        bench.put()
        started[form] = bench.rescored(items)
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(options.rounds):
        for form, bench in benches.items():
            begun = time.process_time()
            bench.stage(Tuned(bench.start), own, 1, started[form], lambda _: None)
            seconds[form].append(time.process_time() - begun)
    margins = {}
    for form, bench in benches.items():
        bench.put(bench.stage(Tuned(bench.start), own, options.updates, started[form], lambda _: None))
        margins[form] = bench.unseen(started[form], 0.0).margins
    return seconds, margins


def table(seconds: dict[str, Sequence[float]], margins: dict[str, Any]) -> str:
    """A row of each form beside `peft`: time, mean margin, correlation and share of margins up."""
    usual = margins["peft"]
    lines = [
        "| form | time / peft's | in the rounds | mean margin, nats | correlation with peft's | up |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for form, taken in seconds.items():
        ratios = [mine / theirs for mine, theirs in zip(taken, seconds["peft"], strict=True)]
        told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        own = margins[form]
        lines.append(
            f"| {form} | {statistics.median(ratios):.2f} | {told} | {own.mean():.2f} | "
            f"{np.corrcoef(usual, own)[0, 1]:.3f} | {(own > 0).mean():.0%} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()
    seconds, margins = measured(options)
    print(f"{options.pairs} pairs of HH harmless, batch of the recipe, {options.updates} updates\n")
    print(table(seconds, margins))
    return 0


if __name__ == "__main__":
    sys.exit(main())
