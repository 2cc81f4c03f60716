"""How well an early run ranks the pairs that stay misranked: its own, and those of a model of 32B.

    python bench/difficulty.py     # reads ../shared/data/difficulty; seconds

Published per-pair held-out losses of DPO (glorgao/SelectiveDPO): Qwen2.5 at six sizes, 6,668 pairs of
dpo-mix-7k, at the first evaluation (step 10) and at the last, three seeds. A pair is hard when its final loss
(the mean over seeds) is above ln 2: its margin ended below 0. The area under the curve is the chance that a
hard pair had the larger first loss. One family and one data set; hard is not mislabelled.
"""

from __future__ import annotations

import csv
import gzip
import math
import sys
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

ROOT = Path(__file__).resolve().parents[1]
SIZES, SEEDS, LARGEST = ("0.5b", "1.5b", "3b", "7b", "14b", "32b"), (41, 42, 43), "32b"
Floats = np.ndarray


def losses(path: Path) -> dict[str, Floats]:
    """Columns `SIZE_first_SEED` and `SIZE_final_SEED` by name, nats, a row per pair."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "prompt_id"]
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


def mean_loss(columns: dict[str, Floats], size: str, when: str) -> Floats:
    """The mean over seeds [pairs]."""
    return np.mean([columns[f"{size}_{when}_{seed}"] for seed in SEEDS], axis=0)


def hard(columns: dict[str, Floats], size: str) -> Floats:
    """Which pairs end misranked [pairs]."""
    return mean_loss(columns, size, "final") > math.log(2)


def auc(scores: Floats, event: Floats) -> float:
    """The chance that a pair with the event has the larger score, ties as half (Mann–Whitney)."""
    ranks, n = rankdata(scores), int(event.sum())
    return float((ranks[event].sum() - n * (n + 1) / 2) / (n * (len(event) - n)))


def table(columns: dict[str, Floats]) -> str:
    """A row per size: share of hard pairs, AUC of one seed's and of the mean first loss."""
    lines = [
        "| early run of | hard pairs | AUC: own, one seed | own, mean of three | 32B's, mean of three "
        "| hard, of those first above ln 2 |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for size in SIZES:
        own, largest = hard(columns, size), hard(columns, LARGEST)
        first = mean_loss(columns, size, "first")
        single = np.mean([auc(columns[f"{size}_first_{seed}"], own) for seed in SEEDS])
        lines.append(
            f"| {size.upper()} | {own.mean():.0%} | {single:.2f} | {auc(first, own):.2f} "
            f"| {auc(first, largest):.2f} | {own[first > math.log(2)].mean():.0%} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the table, or say that the data are absent."""
    found = [up / "shared/data/difficulty/qwen25_dpo_mix_7k.csv.gz" for up in ROOT.parents]
    path = next((one for one in found if one.exists()), None)
    if path is None:
        print("../shared/data/difficulty is not beside the checkout.", file=sys.stderr)
        return 1
    print(table(losses(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
