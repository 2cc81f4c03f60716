"""Is the share of wrong labels found? Sets with 0, 10, 20, 30 and 40% of their labels flipped at random.

    python bench/label_noise.py               two minutes on one core, no model
    python bench/label_noise.py --answers     right labels of which the text gives an answer away

Each set is read as `probe negatives` reads it: by its text, cross-fitted. "Held": the interval holds the
share that was flipped. Sets whose sides the text does not tell apart get no answer, and that is counted.
`--answers`: every label is right, and one answer of a few ("Yes", "B") is right more often than the others;
each is followed, or preceded, by the text of a side of `harmless`. A share of reversed labels is wrong there.
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
from probe.probes.negatives.suspects import LEAST_SHARE, read_labels
from probe.stats.label_noise import label_noise

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
NAMES = ("cico_insulin", "listing_taste", "listing_hype", "epistemic_stance", "templated", "paraphrase",
         "scrambled", "human", "harmless")  # fmt: skip
MOST, SEEDS = 200, (1, 2, 3)
ANSWERS = {
    "yes, no": ("{}. {}", ("Yes", "No")),
    "letters": ("{}) {}", tuple("ABCD")),
    "verdict": ("Response {} is better. {}", ("A", "B")),
    "label": ('{{"label": "{}", "why": "{}"}}', ("safe", "unsafe")),
    "last": ("{1} So it is {0}.", ("true", "false")),
}
RIGHT_SHARES = (0.6, 0.7, 0.8, 0.9)  # of the prompts to which the first answer is right


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
            estimate, wrong = read_labels(found, [a for a, _ in sides], [b for _, b in sides])
            if estimate.value is None or estimate.low is None or estimate.high is None:
                yield name, share, float(flipped.mean()), None, False, 0.0, 0.0
                continue
            picked = wrong > 0.5
            right = float((picked & flipped).sum())
            held = estimate.low - 1e-9 <= flipped.mean() <= estimate.high + 1e-9
            yield (
                name, share, float(flipped.mean()), estimate.value, bool(held),
                right / max(picked.sum(), 1), right / max(flipped.sum(), 1),
            )  # fmt: skip


def answers() -> Iterator[tuple[str, float, bool, bool]]:
    """Kind, share of the first answer; whether labels are called wrong by margins alone, with the text."""
    rows = list(itertools.islice(sets.SETS["harmless"].rows(), MOST))
    for kind, share, seed in itertools.product(ANSWERS, RIGHT_SHARES, SEEDS):
        form, words = ANSWERS[kind]
        draw = random.Random(seed)
        sides = []
        for row in rows:
            right = words[0] if draw.random() < share else draw.choice(words[1:])
            wrong = draw.choice([word for word in words if word != right])
            texts = draw.sample([row["chosen"].strip(), row["rejected"].strip()], 2)
            sides.append(tuple(form.format(*both) for both in zip((right, wrong), texts, strict=True)))
        chosen, rejected = [a for a, _ in sides], [b for _, b in sides]
        found = separate(list(text_grams(chosen, rejected).values()), np.arange(len(rows)), permutations=0)
        alone = label_noise(found.margins, found.clusters)[0]
        told = read_labels(found, chosen, rejected)[0]
        yield kind, share, *((one.low or 0.0) > LEAST_SHARE for one in (alone, told))


def print_answers() -> None:
    """A line per kind of answer: how many files are called wrong (PB230) though no label is."""
    found = list(answers())
    print("| answers | files | called wrong by margins alone | with the text |\n|---|--:|--:|--:|")
    for kind in ANSWERS:
        mine = [cell for cell in found if cell[0] == kind]
        print(f"| {kind} | {len(mine)} | {sum(c[2] for c in mine)} | {sum(c[3] for c in mine)} |")


def main() -> int:
    """Print a line per share: how often there was an answer, its error, its interval, the suspects."""
    if "--answers" in sys.argv[1:]:
        print_answers()
        return 0
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
