"""How well the judge of behaviour tells unseen sides apart, by how many tokens of a response it reads.

    python bench/judge.py --sets listing_taste,cico_insulin,llmbar
    python bench/judge.py --sets harmless,llmbar --folds 10     whether more folds would let it be heard
    python bench/judge.py --file PAIRS --grow 48,192,730        whether more training pairs would

Fitted on the training pairs of a set of `bench/validity.py` and asked on its held-out pairs, as
`probe train` does it: with everything it reads, its text alone, its states alone, and by form alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from validity import SHARE, split

LENGTHS = (14, 28, 40, 56)
KINDS = ("content", "text", "states", "form")


def accuracy(fitted: Sequence[list[Any]], asked: Sequence[list[Any]], kind: str) -> float:
    """Share of the asked pairs whose chosen side the judge prefers; a tie counts half."""
    from probe.stats.behaviour import Judge

    def read(sides: list[Any]) -> list[Any]:
        if kind == "text":
            return [replace(one, states=None) for one in sides]
        return [replace(one, text="") for one in sides] if kind == "states" else sides

    judge = Judge(*map(read, fitted), kind="form" if kind == "form" else "content")
    chosen, rejected = (judge.scores(read(sides)) for sides in asked)
    return float(((chosen > rejected) + 0.5 * (chosen == rejected)).mean())


def table(name: str, model: str | None) -> list[str]:
    """A line per length, and one for the length that a trial would take."""
    from probe.scoring.session import ModelOptions, Session, Source
    from probe.training.behaviour import Sampling, as_writing, with_states
    from probe.training.data import examples, sides_of, split_by_prompt

    with tempfile.TemporaryDirectory() as place:
        whole, _ = split(name, 0, Path(place))
        session = Session.open(Source.of(whole, None, None, False), ModelOptions(model, no_cache=True), 0)
        halves = split_by_prompt(examples(list(session.source.pairs()), session.encoder), SHARE, 0)
    own = Sampling().fitted(sides_of(halves[0])).tokens
    lines = []
    for tokens in sorted({*LENGTHS, own}):
        how, read = Sampling(tokens=tokens), []
        for items in halves:
            sides = sides_of(items)
            texts = [as_writing(session.loaded, side, how) for side in sides]
            known = with_states(session.loaded, [s.ids[: s.start] for s in sides], texts, plain=True)
            read.append((known[::2], known[1::2]))
        told = " | ".join(f"{accuracy(*read, kind=kind):.2f}" for kind in KINDS)
        mark = " *" if tokens == own else ""
        lines.append(f"| {name} | {len(halves[0])}, {len(halves[1])} | {tokens}{mark} | {told} |")
    return lines


def fold_line(name: str, model: str | None, folds: int, times: int) -> str:
    """Whether more folds would let the judge be heard: its accuracy on the training pairs alone, each fold
    asked by a judge of the others, beside that of pairs whose sides are exchanged at random."""
    import numpy as np

    from probe.scoring.session import ModelOptions, Session, Source
    from probe.training.behaviour import Sampling, as_writing, with_states
    from probe.training.data import examples, sides_of

    with tempfile.TemporaryDirectory() as place:
        _, part = split(name, 0, Path(place))
        session = Session.open(Source.of(part, None, None, False), ModelOptions(model, no_cache=True), 0)
        sides = sides_of(examples(list(session.source.pairs()), session.encoder))
    how = Sampling().fitted(sides)
    texts = [as_writing(session.loaded, side, how) for side in sides]
    read = with_states(session.loaded, [s.ids[: s.start] for s in sides], texts, plain=False)
    draw = np.random.default_rng(0)
    fold = draw.permutation(np.arange(len(read) // 2) % folds)
    own = _across(read, fold, np.zeros(len(fold), dtype=bool))
    null = np.array([_across(read, fold, draw.random(len(fold)) < 0.5) for _ in range(times)])
    p = (1 + int((null >= own).sum())) / (1 + times)
    return f"| {name} | {len(fold)} | {own:.2f} | {null.mean():.2f} ± {null.std():.2f} | {p:.2f} |"


def _across(read: Any, fold: Any, exchanged: Any) -> float:
    """Accuracy over all folds, where some pairs' sides are `exchanged`."""
    pairs = [
        (b, a) if other else (a, b) for a, b, other in zip(read[::2], read[1::2], exchanged, strict=True)
    ]
    right = 0.0
    for k in set(fold.tolist()):
        fitted = [pair for pair, mine in zip(pairs, fold, strict=True) if mine != k]
        asked = [pair for pair, mine in zip(pairs, fold, strict=True) if mine == k]
        right += accuracy(_sides(fitted), _sides(asked), "content") * len(asked)
    return right / len(pairs)


