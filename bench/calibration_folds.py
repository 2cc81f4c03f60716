"""Does the interval of a cross-validated accuracy cover, and does its test hold? Simulates `probe negatives`.

    python bench/calibration_folds.py           # simulate what is missing
    python bench/calibration_folds.py --write   # put the table into docs/validity-appendix.md

Differences are normal with one informative feature of mean `shift`; the truth is the mean accuracy over all
replicates of a cell. Rows are kept in bench/results/calibration_folds.jsonl.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from probe.probes.negatives.classify import gram, separate
from probe.probes.negatives.intervals import accuracy
from probe.runs import environment, now

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "bench/results/calibration_folds.jsonl"
SIZES, FEATURES, SHIFTS = (20, 40, 100), (3, 30), (0.0, 0.35, 0.7, 1.2, 2.0)
SEED, PERMUTATIONS = 8, 199
Row = dict[str, Any]


def cell(n: int, features: int, shift: float, replicates: int) -> Row:
    """Coverage of the 95% interval, each tail, the accuracy's variance over the binomial one, and how often
    the sign-flip test rejects at 5% (at shift 0: falsely)."""
    made = np.array([estimate(n, features, shift, i) for i in range(replicates)])
    accuracies, low, high, p = made.T
    truth = accuracies.mean()
    above, below = (low > truth).mean(), (high < truth).mean()
    return {
        "n": n, "features": features, "shift": shift, "replicates": replicates, "truth": round(truth, 4),
        "low_above": float(above), "high_below": float(below), "coverage": float(1 - above - below),
        "variance_ratio": round(float(accuracies.var() / max(truth * (1 - truth) / n, 1e-12)), 3),
        "width": round(float((high - low).mean()), 4), "rejected": float((p <= 0.05).mean()), "seed": SEED,
    }  # fmt: skip


def estimate(n: int, features: int, shift: float, replicate: int) -> tuple[float, float, float, float]:
    """Accuracy, interval and p as the probes print them, for one drawn set."""
    x = np.random.default_rng([SEED, n, features, replicate]).standard_normal((n, features))
    x[:, 0] += shift
    made = accuracy("accuracy", separate([gram(x)], np.arange(n), permutations=PERMUTATIONS, seed=replicate))
    assert made.value is not None and made.low is not None and made.high is not None and made.p is not None
    return made.value, made.low, made.high, made.p


def simulate(store: Path, replicates: int) -> None:
    """Append the cells that are missing."""
    done = {(row["n"], row["features"], row["shift"]) for row in load(store)}
    found = environment()
    source = {"created": now(), "git": found["git"], "numpy": found["packages"]["numpy"]}
    for key in ((n, d, shift) for d in FEATURES for shift in SHIFTS for n in SIZES):
        if key not in done:
            with store.open("a", encoding="utf-8") as out:
                out.write(json.dumps({**cell(*key, replicates), "provenance": source}) + "\n")
            print(*key, file=sys.stderr, flush=True)


def load(store: Path) -> list[Row]:
    """The rows stored so far."""
    if not store.exists():
        return []
    return [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]


def table(rows: list[Row]) -> str:
    """A line per cell, with what is still missing."""
    lines = [
        f"{len(rows)} of {len(SIZES) * len(FEATURES) * len(SHIFTS)} cells are stored.",
        "",
        "| pairs | features | true accuracy | coverage, % (nominal 95) | low end above the truth, % "
        "| high end below it, % | mean width | variance over binomial | test rejects at 5%, % |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda r: (r["n"], r["features"], r["shift"])):
        error = 100 * math.sqrt(row["coverage"] * (1 - row["coverage"]) / row["replicates"])
        tails = " | ".join(f"{100 * row[k]:.1f}" for k in ("low_above", "high_below"))
        lines.append(
            f"| {row['n']} | {row['features']} | {row['truth']:.2f} "
            f"| {100 * row['coverage']:.1f} ± {error:.1f} | {tails} | {row['width']:.2f} "
            f"| {row['variance_ratio']:.2f} | {100 * row['rejected']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def with_table(text: str, rows: list[Row]) -> str:
    """The page with its block made anew."""
    begin, end = "<!-- folds:begin -->", "<!-- folds:end -->"
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{table(rows)}\n{end}", text, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="store_true", help="print the table, simulate nothing")
    parser.add_argument("--write", action="store_true", help="put the table into docs/validity-appendix.md")
    parser.add_argument("--replicates", type=int, default=2000)
    options = parser.parse_args()
    if not (options.report or options.write):
        simulate(STORE, options.replicates)
    rows = load(STORE)
    if options.write:
        page = ROOT / "docs/validity-appendix.md"
        page.write_text(with_table(page.read_text(encoding="utf-8"), rows), encoding="utf-8")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
