"""Is the share of wrong labels found? Sets with 0, 10, 20, 30 and 40% of their labels flipped at random.

    python bench/label_noise.py     # two minutes on one core, no model

Each set is read as `probe negatives` reads it: by its text, cross-fitted. "Held": the interval holds the
share that was flipped. Sets whose sides the text does not tell apart get no answer, and that is counted.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator

import forecast_sets as sets
import numpy as np

from probe.probes.negatives.classify import separate
from probe.probes.negatives.features import text_grams
from probe.stats.label_noise import label_noise

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
NAMES = ("cico_insulin", "listing_taste", "listing_hype", "epistemic_stance", "templated", "paraphrase",
         "scrambled", "human", "harmless")  # fmt: skip
MOST, SEEDS = 200, (1, 2, 3)


def cells() -> Iterator[tuple[str, float, float, float | None, bool, float, float]]:
    """Set, share asked for, share flipped, estimate, whether it is held, precision and recall of suspects."""
    for name in NAMES:
        rows = list(itertools.islice(sets.SETS[name].rows(), MOST))
        for share, seed in itertools.product(SHARES, SEEDS if rows else ()):
            draw = random.Random(seed)
            flipped = np.array([draw.random() < share for _ in rows])
            sides = [
                (row["rejected"], row["chosen"]) if turn else (row["chosen"], row["rejected"])
                for row, turn in zip(rows, flipped, strict=True)
            ]
            grams = text_grams([a for a, _ in sides], [b for _, b in sides])
            clusters = np.arange(len(rows))
            found = separate(list(grams.values()), clusters, permutations=0)
            estimate, mixture = label_noise(found.margins, clusters)
            if estimate.value is None or estimate.low is None or estimate.high is None:
                yield name, share, float(flipped.mean()), None, False, 0.0, 0.0
                continue
            scale = float(np.sqrt(np.mean(np.square(found.margins))))
            picked = mixture.flipped(found.margins / scale) > 0.5
            right = float((picked & flipped).sum())
            held = estimate.low - 1e-9 <= flipped.mean() <= estimate.high + 1e-9
            yield (
                name, share, float(flipped.mean()), estimate.value, bool(held),
                right / max(picked.sum(), 1), right / max(flipped.sum(), 1),
            )  # fmt: skip


def main() -> int:
    """Print a line per share: how often there was an answer, its error, its interval, the suspects."""
    found = list(cells())
    print("| flipped | answered | mean estimate | mean error | held | suspects right | flipped found |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for share in SHARES:
        mine = [cell for cell in found if cell[1] == share]
        told = [cell for cell in mine if cell[3] is not None]
        if not told:
            print(f"| {share:.0%} | 0 of {len(mine)} | – | – | – | – | – |")
            continue
        error = np.mean([abs((cell[3] or 0.0) - cell[2]) for cell in told])
        means = [np.mean([cell[k] or 0.0 for cell in told]) for k in (3, 5, 6)]
        some = [f"{value:.0%}" if share else "–" for value in means[1:]]
        print(
            f"| {share:.0%} | {len(told)} of {len(mine)} | {means[0]:.0%} | {error:.3f} "
            f"| {sum(cell[4] for cell in told)} of {len(told)} | {some[0]} | {some[1]} |"
        )
    answered = {name: sum(c[3] is not None for c in found if c[0] == name) for name in NAMES}
    print("\nAnswers of 15: " + ", ".join(f"{name} {n}" for name, n in answered.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
