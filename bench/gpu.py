"""Scoring speed on a GPU: a random-weight model of a real shape, pairs of HH's lengths, peers beside it.

    python bench/gpu.py [--shape llama-3-8b] [--pairs 256] [--rounds 3] [--gate] [--json FILE]
    python bench/gpu.py --shape tiny --pairs 8 --device cpu      what the tests run

Nothing is downloaded: the weights are drawn on the device, the texts are random letters under a byte-level
tokenizer, as long in tokens as HH's prompts and answers are. The peak is that of matrix products of this
model's shapes, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from roofline import flops_per_second, head_shape, linear_shapes

from scoring import ENGINES

SHAPES: dict[str, dict[str, int]] = {
    "llama-3-8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
# Deciles 0.1 … 0.9 of tokens (SmolLM2's tokenizer) of 997 pairs of HH harmless; a letter here is a token.
PROMPT = (19, 24, 44, 72, 94, 120, 151, 192, 270)
ANSWER = (9, 13, 18, 24, 32, 41, 53, 69, 101)
BUDGETS = (1024, 4096, 16384)
BATCHES = (4, 16, 32)


def build(shape: str, device: torch.device, dtype: torch.dtype) -> Any:
    """A random model of this shape, on the device, as the engine's `LoadedModel`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from probe.scoring.model import LoadedModel

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            config = LlamaConfig(**SHAPES[shape], bos_token_id=0, eos_token_id=1)
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    return LoadedModel(model, tokenizer, shape, device, dtype, {})


def byte_tokenizer() -> Any:
    """A letter is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def draw_pairs(n: int, seed: int = 0) -> list[Any]:
    """Pairs of random letters, their lengths drawn between HH's deciles."""
    from probe.pairs.record import Pair

    draw = random.Random(seed)

    def text(deciles: tuple[int, ...]) -> str:
        at = draw.randrange(len(deciles) - 1)
        return "".join(draw.choices("abcdefghij", k=draw.randint(deciles[at], deciles[at + 1])))

    return [Pair(str(i), text(PROMPT), " " + text(ANSWER), " " + text(ANSWER)) for i in range(n)]


def needed_flops(loaded: Any, pairs: list[Any]) -> tuple[float, int, int]:
    """FLOPs of the linear layers for every distinct prefix once; all tokens; distinct tokens."""
    from probe.scoring.encode import make_encoder
    from probe.scoring.tree import build_tree

    codes = make_encoder(loaded.tokenizer, pairs, "raw").many(pairs)
    sides = [side for code in codes for side in (code.chosen, code.rejected)]
    distinct = len(build_tree([side.ids for side in sides]).ids)
    positions = sum(len(side.ids) - side.start for side in sides)
    body = sum(2.0 * count * i * o for (i, o), count in linear_shapes(loaded.model).items())
    hidden, vocabulary = head_shape(loaded.model)
    total = sum(len(side.ids) for side in sides)
    return body * distinct + 2.0 * hidden * vocabulary * positions, total, distinct