def _sides(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [chosen for chosen, _ in pairs], [rejected for _, rejected in pairs]


def growth_lines(path: Path, model: str | None, sizes: Sequence[int], draws: int = 6) -> Iterator[str]:
    """The accuracy on a quarter of a file's pairs by how many of the others the judge is fitted on."""
    import numpy as np

    from probe.scoring.session import ModelOptions, Session, Source
    from probe.training.behaviour import Sampling, as_writing, with_states
    from probe.training.data import examples, sides_of, split_by_prompt

    session = Session.open(Source.of(path, None, None, True), ModelOptions(model, no_cache=True), 0)
    halves = split_by_prompt(examples(list(session.source.pairs()), session.encoder), 0.25, 0)
    how, read = Sampling().fitted(sides_of(halves[0])), []
    for items in halves:
        sides = sides_of(items)
        texts = [as_writing(session.loaded, side, how) for side in sides]
        known = with_states(session.loaded, [s.ids[: s.start] for s in sides], texts, plain=True)
        read.append((known[::2], known[1::2]))
    draw = np.random.default_rng(0)
    for n in sizes:
        found = []
        for _ in range(draws):
            some = draw.permutation(len(halves[0]))[:n]
            fitted = [[side[i] for i in some] for side in read[0]]
            found.append([accuracy(fitted, read[1], kind) for kind in KINDS])
        told = " | ".join(f"{m:.2f} ± {sd:.2f}" for m, sd in zip(*_mean_sd(found), strict=True))
        yield f"| {min(n, len(halves[0]))}, {len(halves[1])} | {told} |"


def _mean_sd(rows: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    import numpy as np

    return np.mean(rows, 0).tolist(), np.std(rows, 0).tolist()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default="listing_taste,cico_insulin,llmbar,human")
    parser.add_argument("--model")
    parser.add_argument(
        "--folds", type=int, help="cross-fit the judge on the training pairs in so many folds"
    )
    parser.add_argument("--relabelled", type=int, default=60, help="times that sides are exchanged at random")
    parser.add_argument("--file", type=Path, help="a pair file, of which --grow fits on ever more pairs")
    parser.add_argument("--grow", help="numbers of pairs, with commas")
    options = parser.parse_args()
    if options.file:
        print(f"| fitted, asked | {' | '.join(KINDS)} |\n|---|" + "--:|" * len(KINDS))
        for line in growth_lines(options.file, options.model, [int(n) for n in options.grow.split(",")]):
            print(line, flush=True)
        return 0
    if options.folds:
        print("| set | pairs | accuracy | sides exchanged at random | p |\n|---|--:|--:|--:|--:|")
        for name in options.sets.split(","):
            print(fold_line(name, options.model, options.folds, options.relabelled), flush=True)
        return 0
    print(f"| set | fitted, asked | tokens (*: taken) | {' | '.join(KINDS)} |")
    print("|---|---|--:|" + "--:|" * len(KINDS))
    for name in options.sets.split(","):
        print("\n".join(table(name, options.model)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
