"""Scoring speed, memory and agreement beside the peers, each at its best batch size, in interleaved rounds.

    python bench/scoring.py [--pairs 64] [--rounds 3] [--model DIR] [--dtypes float32,bfloat16] [--json FILE]
    python bench/scoring.py --ladder 16      several answers a prompt under three templates: the prefix tree

Each round also times the floor: the FLOPs needed over the fastest matrix products at this model's shapes.
Every measurement runs in a process of its own, so that peak memory is its own. Time is the scoring alone: the
model is loaded and has scored one pair before the clock starts. Ratios are peer's median time / ours in the
same arithmetic; of several, also each engine's best against our best.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1].parent / "shared/data"
BATCHES = {
    "probe": (1024,),
    "transformers": (1, 2, 4, 8),
    "trl": (1, 2, 4),
    "lm_eval": (1, 2, 4, 8),
    "minicons": (1, 2, 4, 8),
}
PROMPT_TOKENS = 400  # longer prompts are left out, as the issue of the peers' memory would hide their speed


def load_pairs(path: Path, tokenizer: Any, n: int) -> list[Any]:
    """The first `n` pairs whose prompt has at most `PROMPT_TOKENS` tokens."""
    from probe.pairs.read import read_pairs

    kept = []
    for pair in read_pairs(path):
        if len(tokenizer(pair.prompt)["input_ids"]) <= PROMPT_TOKENS:
            kept.append(pair)
        if len(kept) == n:
            break
    return kept


ENDS: list[float] = []  # our sums with the end token, for the peer that adds one


def ours(loaded: Any, pairs: Sequence[Any], budget: int) -> list[float]:
    """Sums of both sides by the packed engine, the end token apart (it is scored, as TRL scores it)."""
    from probe.scoring.encode import make_encoder
    from probe.scoring.service import Scorer

    scores = Scorer(loaded, make_encoder(loaded.tokenizer, pairs, "raw"), budget=budget).scores(pairs)
    sides = [side for score in scores for side in (score.chosen, score.rejected)]
    ENDS[:] = [side.logps + (side.end_logp or 0.0) for side in sides]
    return [side.logps for side in sides]


def transformers_batches(loaded: Any, pairs: Sequence[Any], batch: int) -> list[float]:
    """The usual padded batch: both sides as rows, one forward, log-softmax, gather, mask."""
    import torch

    from probe.scoring.encode import make_encoder

    encode = make_encoder(loaded.tokenizer, pairs, "raw")
    sides = [side for codes in encode.many(pairs) for side in (codes.chosen, codes.rejected)]
    order = sorted(range(len(sides)), key=lambda i: -len(sides[i].ids))
    sums = [0.0] * len(sides)
    for at in range(0, len(order), 2 * batch):
        rows = [sides[i] for i in order[at : at + 2 * batch]]
        longest = max(len(r.ids) for r in rows)
        ids = torch.tensor([[*r.ids, *[0] * (longest - len(r.ids))] for r in rows], device=loaded.device)
        mask = (torch.arange(longest) < torch.tensor([[len(r.ids)] for r in rows])).long().to(loaded.device)
        table = torch.log_softmax(loaded.model(input_ids=ids, attention_mask=mask).logits[:, :-1].float(), -1)
        picked = table.gather(-1, ids[:, 1:, None])[..., 0]
        for i, row, values in zip(order[at : at + 2 * batch], rows, picked, strict=True):
            sums[i] = float(values[row.start - 1 : len(row.ids) - 1 - row.ends].sum())
    return sums


def trl(loaded: Any, pairs: Sequence[Any], batch: int) -> list[float]:
    """DPOTrainer's pass that precomputes the reference's log-probs (EOS included, as it has it)."""
    import tempfile

    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]
    with tempfile.TemporaryDirectory() as folder:
        arguments = DPOConfig(
            folder, per_device_train_batch_size=batch, precompute_ref_log_probs=True, max_length=None,
            bf16=False, use_cpu=loaded.device.type == "cpu", report_to=[], save_strategy="no",
            disable_tqdm=True, max_steps=1,
        )  # fmt: skip
        trainer = DPOTrainer(
            loaded.model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=loaded.tokenizer,
        )
        trainer.get_train_dataloader()
        done = trainer.train_dataset
        return [
            float(value) for row in done for value in (row["ref_chosen_logps"], row["ref_rejected_logps"])
        ]


def lm_eval(loaded: Any, pairs: Sequence[Any], batch: int) -> list[float]:
    """`HFLM.loglikelihood`."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=2 * batch, max_length=2048)
    asked = [(p.prompt, side) for p in pairs for side in (p.chosen, p.rejected)]
    requests = [Instance("loglikelihood", {}, arguments, i) for i, arguments in enumerate(asked)]
    return [float(logps) for logps, _ in peer.loglikelihood(requests, disable_tqdm=True)]