def timed(engine: str, size: int, loaded: Any, pairs: list[Any]) -> tuple[float, float, list[float]]:
    """Seconds, peak memory in GB, and the sums of one pass."""
    cuda = loaded.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    started = time.perf_counter()
    with torch.no_grad():
        sums = ENGINES[engine](loaded, pairs, size)
    if cuda:
        torch.cuda.synchronize()
    spent = time.perf_counter() - started
    peak = (
        torch.cuda.max_memory_allocated()
        if cuda
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    return spent, peak / 1e9, sums


def best_size(engine: str, loaded: Any, pairs: list[Any]) -> int:
    """The budget or batch size with the least time on a quarter of the pairs, of those that fit."""
    few = pairs[: max(4, len(pairs) // 4)]
    tried = {}
    for size in BUDGETS if engine == "probe" else BATCHES:
        try:
            timed(engine, size, loaded, few[:2])
            tried[size] = timed(engine, size, loaded, few)[0]
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    return min(tried, key=tried.__getitem__)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Interleaved rounds of each engine at its best size."""
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    loaded = build(options.shape, device, dtype)
    pairs = draw_pairs(options.pairs)
    engines = options.engines.split(",")
    sizes = {engine: best_size(engine, loaded, pairs) for engine in engines}
    rounds = [
        (engine, *timed(engine, size, loaded, pairs))
        for _ in range(options.rounds)
        for engine, size in sizes.items()
    ]
    flops, tokens, distinct = needed_flops(loaded, pairs)
    peak = max(flops_per_second(shape, device, dtype, rows=(4096,)) for shape in linear_shapes(loaded.model))
    medians = {e: statistics.median(r[1] for r in rounds if r[0] == e) for e in engines}
    sums = {r[0]: r[3] for r in rounds}
    rows = {
        engine: {
            "size": sizes[engine],
            "tokens_per_second": tokens / medians[engine],
            "time_ratio": medians[engine] / medians[engines[0]],
            "fraction_of_peak": flops / medians[engine] / peak,
            "peak_gb": max(r[2] for r in rounds if r[0] == engine),
            "largest_difference": max(
                abs(a - b) for a, b in zip(sums[engine], sums[engines[0]], strict=True)
            ),
        }
        for engine in engines
    }
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
    ours = medians[engines[0]]
    gated = {"gate": gate_cost(loaded, pairs, ours)} if options.gate else {}
    return {
        **gated, "device": name, **versions, "shape": options.shape, "pairs": options.pairs, "tokens": tokens,
        "distinct": distinct, "peak_tflops": peak / 1e12, "engines": rows,
    }  # fmt: skip


def gate_cost(loaded: Any, pairs: list[Any], one_pass: float) -> dict[str, Any]:
    """Seconds and passes of a full gate on these pairs, and seconds of each probe; the model is at hand."""
    from probe.gate.measure import run_probes as gate
    from probe.probes.gated import GateRequest
    from probe.scoring.session import ModelOptions, Session, Source

    facts = {"parameters": sum(p.numel() for p in loaded.model.parameters())}
    facts |= {"dtype": str(loaded.dtype).removeprefix("torch."), "device": loaded.device.type}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "pairs.jsonl"
        rows = ({"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        how = ModelOptions(template="raw", no_cache=True)
        source = Source.of(path, None, None, False)
        session = Session.open(source, how, loaded=replace(loaded, facts=facts))
        run, _ = gate(GateRequest(source, how), session)
    parts = {row["probe"]: row["seconds"] for row in run.details["costs"]}
    states = {name: state for name, state in run.details["probes"].items() if state != "done"}
    seconds = sum(parts.values())
    return {"seconds": seconds, "passes": seconds / one_pass, "parts": parts, "not_done": states}


def report(result: dict[str, Any]) -> None:
    """The table."""
    print(
        f"{result['device']}, torch {result['torch']}, {result['shape']}, {result['pairs']} pairs: "
        f"{result['tokens']} tokens, {result['distinct']} distinct; "
        f"matrix products peak at {result['peak_tflops']:.2f} TFLOP/s\n\n"
        "| engine | budget or batch | tokens/s | time ratio | of the peak | peak GB | largest difference |\n"
        "|---|---|---|---|---|---|---|"
    )
    for engine, row in result["engines"].items():
        print(
            f"| {engine} | {row['size']} | {row['tokens_per_second']:.0f} | {row['time_ratio']:.2f} | "
            f"{row['fraction_of_peak']:.2f} | {row['peak_gb']:.1f} | {row['largest_difference']:.2g} |"
        )
    if gate := result.get("gate"):
        print(f"\ngate: {gate['seconds']:.0f} s, {gate['passes']:.1f} passes of {gate['parts']}")
        print(f"not done: {gate['not_done'] or 'nothing'}")


def main() -> None:
    """Parse, measure, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="llama-3-8b")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default=None)
    parser.add_argument("--engines", default="probe,transformers,trl")
    parser.add_argument("--gate", action="store_true", help="a full gate of these pairs too")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    result = measure(options)
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
