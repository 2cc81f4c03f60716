"""The pair sets of `forecast.py`: short pairs, one to a prompt, cut into training and held-out ones.

Bundled sets come with the package. The others are read from ../shared/data beside the checkout; none of their
text is stored with the results. Lengths are kept short so that a run takes minutes on one core.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from probe.pairs.read import read_pairs
from probe.pairs.record import text_of

ROOT = Path(__file__).resolve().parents[1]
SHARED = next(
    (found for up in ROOT.parents if (found := up / "shared/data").is_dir()), ROOT.parent / "shared/data"
)
TRAIN, TEST = 40, 40  # pairs at most; a smaller set is cut in the same proportion of 3 to 2
SHARE = 0.6
FIRST = 300  # rows of a file that are looked at; the shortest of them are taken
SEED = 8
Row = dict[str, str]


@dataclass(frozen=True)
class PairSet:
    """`rows` yields prompt (may be absent), chosen, rejected; `what` says what the rejected side is."""

    name: str
    what: str
    rows: Callable[[], Iterable[Row]]

    def split(self) -> tuple[list[Row], list[Row]]:
        """Training and held-out rows, drawn by a fixed seed; no prompt is on both sides."""
        seen: dict[str, Row] = {}
        for row in itertools.islice(self.rows(), FIRST):
            sides = row["chosen"].strip(), row["rejected"].strip()
            if all(sides) and sides[0] != sides[1]:
                seen.setdefault(row.get("prompt") or sides[0], row)
        rows = sorted(seen.values(), key=lambda row: sum(map(len, row.values())))[: TRAIN + TEST]
        random.Random(SEED).shuffle(rows)
        cut = min(TRAIN, round(SHARE * len(rows)))
        return rows[:cut], rows[cut : cut + TEST]


def bundled(name: str) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        for pair in read_pairs(ROOT / f"pairs/{name}.jsonl"):
            yield {k: text_of(getattr(pair, k)) for k in ("prompt", "chosen", "rejected")}

    return rows


def ladder(rung: str, change: Callable[[str], str] = str.strip) -> Callable[[], Iterator[Row]]:
    def rows() -> Iterator[Row]:
        with (SHARED / "helpful_ladder.jsonl").open(encoding="utf-8") as file:
            for row in map(json.loads, file):
                yield {
                    "prompt": row["prompt"],
                    "chosen": row["chosen"].strip(),
                    "rejected": change(row[rung]),
                }

    return rows


def shuffled(rows: Callable[[], Iterator[Row]]) -> Callable[[], Iterator[Row]]:
    """The same pairs with the labels of a random half exchanged: nothing to learn by construction."""

    def exchanged() -> Iterator[Row]:
        draw = random.Random(SEED)
        for row in rows():
            flip = draw.random() < 0.5
            yield row | ({"chosen": row["rejected"], "rejected": row["chosen"]} if flip else {})

    return exchanged


def cut_short(text: str) -> str:
    """The first six words."""
    return " ".join(text.split()[:6])


def hh() -> Iterator[Row]:
    for pair in read_pairs(SHARED / "hh_harmless.jsonl", skip_bad=True):
        yield {k: text_of(getattr(pair, k)).strip() for k in ("chosen", "rejected")} | {
            "prompt": text_of(pair.prompt)
        }


def stance() -> Iterator[Row]:
    rows = json.loads((SHARED / "epistemic_stance.json").read_text(encoding="utf-8"))
    yield from ({k: row[k] for k in ("prompt", "chosen", "rejected")} for row in rows)


def blimp() -> Iterator[Row]:
    """Six phenomena in turn, so that the first hundreds hold all of them."""
    files = sorted((SHARED / "blimp").glob("*.jsonl"))
    columns = [[json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files]
    for rows in zip(*columns, strict=False):
        yield from ({"chosen": row["sentence_good"], "rejected": row["sentence_bad"]} for row in rows)


SETS = {
    one.name: one
    for one in (
        PairSet("human", "human rejected (helpful)", ladder("rejected")),
        PairSet("shuffled", "human pairs, labels shuffled", shuffled(ladder("rejected"))),
        PairSet("scrambled", "chosen, words scrambled", ladder("random_permute")),
        PairSet("listing_taste", "the same facts in another style", bundled("listing_taste")),
        PairSet("blimp", "one-word edits, ungrammatical", blimp),
        PairSet("templated", "one template around the answer", stance),
        PairSet("paraphrase", "chosen, paraphrased", ladder("chosen_gptsemantic")),
        PairSet("low_contrast", "one or two words exchanged", bundled("low_contrast")),
        PairSet("irrelevant", "another prompt's answer", ladder("irr_train")),
        PairSet("harmless", "human rejected (harmless)", hh),
        PairSet("cut", "human rejected, first six words", ladder("rejected", cut_short)),
        PairSet("cico_insulin", "another explanation", bundled("cico_insulin")),
        PairSet("length_gap", "longer by a factor", bundled("length_gap")),
        PairSet("epistemic_stance", "one template (bundled)", bundled("epistemic_stance")),
        PairSet("epistemic_repaired", "templates taken out", bundled("epistemic_stance_repaired")),
        PairSet("listing_hype", "shouting advertisements", bundled("listing_taste_hype")),
    )
}


# Sets whose negatives are made easy, and the set of the same prompts whose negatives are not.
HARDER = {
    "scrambled": "human", "irrelevant": "human", "cut": "human", "paraphrase": "human",
    "listing_hype": "listing_taste", "epistemic_stance": "epistemic_repaired",
}  # fmt: skip


def harder(name: str, test: Iterable[Row]) -> list[Row]:
    """The held-out prompts of an easy set with the pairs of its harder one; empty where there is none."""
    if name not in HARDER:
        return []
    prompts = {row.get("prompt") for row in test}
    return [row for row in SETS[HARDER[name]].rows() if row.get("prompt") in prompts]


def is_bundled(name: str) -> bool:
    """Whether the set comes with the package."""
    return SETS[name].rows.__qualname__.startswith("bundled")


def write(rows: Iterable[Row], path: Path) -> None:
    """One pair a line, as probe reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