def minicons(loaded: Any, pairs: Sequence[Any], batch: int) -> list[float]:
    """`IncrementalLMScorer.conditional_score`."""
    from minicons.scorer import IncrementalLMScorer

    peer = IncrementalLMScorer(loaded.model, "cpu", tokenizer=loaded.tokenizer)
    asked = [(p.prompt, side) for p in pairs for side in (p.chosen, p.rejected)]
    sums: list[float] = []
    for at in range(0, len(asked), 2 * batch):
        prompts, sides = zip(*asked[at : at + 2 * batch], strict=True)
        sums += peer.conditional_score(
            list(prompts), list(sides), separator="", reduction=lambda x: x.sum().item()
        )
    return sums


def ladder_sides(loaded: Any, path: Path, prompts: int) -> list[Any]:
    """Every answer to the first prompts, under three templates, as encoded sides."""
    from probe.pairs.record import Pair
    from probe.scoring.encode import make_encoder

    rows = [json.loads(line) for line in path.read_text().splitlines()[:prompts]]
    sides = []
    for template in ("raw", "qa", "chat"):
        for i, row in enumerate(rows):
            answers = [v for k, v in row.items() if k.startswith(("chosen", "rejected")) and v]
            pairs = [Pair(f"{i}", row["prompt"], answers[0], answer) for answer in answers[1:]]
            encode = make_encoder(loaded.tokenizer, pairs, template)
            codes = [encode(pair) for pair in pairs]
            sides += [codes[0].chosen, *(c.rejected for c in codes)]
    return [side for side in sides if len(side.ids) <= 600]


def ladder_by(form: str, loaded: Any, sides: Sequence[Any], group: int = 2) -> list[float]:
    """Sums by the tree over all sides, over two sides at a time, or plain, one after the other."""
    from probe.scoring.engine import token_logps

    if form == "tree":
        parts = [token_logps(loaded.model, sides)]
    elif form == "pairs":
        parts = [token_logps(loaded.model, sides[i : i + group]) for i in range(0, len(sides), group)]
    else:
        parts = [token_logps(loaded.model, sides, plain=True)]
    return [float(logps.sum()) for part in parts for logps in part]


def ladder_report(options: argparse.Namespace) -> None:
    """Tokens and time of the shared-template set in three forms, printed."""
    import torch

    from probe.scoring.model import load_model
    from probe.scoring.tree import build_tree

    loaded = load_model(options.model)
    sides = ladder_sides(loaded, DATA / "helpful_ladder.jsonl", options.ladder)
    ids = [side.ids for side in sides]
    tokens = {
        "tree": len(build_tree(ids).ids),
        "pairs": sum(len(build_tree(ids[i : i + 2]).ids) for i in range(0, len(ids), 2)),
        "plain": sum(map(len, ids)),
    }
    spent: dict[str, list[float]] = {form: [] for form in tokens}
    sums: dict[str, list[float]] = {}
    with torch.no_grad():
        for _ in range(options.rounds):
            for form, seconds in spent.items():
                started = time.perf_counter()
                sums[form] = ladder_by(form, loaded, sides)
                seconds.append(time.perf_counter() - started)
    print(f"{len(sides)} sequences: {options.ladder} prompts, each answer of the ladder, three templates\n")
    print("| form | tokens computed | time / the tree's | largest difference, nats |\n|---|---|---|---|")
    for form, seconds in spent.items():
        ratio = statistics.median(seconds) / statistics.median(spent["tree"])
        far = max(abs(a - b) for a, b in zip(sums[form], sums["plain"], strict=True))
        print(f"| {form} | {tokens[form]} | {ratio:.2f} | {far:.2g} |")


