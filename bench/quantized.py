"""The embedded model in 4 or 8 bits on a CPU: scores against the weights dequantised, and a few QLoRA steps.

    python bench/quantized.py [--kind nf4] [--model NAME] [--pairs 4] [--steps 2]
        [--pairs-file pairs/listing_taste.jsonl]

Needs bitsandbytes. Prints seconds and peak memory beside each phase.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from probe.pairs.read import read_pairs
from probe.scoring.encode import make_encoder
from probe.scoring.model import LoadedModel, load_model
from probe.scoring.quantized import dequantized
from probe.scoring.service import Scorer
from probe.training.data import examples
from probe.training.loop import Stage
from probe.training.plan import Material, Options
from probe.training.policy import trainable_model
from probe.training.recipes import recipe


def told(what: str, start: float) -> None:
    """One line: the phase, its seconds, and the most memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {time.monotonic() - start:.1f} s, peak {peak:.2f} GiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", default="nf4", choices=("nf4", "int8"))
    parser.add_argument("--model", default=None)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--pairs-file", type=Path, default=Path("pairs/listing_taste.jsonl"))
    asked = parser.parse_args()

    start = time.monotonic()
    loaded = load_model(asked.model, device="cpu", dtype="float32", quantize=asked.kind)
    told(f"loaded in {asked.kind}", start)
    pairs = [pair for pair, _ in zip(read_pairs(asked.pairs_file), range(asked.pairs), strict=False)]
    encoder = make_encoder(loaded.tokenizer, pairs)
    sides = [side for code in encoder.many(pairs) for side in (code.chosen, code.rejected)]

    def scored(model: LoadedModel, what: str) -> list[np.ndarray]:
        start = time.monotonic()
        logps = Scorer(model, encoder).side_logps(sides)
        told(f"{what}: {len(sides)} sides, {sum(len(side.ids) for side in sides)} tokens", start)
        return logps

    quantised = scored(loaded, f"scored in {asked.kind}")
    plain = LoadedModel(
        dequantized(loaded.model), loaded.tokenizer, loaded.name, loaded.device, loaded.dtype, loaded.facts
    )
    same = scored(plain, "scored dequantised, float32")
    far = max(float(np.abs(a - b).max()) for a, b in zip(quantised, same, strict=True))
    mean = float(np.mean(np.abs(np.concatenate(quantised) - np.concatenate(same))))
    print(f"difference of a token's log-prob: largest {far:.2e}, mean {mean:.2e} nats")
    del plain

    start = time.monotonic()
    scorer = Scorer(loaded, encoder)
    items = examples(pairs, encoder, scorer.scores(pairs))
    plain_forward = scorer.proof is not None and scorer.proof.plain
    chosen = recipe("dpo", loaded.facts["parameters"], n=len(items))
    model = trainable_model(loaded.model, chosen)
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(
            model, chosen, Material(items, items), Options(steps=asked.steps), Path(place), cpu=True,
            plain=plain_forward,
        )  # fmt: skip
        for step in range(1, asked.steps + 1):
            start = time.monotonic()
            done = stage.step(items)
            told(f"QLoRA step {step}: loss {done.sums.loss / done.sums.weight:.6f}", start)


if __name__ == "__main__":
    main()
