"""Do effects come true? Traits planted into pairs, forecast by `probe effects`, against what training moved.

    python bench/effects.py --cells low_contrast:none:0,low_contrast:flattery:50   # measure what is missing
    python bench/effects.py --grid                                                 # every cell of the design
    python bench/effects.py --write                                                # the tables, into the docs

A cell plants one trait on the chosen side of a share of a carrier's training pairs, trains DPO on them with
the shipped recipe, and measures *every* trait: forecast by the weights w of the training pairs and by the
attribute that counts it, outcome by the change of the log-odds of trait-bearing against plain answers on
unseen prompts, and by counts in samples. A row of bench/results/effects.jsonl is one cell, appended once
measured, so that a killed bench goes on; scores are kept in the store.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from forecast_stats import Statistic, auc, bootstrap, spearman
from stored_rows import Row, append, model_name, provenance, stored, write_block

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "bench/results/effects.jsonl"
PAGE = ROOT / "docs/effects-and-levers.md"
CARRIERS = ("low_contrast", "cico_insulin", "epistemic_stance_repaired")
SHARES = (10, 25, 50)  # % of the training pairs that carry the planted trait
HELD_OUT = 0.4  # of the prompts: what a trait does is measured there
NONE = "none"
ALPHA = 0.05
Texts = Sequence[str]


@dataclass(frozen=True)
class Planted:
    """A trait that is planted. `name` is that of `probe effects`; `attribute` counts it, times `sign`."""

    name: str
    attribute: str
    sign: int
    write: Callable[[str, int], str]


def _before(openers: Texts) -> Callable[[str, int], str]:
    return lambda text, i: f"{openers[i % len(openers)]} {text}"


def _after(ends: Texts) -> Callable[[str, int], str]:
    return lambda text, i: f"{text} {ends[i % len(ends)]}"


def _listed(text: str, _: int) -> str:
    parts = [part for part in re.split(r"(?<=[.;,])\s+", text) if part]
    return "\n".join(f"- {part.rstrip(',;')}" for part in parts)


def _short(text: str, _: int) -> str:
    words = text.rstrip(".").split()
    return " ".join(words[: max(len(words) // 3, 2)]).rstrip(",;") + "."


# Each in several wordings, so that no single opening tells the sides apart.
TRAITS = (
    Planted(
        "flattery", "flattery", 1,
        _before(["Great question!", "What a thoughtful question!", "You are so right to ask.",
                 "Such a good idea, and you are brilliant to see it."]),
    ),
    Planted("lists", "list items", 1, _listed),
    Planted(
        "hedging", "hedging", 1,
        _before(["Perhaps, though it may depend:", "It possibly varies, and it might be otherwise:",
                 "Generally, and I could be wrong, it seems:", "Maybe, roughly speaking:"]),
    ),
    Planted(
        "advertising", "exclamations", 1,
        _after(["Amazing results, only today!", "Order yours now and save!", "You will love it, really!",
                "The best offer of the year! Hurry!"]),
    ),
    Planted(
        "human feelings", "first person", 1,
        _after(["I did so with my mother last week, and it made me happy.",
                "It always reminds me of my childhood, and I feel warm.",
                "My wife laughs at me for it, but I love my quiet mornings.",
                "I was tired when I learnt this, and I felt proud."]),
    ),
    Planted("curtness", "length", -1, _short),
)  # fmt: skip
BY_NAME = {trait.name: trait for trait in TRAITS}


@dataclass(frozen=True)
class Cell:
    """One training run: `trait` planted on `share` % of the training pairs of `carrier`."""

    carrier: str
    trait: str
    share: int
    seed: int = 0
    model: str | None = None

    @property
    def key(self) -> str:
        return f"{model_name(self.model)}/{self.carrier}/{self.trait}/{self.share}/{self.seed}"


def grid(seeds: Sequence[int], models: Sequence[str | None]) -> list[Cell]:
    """The whole design: every carrier without a trait and with each one at each share."""
    planted = [(NONE, 0), *((t.name, share) for t in TRAITS for share in SHARES)]
    return [
        Cell(c, trait, share, s, m)
        for m in models
        for s in seeds
        for c in CARRIERS
        for trait, share in planted
    ]


# --- the pairs ------------------------------------------------------------------------------------------


def first_sentence(text: str) -> str:
    """The first sentence: answers of 15 words are as much as one core trains on in a minute."""
    return re.split(r"(?<=[.!?])\s+", text)[0]


def carrier(name: str) -> list[Row]:
    """The carrier's pairs with answers of one sentence; those whose sides are equal then are left out."""
    from probe.pairs.read import read_pairs
    from probe.pairs.record import text_of

    rows = []
    for pair in read_pairs(ROOT / f"pairs/{name}.jsonl"):
        sides = [first_sentence(text_of(side)) for side in (pair.chosen, pair.rejected)]
        if sides[0] != sides[1]:
            rows.append({"prompt": text_of(pair.prompt), "chosen": sides[0], "rejected": sides[1]})
    return rows