def roofline(options: argparse.Namespace) -> dict[str, Any]:
    """The floor for the pairs of this run: distinct tokens of each window, response positions, seconds."""
    from roofline import floor

    from probe.scoring.encode import make_encoder
    from probe.scoring.model import load_model
    from probe.scoring.proof import prove
    from probe.scoring.tree import build_tree

    loaded = load_model(options.model, dtype=options.dtypes)
    pairs = load_pairs(options.data, loaded.tokenizer, options.pairs)
    codes = make_encoder(loaded.tokenizer, pairs, "raw").many(pairs)
    sides = [side for code in codes for side in (code.chosen, code.rejected)]
    tokens = len(build_tree([side.ids for side in sides]).ids)
    positions = len({side.ids[:end] for side in sides for end in range(side.start, len(side.ids))})
    prove(loaded.model, loaded.dtype, max(len(side.ids) for side in sides))  # a first call to warm up
    started = time.perf_counter()
    prove(loaded.model, loaded.dtype, max(len(side.ids) for side in sides))
    facts = {
        "engine": "floor", "tokens": tokens, "plain_tokens": sum(len(s.ids) for s in sides),
        "proof_s": time.perf_counter() - started,
    }  # fmt: skip
    return facts | floor(loaded.model, tokens, positions, loaded.device, loaded.dtype)


ENGINES: dict[str, Callable[[Any, Sequence[Any], int], list[float]]] = {
    "probe": ours,
    "transformers": transformers_batches,
    "trl": trl,
    "lm_eval": lm_eval,
    "minicons": minicons,
}


def measure(engine: str, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """One timed pass in this process: seconds, peak memory above the loaded model, and the sums."""
    import torch

    from probe.scoring.model import load_model

    loaded = load_model(options.model, dtype=options.dtypes)
    pairs = load_pairs(options.data, loaded.tokenizer, options.pairs)
    with torch.no_grad():
        loaded.model(torch.tensor([[1, 2]]))  # brings every weight into memory
        before = _resident_mb()
        ENGINES[engine](loaded, pairs[:1], batch)
        started = time.perf_counter()
        sums = ENGINES[engine](loaded, pairs, batch)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "engine": engine,
        "batch": batch,
        "seconds": seconds,
        "peak_mb": peak / 1024,
        "above_mb": peak / 1024 - before,
        "sums": sums,
        "sums_with_end": ENDS,
    }


def _resident_mb() -> float:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def child(engine: str, dtype: str, batch: int, options: argparse.Namespace, pairs: int) -> dict[str, Any]:
    """`measure` in a fresh process."""
    command = [
        sys.executable,
        __file__,
        "--child",
        engine,
        str(batch),
        "--pairs",
        str(pairs),
        "--data",
        str(options.data),
        "--dtypes",
        dtype,
    ]
    command += ["--model", options.model] if options.model else []
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TQDM_DISABLE": "1"})
    if done.returncode:
        raise SystemExit(f"{engine} at batch {batch} failed:\n{done.stderr[-2000:]}")
    return {"dtype": dtype, **json.loads(done.stdout.strip().splitlines()[-1])}


