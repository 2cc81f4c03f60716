"""`probe bias` over ever larger files, on a tiny model: time linear, memory flat.

    python bench/scale.py [--sizes 1000,10000,100000,1000000] [--json FILE] [--plot FILE.svg]

The model is so small that reading, encoding, packing, the statistics and the report are what is timed, not
its arithmetic. Every size is a process of its own: its processor time and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

BASE = 100  # pairs; its time is the start-up, which is subtracted


def tiny_model(directory: Path) -> Path:
    """A random one-layer Llama with a byte-level tokenizer, saved."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" " + " ".join(WORDS)] * 2, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(
        directory
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=600, **sizes)).save_pretrained(directory)
    return directory


WORDS = tuple(
    f"{first}{second}" for first in ("ba", "do", "ki", "lu", "me", "ro") for second in ("n", "st", "l")
)


def write_pairs(path: Path, n: int) -> None:
    """`n` pairs of a few words each, in twenty groups."""
    draw = random.Random(0)
    with path.open("w") as file:
        for i in range(n):
            prompt, chosen, rejected = (" ".join(draw.choices(WORDS, k=k)) for k in (6, 5, 5))
            row = {"prompt": f"{prompt} {i}?", "chosen": f" {chosen}", "rejected": f" {rejected}"}
            file.write(json.dumps(row | {"group": f"g{i % 20}"}) + "\n")


def measure(pairs: int, model: Path, folder: Path) -> dict[str, Any]:
    """One run of the command: wall and processor seconds, peak memory in MB."""
    file = folder / f"{pairs}.jsonl"
    write_pairs(file, pairs)
    command = [sys.executable, "-m", "probe", "bias", str(file), "--model", str(model)]
    command += ["--no-cache", "--templates", "none", "--no-corrected", "--format", f"json={folder}/run.json"]
    command += ["--out", str(folder / f"run-{pairs}")]
    started = time.perf_counter()
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert running.stderr is not None
    errors = running.stderr.read()
    _, status, usage = os.wait4(running.pid, 0)
    if os.waitstatus_to_exitcode(status) > 1:
        raise SystemExit(errors.decode()[-2000:])
    file.unlink()
    return {
        "pairs": pairs,
        "wall": time.perf_counter() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def slopes(rows: list[dict[str, Any]]) -> list[float]:
    """d log(time) / d log(pairs) between neighbouring sizes, start-up subtracted; 1 is linear."""
    base = rows[0]
    above = [(r["pairs"] - BASE, r["cpu"] - base["cpu"]) for r in rows[1:]]
    return [math.log(t2 / t1) / math.log(n2 / n1) for (n1, t1), (n2, t2) in pairwise(above)]


def report(rows: list[dict[str, Any]]) -> None:
    """The table."""
    print(
        "| pairs | processor s | wall s | pairs / processor s | peak MB | slope from the size before |\n"
        "|---|---|---|---|---|---|"
    )
    for row, slope in zip(rows, [None, None, *slopes(rows)], strict=True):
        rate = (row["pairs"] - BASE) / (row["cpu"] - rows[0]["cpu"]) if row["pairs"] > BASE else math.nan
        print(
            f"| {row['pairs']:,} | {row['cpu']:.1f} | {row['wall']:.1f} | {rate:.0f} | "
            f"{row['peak_mb']:.0f} | {'' if slope is None else format(slope, '.3f')} |"
        )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time and peak memory against pairs, both axes logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "probe", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    pairs = [row["pairs"] for row in rows[1:]]
    left.loglog(pairs, [row["cpu"] - rows[0]["cpu"] for row in rows[1:]], "o-")
    left.set(xlabel="pairs", title="processor seconds, start-up subtracted")
    right.semilogx(pairs, [row["peak_mb"] for row in rows[1:]], "o-")
    right.set(xlabel="pairs", title="peak memory, MB", ylim=(0, None))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Parse, measure, print, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--plot", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(Path(folder) / "model")
        sizes = [BASE, *map(int, options.sizes.split(","))]
        rows = [measure(size, model, Path(folder)) for size in sizes]
    report(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