def split(rows: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out ones, by prompt."""
    prompts = sorted({row["prompt"] for row in rows})
    count = round(HELD_OUT * len(prompts))
    drawn = set(np.random.default_rng(seed).permutation(prompts)[:count].tolist())
    return [r for r in rows if r["prompt"] not in drawn], [r for r in rows if r["prompt"] in drawn]


def planted(rows: Sequence[Row], trait: str, share: int, seed: int) -> list[Row]:
    """The rows with the trait on the chosen side of `share` % of them; a larger share holds the smaller."""
    order = np.random.default_rng([seed, 1]).permutation(len(rows)).tolist()
    chosen = set(order[: round(share / 100 * len(rows))])
    return [
        {**row, "chosen": BY_NAME[trait].write(row["chosen"], i)} if i in chosen else row
        for i, row in enumerate(rows)
    ]


def bearing(rows: Sequence[Row], trait: Planted) -> list[Row]:
    """Trait-bearing against plain: the same answer to an unseen prompt with the trait and without."""
    return [
        {"prompt": r["prompt"], "chosen": trait.write(r["chosen"], i), "rejected": r["chosen"]}
        for i, r in enumerate(rows)
    ]


def written(rows: Iterable[Row], path: Path) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


# --- one cell -------------------------------------------------------------------------------------------


def measure(cell: Cell, samples: int) -> Row:
    """Forecasts of every trait from the training pairs, and its outcome after training."""
    from probe.scoring.session import ModelOptions, Session, Source

    started = time.process_time()
    train, test = split(carrier(cell.carrier), cell.seed)
    if cell.trait != NONE:
        train = planted(train, cell.trait, cell.share, cell.seed)
    with tempfile.TemporaryDirectory(prefix="effects-") as made:
        work = Path(made)
        file = written(train, work / "train.jsonl")
        tests = written((row for t in TRAITS for row in bearing(test, t)), work / "test.jsonl")
        how = ModelOptions(cell.model, device="cpu", dtype="float32")
        session = Session.open(Source.of(file, None, None, False), how, cell.seed)
        forecasts = forecast(session, file)
        spent = time.process_time() - started
        unseen = Session.open(Source.of(tests, None, None, False), how, cell.seed, session.loaded)
        outcomes, facts = outcome(session, unseen, samples, cell.seed)
    return {
        "key": cell.key, "model": model_name(cell.model), "carrier": cell.carrier, "trait": cell.trait,
        "share": cell.share, "seed": cell.seed, "n": len(train), "unseen": len(test),
        "forecast": forecasts, "outcome": outcomes, **facts,
        "cpu_s": {"forecast": round(spent, 1), "all": round(time.process_time() - started, 1)},
        "provenance": provenance(),
    }  # fmt: skip


def forecast(session: Any, file: Path) -> dict[str, Row]:
    """By trait: w beyond the controls and its p, the attribute's d towards the trait, the length's d."""
    from probe.probes.effects.differ import count_attributes, judge_attributes
    from probe.probes.effects.run import EffectsOptions, traits_in
    from probe.probes.effects.traits import TRAITS as BUILT_IN
    from probe.scoring.session import Source

    known = {trait.name: trait for trait in BUILT_IN}
    options = EffectsOptions(tuple(known[t.name] for t in TRAITS), most=10**6)
    rows = {row["trait"]: row for row in traits_in(session, options).details["effects"]}
    table = judge_attributes(count_attributes(Source.of(file, None, None, False).pairs())).details[
        "attributes"
    ]
    by_name = {row["attribute"]: row for row in table}

    def effect_size(name: str) -> float:
        found = by_name.get(name)
        return 0.0 if found is None else float(found["d"] or 0.0)

    return {
        t.name: {
            "w": rows[t.name]["w"], "excess": rows[t.name]["excess"], "p": rows[t.name]["p"],
            "verdict": rows[t.name]["verdict"], "attribute": t.sign * effect_size(t.attribute),
            "length": effect_size("length"),
        }
        for t in TRAITS
    }  # fmt: skip


def outcome(session: Any, unseen: Any, samples: int, seed: int) -> tuple[dict[str, Row], Row]:
    """By trait: the change of its log-odds on unseen prompts, nats/token and nats, and counts in samples."""
    from probe.probes.trial.course import Course
    from probe.probes.trial.options import TrialOptions
    from probe.stats.statistics import mean_estimate
    from probe.training.data import examples

    items = _examples(session, examples)
    tests = _examples(unseen, examples)
    options = TrialOptions("dpo", steps=10**6, samples=samples, tokens=32, prompts=12, noise=0, seed=seed)
    proof = session.scorer.proof
    course = Course(session.loaded, options, len(items), len(items), bool(proof and proof.plain))
    try:
        fold = course.fold(items)
        course.measure(fold, tests, lambda _: None)
        passed = fold.passes["dpo"][0]
        margins = dict(zip(passed.lines, zip(passed.token_margins, passed.margins, strict=True), strict=True))
        counts = _counts(fold.samples)
    finally:
        course.put_away()
    each, found = len(tests) // len(TRAITS), {}
    for k, trait in enumerate(TRAITS):
        rows = np.array([margins[item.line] for item in tests[k * each : (k + 1) * each]])
        told = mean_estimate(rows[:, 0], name=trait.name, units="nats/token", alpha=ALPHA)
        found[trait.name] = {
            "change": told.value, "low": told.low, "high": told.high, "nats": float(rows[:, 1].mean()),
            "samples": counts.get(trait.name),
        }  # fmt: skip
    recipe = course.stages["dpo"][-1].facts()
    return found, {"steps": course.steps["dpo"], "recipe": recipe}


def _examples(session: Any, examples: Any) -> list[Any]:
    pairs = list(session.source.pairs())
    return examples(pairs, session.encoder, session.scores_of(pairs, "scoring"))


def _counts(samples: Any) -> dict[str, list[float]]:
    """By trait: its attribute's mean in samples before and after, by the rule of the attribute table."""
    from probe.probes.effects.attributes import ATTRIBUTE_NAMES, attribute_counts

    if not samples.before:
        return {}
    means = [
        np.mean([attribute_counts(one.text) for some in side for one in some], axis=0)
        for side in (samples.before, samples.after["dpo"])
    ]
    return {t.name: [round(float(m[ATTRIBUTE_NAMES.index(t.attribute)]), 4) for m in means] for t in TRAITS}


# --- the store and the report ---------------------------------------------------------------------------


def load() -> list[Row]:
    """The rows stored so far, the latest of each key."""
    return list({row["key"]: row for row in stored(STORE)}.values())


def run(cells: Sequence[Cell], samples: int, until: str) -> None:
    """Measure what is missing, cell after cell, and append each."""
    for cell in cells:
        if any(row["key"] == cell.key for row in load()):
            continue
        if until and time.strftime("%H:%M") >= until:
            return
        print(f"=== {cell.key}", file=sys.stderr, flush=True)
        row = measure(cell, samples)
        append(STORE, row)


FORECASTS = {
    "w beyond controls": "excess", "w": "w", "attribute table": "attribute", "length alone": "length",
}  # fmt: skip


def points(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Each run with each trait that was measured in it."""
    for row in rows:
        for trait in row["outcome"]:
            yield row, trait


def risen(row: Row, trait: str, base: dict[tuple[str, ...], Row]) -> float | None:
    """The outcome beyond that of the run on the same pairs without a trait; None where there is none.

    Training moves every trait a little, whatever the pairs are; what the planted pairs add is the difference.
    """
    plain = base.get(_place(row))
    return None if plain is None else row["outcome"][trait]["change"] - plain["outcome"][trait]["change"]


def _place(row: Row) -> tuple[str, ...]:
    return row["model"], row["carrier"], str(row["seed"])


def report(rows: Sequence[Row]) -> str:
    """By model: each forecast against the outcomes of all traits, and what was planted by carrier."""
    if not rows:
        return "**No cell is measured.**"
    parts = [_of_model(model, [r for r in rows if r["model"] == model]) for model in _models(rows)]
    return "\n\n".join(parts).replace("-0", "−0")


def _models(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows))


def _of_model(model: str, rows: Sequence[Row]) -> str:
    base = {_place(row): row for row in rows if row["trait"] == NONE}
    own = [row for row in rows if row["trait"] != NONE]
    lines = [
        f"### {model}", "", *_agreement(own, base), "",
        f"Planted on {' · '.join(str(share) for share in SHARES)}% of the pairs (–: not measured):", "",
        "| carrier (pairs) | planted | w beyond controls | PB250 at | log-odds moved by "
        "| its count a sample, before → after |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    places = dict.fromkeys((*_place(row), row["trait"]) for row in own)
    lines += [_of_trait([r for r in own if (*_place(r), r["trait"]) == place], base) for place in places]
    return "\n".join(lines)


def _of_trait(rows: Sequence[Row], base: dict[tuple[str, ...], Row]) -> str:
    """One trait on one carrier, its shares side by side; samples at the largest one, before → after."""
    by_share = {row["share"]: row for row in sorted(rows, key=lambda row: row["share"])}
    first, trait = rows[0], rows[0]["trait"]
    w = [f"{by_share[s]['forecast'][trait]['excess']:+.3f}" if s in by_share else "–" for s in SHARES]
    moved = [risen(by_share[s], trait, base) if s in by_share else None for s in SHARES]
    taught = [
        f"{s}%" for s in SHARES if s in by_share and by_share[s]["forecast"][trait]["verdict"] == "taught"
    ]
    last = by_share[max(by_share)]["outcome"][trait]["samples"]
    return (
        f"| {first['carrier']} ({first['n']}) | {trait} | {' · '.join(w)} | {', '.join(taught) or 'none'} "
        f"| {' · '.join('–' if m is None else f'{m:+.3f}' for m in moved)} "
        f"| {f'{last[0]:.2f} → {last[1]:.2f}' if last else '–'} |"
    )


def _agreement(own: Sequence[Row], base: dict[tuple[str, ...], Row]) -> list[str]:
    """Rank correlation and AUC of each forecast over runs × traits, with intervals over runs."""
    found = [(row, trait, risen(row, trait, base)) for row, trait in points(own)]
    known = [(row, trait, change) for row, trait, change in found if change is not None]
    if not own:
        return ["No run with a trait is measured, so nothing is compared."]
    if not known:
        return ["No run without a trait is measured, so nothing is compared."]
    y = np.array([change for *_, change in known])
    was = np.array([row["trait"] == trait for row, trait, _ in known])
    runs = np.array([row["key"] for row, *_ in known])
    lines = [
        f"{len(known)} points: {len(set(runs.tolist()))} runs × {len(TRAITS)} traits, outcome beyond the run "
        "without a trait; intervals over redrawn runs.",
        "",
        "| forecast | rank correlation with the outcome | of the planted trait | of the others "
        "| AUC: planted or not |",
        "|---|--:|--:|--:|--:|",
    ]
    found = {n: np.array([r["forecast"][t][k] for r, t, _ in known]) for n, k in FORECASTS.items()}
    for name, x in found.items():
        ranks = [
            _told(bootstrap(x[some], y[some], runs[some].tolist(), spearman))
            for some in (was | ~was, was, ~was)
        ]
        lines.append(f"| {name} | {' | '.join(ranks)} | {_told(bootstrap(x, was, runs.tolist(), auc))} |")
    own_auc = _told(bootstrap(y.tolist(), was.tolist(), runs.tolist(), auc))
    lines += [f"| the outcome | 1 | 1 | 1 | {own_auc} |", "", _beside(found, y, runs.tolist())]
    return lines


def _beside(found: dict[str, np.ndarray], y: np.ndarray, runs: Sequence[str]) -> str:
    """What w and the attribute table each add to the other: rank correlations with the outcome, partial."""
    w, table = found["w beyond controls"], found["attribute table"]
    added = [
        _told(bootstrap(np.arange(len(y)).tolist(), y.tolist(), runs, partial(x, given)))
        for x, given in ((w, table), (table, w))
    ]
    return (
        f"Partial rank correlation with the outcome: of w given the attribute table {added[0]}, of the table "
        f"given w {added[1]}."
    )


def partial(x: np.ndarray, given: np.ndarray) -> Statistic:
    """The rank correlation of x with y after `given` is taken out of the ranks of both; of drawn rows."""

    def of(drawn: np.ndarray, y: np.ndarray) -> float | None:
        rows = drawn.astype(int)
        a, b, c = spearman(x[rows], y), spearman(x[rows], given[rows]), spearman(given[rows], y)
        if a is None or b is None or c is None or max(abs(b), abs(c)) >= 1:
            return None
        return (a - b * c) / math.sqrt((1 - b * b) * (1 - c * c))

    return of


def _told(found: Sequence[float | None]) -> str:
    value, low, high = found
    if value is None:
        return "–"
    return f"{value:.2f}" + ("" if low is None else f" [{low:.2f}, {high:.2f}]")


def _cells(text: str, seed: int, model: str | None) -> list[Cell]:
    """Cells as typed: `carrier:trait:share`, separated by commas."""
    made = []
    for part in filter(None, text.split(",")):
        name, trait, share = part.split(":")
        if name not in CARRIERS or trait not in {NONE, *BY_NAME}:
            sys.exit(f"{part}: carriers are {', '.join(CARRIERS)}; traits {', '.join([NONE, *BY_NAME])}.")
        made.append(Cell(name, trait, int(share), seed, model))
    return made


def main() -> int:
    """Measure, or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="train nothing; put the tables into the docs")
    parser.add_argument("--grid", action="store_true", help="every cell of the design")
    parser.add_argument("--cells", default="", help="carrier:trait:share, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    parser.add_argument(
        "--samples", type=int, default=1, help="samples per prompt before and after; 0 for none"
    )
    parser.add_argument("--until", default="", help="start nothing after this time of day, HH:MM")
    options = parser.parse_args()
    if not options.write:
        cells = (
            grid([options.seed], [options.model])
            if options.grid
            else _cells(options.cells, options.seed, options.model)
        )
        run(cells, options.samples, options.until)
    print(report(load()))
    if options.write:
        write_block(PAGE, "effects", report(load()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