def best_batch(engine: str, dtype: str, options: argparse.Namespace) -> int:
    """The batch size with the least time on a quarter of the pairs."""
    sizes = BATCHES[engine]
    if len(sizes) == 1:
        return sizes[0]
    tried = {
        size: child(engine, dtype, size, options, max(4, options.pairs // 4))["seconds"] for size in sizes
    }
    return min(tried, key=tried.__getitem__)


def report(
    rounds: list[dict[str, Any]], batches: dict[str, int], options: argparse.Namespace
) -> dict[str, Any]:
    """Medians, ratios, differences in one arithmetic; printed as a table."""
    medians = {e: statistics.median(r["seconds"] for r in rounds if r["engine"] == e) for e in batches}
    peaks = {e: statistics.median(r["peak_mb"] for r in rounds if r["engine"] == e) for e in batches}
    above = {e: statistics.median(r["above_mb"] for r in rounds if r["engine"] == e) for e in batches}
    sums = {r["engine"]: r["sums"] for r in rounds if "sums" in r}
    with_end = next(r["sums_with_end"] for r in rounds if r["engine"] == "probe")
    print(
        f"\n{options.pairs} pairs, {options.rounds} rounds, {rounds[0]['dtype']}\n\n"
        "| engine | batch | pairs/s | time ratio | peak MB | above the loaded model | largest difference |"
    )
    print("|---|---|---|---|---|---|---|")
    for engine in batches:
        against = with_end if engine == "trl" else sums["probe"]
        far = max(abs(a - b) for a, b in zip(sums[engine], against, strict=True))
        print(
            f"| {engine} | {batches[engine]} | {options.pairs / medians[engine]:.2f} | "
            f"{medians[engine] / medians['probe']:.2f} | {peaks[engine]:.0f} | "
            f"{above[engine]:.0f} | {far:.2g} |"
        )
    floors = [r["seconds"] for r in rounds if r["engine"] == "floor"]
    fraction = min(floors) / medians["probe"]
    print(
        f"\n{rounds[0]['plain_tokens']} tokens, {rounds[0]['tokens']} of them distinct. "
        f"Fraction of the roofline: {fraction:.2f}. "
        f"Self-proof: {min(r['proof_s'] for r in rounds if 'proof_s' in r) / medians['probe']:.1%} of the run"
    )
    return {
        "roofline_fraction": fraction,
        "ratios": {e: medians[e] / medians["probe"] for e in batches if e != "probe"},
        "medians": medians,
        "peak_mb": peaks,
        "above_mb": above,
        "rounds": [{k: v for k, v in r.items() if not k.startswith("sums")} for r in rounds],
    }


def best_against_best(made: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Each peer's best time over the arithmetics, over our best; printed."""
    medians = [one["medians"] for one in made.values()]
    best = {engine: min(some[engine] for some in medians) for engine in medians[0]}
    ratios = {engine: best[engine] / best["probe"] for engine in best if engine != "probe"}
    told = ", ".join(f"{engine} {ratio:.2f}" for engine, ratio in ratios.items())
    print(f"\nbest arithmetic against our best, of {', '.join(made)}: {told}")
    return ratios


def main() -> None:
    """Parse, measure, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default=None)
    parser.add_argument("--ladder", type=int, default=0, metavar="PROMPTS")
    parser.add_argument("--data", type=Path, default=DATA / "hh_harmless.jsonl")
    parser.add_argument("--dtypes", default="float32", help="arithmetics, with commas")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--child", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ladder:
        ladder_report(options)
        return
    if options.child and options.child[0] == "floor":
        print(json.dumps(roofline(options)))
        return
    if options.child:
        print(json.dumps(measure(options.child[0], int(options.child[1]), options)))
        return
    dtypes = options.dtypes.split(",")
    batches = {
        dtype: {engine: best_batch(engine, dtype, options) for engine in options.engines.split(",")}
        for dtype in dtypes
    }
    rounds = [
        child(engine, dtype, batch, options, options.pairs)
        for _ in range(options.rounds)
        for dtype in dtypes
        for engine, batch in {"floor": 0, **batches[dtype]}.items()
    ]
    made = {
        dtype: report([one for one in rounds if one["dtype"] == dtype], batches[dtype], options)
        for dtype in dtypes
    }
    best = best_against_best(made) if len(dtypes) > 1 else {}
    if options.json:
        from probe.runs import environment

        result = {"arithmetics": made, "best_against_best": best, "environment": environment()}
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
