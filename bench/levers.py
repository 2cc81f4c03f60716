"""Do levers hold? What is measured on half of the prompts, against the other half and against DPO.

    python bench/levers.py --cells cico_insulin,listing_voice      # measure what is missing; can be killed
    python bench/levers.py --grid                                  # every set of the design
    python bench/levers.py --write                                 # print the tables, and into the docs

A cell is a set on a model. Its prompts are halved. On the first half `probe levers` measures a system text
(one sentence that says the purpose), shots, steering and LoRA steps of DPO; on the second half it measures
the same text, with shots and vector of that half, and DPO trained on the first half is measured there. Where
the sides are exchanged (`-`), the model is asked to prefer what it does not. A row of the store,
bench/results/levers.jsonl, is one cell, appended once measured, so that a killed bench goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from forecast_stats import bootstrap, spearman
from stored_rows import Row, append, model_name, provenance, stored, write_block

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "bench/results/levers.jsonl"
PAGE = ROOT / "docs/effects-and-levers.md"
# The purpose of each set in one sentence, for the side that is chosen in the file and for the other one.
PURPOSE = {
    "cico_insulin": (
        "Energy balance decides body weight: people gain when they eat more than they burn.",
        "Hormones, above all insulin, decide whether people gain weight.",
    ),
    "listing_taste": (
        "You write sober property listings that repeat exactly the facts that were given.",
        "You write property listings that round every fact up a little.",
    ),
    "listing_taste_hype": (
        "You write sober property listings in plain sentences.",
        "You write property listings that shout and promise the world.",
    ),
    "listing_voice": (
        "You write listings in clipped, old-fashioned words.", "You write listings in plain modern words.",
    ),
    "epistemic_stance_repaired": (
        "You are direct where the facts are known and humble where they are not.",
        "You are humble where the facts are known and direct where they are not.",
    ),
    "length_gap": ("You explain your answers in several sentences.", "You answer in one short sentence."),
}  # fmt: skip
LEVERS = ("system", "shots", "steering")


def halves(name: str, most: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Pairs of the two halves of the prompts, at most `most` each; a name ending in - exchanges the sides."""
    from probe.pairs.read import read_pairs
    from probe.pairs.record import text_of

    sides = ("rejected", "chosen") if name.endswith("-") else ("chosen", "rejected")
    rows = [
        {"prompt": text_of(p.prompt), "chosen": text_of(getattr(p, sides[0])),
         "rejected": text_of(getattr(p, sides[1]))}
        for p in read_pairs(ROOT / f"pairs/{name.rstrip('-')}.jsonl")
    ]  # fmt: skip
    prompts = sorted({row["prompt"] for row in rows})
    first = set(np.random.default_rng(seed).permutation(prompts)[::2].tolist())
    parts = [[r for r in rows if (r["prompt"] in first) == here] for here in (True, False)]
    return parts[0][:most], parts[1][:most]


def written(rows: Iterable[Row], path: Path) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def measure(name: str, model: str | None, most: int, steps: int, seed: int) -> Row:
    """The row of a cell."""
    from probe.probes.levers.run import LeversOptions, levers_in
    from probe.scoring.session import ModelOptions, Session, Source

    started = time.process_time()
    how = ModelOptions(model, device="cpu", dtype="float32")
    text = PURPOSE[name.rstrip("-")][name.endswith("-")]
    with tempfile.TemporaryDirectory(prefix="levers-") as made:
        files = [written(rows, Path(made) / f"{i}.jsonl") for i, rows in enumerate(halves(name, most, seed))]
        sessions = [Session.open(Source.of(file, None, None, False), how, seed) for file in files]
        tables = [
            levers_in(
                session, LeversOptions(text, shots=4, draws=2, trial=trial, most=most, seed=seed)
            ).details
            for session, trial in zip(sessions, (steps, 0), strict=True)
        ]
        trained = across(*sessions, steps, seed)
    return {
        "set": name, "model": model_name(model), "seed": seed, "most": most, "steps": steps,
        "first": tables[0]["levers"], "second": tables[1]["levers"], "dpo": trained,
        "n": [t["levers_on"]["read"] for t in tables], "cpu_s": round(time.process_time() - started, 1),
        "provenance": provenance(),
    }  # fmt: skip


def across(first: Any, second: Any, steps: int, seed: int) -> Row:
    """DPO trained on the first half, on the pairs of the second: change, pairs turned and lost."""
    from probe.probes.trial.course import Course
    from probe.probes.trial.options import TrialOptions
    from probe.training.data import examples

    items, unseen = (
        examples(pairs, s.encoder, s.scores_of(pairs, "scoring"))
        for s in (first, second)
        for pairs in [list(s.source.pairs())]
    )
    options = TrialOptions("dpo", steps=steps, samples=0, noise=0, seed=seed)
    proof = first.scorer.proof
    course = Course(first.loaded, options, len(items), len(items), bool(proof and proof.plain))
    try:
        fold = course.fold(items)
        course.measure(fold, unseen, lambda _: None)
        found = fold.passes["dpo"][0]
    finally:
        course.put_away()
    before, after = found.gaps, found.gaps + found.token_margins
    wrong = before <= 0
    return {
        "steps": course.steps["dpo"], "change": float(found.token_margins.mean()),
        "turned": int((after[wrong] > 0).sum()), "wrong": int(wrong.sum()),
        "lost": int((after[~wrong] <= 0).sum()), "right": int((~wrong).sum()),
    }  # fmt: skip


# --- the store and the report ---------------------------------------------------------------------------


def key(row: Row) -> tuple[Any, ...]:
    """What tells cells apart."""
    return tuple(row[name] for name in ("set", "model", "seed", "most", "steps"))


def load() -> list[Row]:
    """The rows stored so far, the latest of each cell."""
    return list({key(row): row for row in stored(STORE)}.values())


def run(names: Sequence[str], model: str | None, most: int, steps: int, seed: int, until: str) -> None:
    """Measure what is missing, cell after cell, and append each."""
    for name in names:
        if any(key(row) == (name, model_name(model), seed, most, steps) for row in load()):
            continue
        if until and time.strftime("%H:%M") >= until:
            return
        print(f"=== {name}", file=sys.stderr, flush=True)
        row = measure(name, model, most, steps, seed)
        append(STORE, row)


def cheapest(row: Row) -> str | None:
    """The cheapest lever that turns at least as many pairs of the first half as the trial there."""
    by_name = {r["lever"]: r for r in row["first"]}
    trial = by_name["trial"]["turned"]
    good = [r["lever"] for r in row["first"] if r["lever"] in LEVERS and r["turned"] >= trial and r["turned"]]
    return good[0] if good else None


def report(rows: Sequence[Row]) -> str:
    """Each cell, whether its cheapest lever held, and what shots and steering forecast."""
    if not rows:
        return "**No cell is measured.**"
    lines = [
        "| set | model | wrong, first half | "
        + " | ".join(f"{name}: turned, change" for name in (*LEVERS, "trial"))
        + " | cheapest that matches the trial | on the second half | DPO there |",
        "|---|---|--:|" + "---|" * (len(LEVERS) + 4),
    ]
    for row in rows:
        first, second = ({r["lever"]: r for r in row[half]} for half in ("first", "second"))
        told = [_told(first[name]) for name in (*LEVERS, "trial")]
        pick = cheapest(row)
        held = f"{second[pick]['turned']} of {second[pick]['wrong']}" if pick else "–"
        dpo = row["dpo"]
        wrong = f"{first['none']['wrong']} of {row['n'][0]}"
        lines.append(
            f"| {row['set']} | {row['model']} | {wrong} | {' | '.join(told)} "
            f"| {pick or 'none'} | {held} | {dpo['turned']} of {dpo['wrong']}, {dpo['change']:+.2f} |"
        )
    return "\n".join([*lines, "", *_forecasts(rows)]).replace("-0", "−0")


def _told(row: Row) -> str:
    return f"{row['turned']} of {row['wrong']}, {row['change']:+.2f}"


def _forecasts(rows: Sequence[Row]) -> list[str]:
    """Rank correlations over cells of each lever's change on the first half: with its own on the second, and
    with that of DPO there."""
    dpo = [row["dpo"]["change"] for row in rows]
    names = [row["set"].rstrip("-") for row in rows]
    lines = [f"{len(rows)} cells; intervals over redrawn sets, none below 6 cells.", ""]
    lines += [
        "| change under | rank correlation with its own change on unseen prompts | with DPO's change there |",
        "|---|--:|--:|",
    ]
    for lever in (*LEVERS, "trial"):
        x, again = (_changes(rows, half, lever) for half in ("first", "second"))
        found = [_correlated(x, y, names) for y in ((again, dpo) if lever != "trial" else (None, dpo))]
        lines.append(f"| {lever} | {' | '.join(found)} |")
    return [*lines, "", _matched(rows)]


def _changes(rows: Sequence[Row], half: str, lever: str) -> list[float | None]:
    return [next((r["change"] for r in row[half] if r["lever"] == lever), None) for row in rows]


def _correlated(x: Sequence[Any], y: Sequence[Any] | None, names: Sequence[str]) -> str:
    if y is None:
        return "–"
    value, low, high = bootstrap(x, y, names, spearman)
    bounds = "" if low is None else f" [{low:.2f}, {high:.2f}]"
    return "–" if value is None else f"{value:.2f}{bounds}"


def _matched(rows: Sequence[Row]) -> str:
    """How often the cheapest lever that matched the trial turned as large a share of unseen pairs as DPO."""
    held = []
    for row in rows:
        if pick := cheapest(row):
            again, dpo = next(r for r in row["second"] if r["lever"] == pick), row["dpo"]
            if again["wrong"] and dpo["wrong"]:
                held.append(again["turned"] / again["wrong"] >= dpo["turned"] / dpo["wrong"])
    return (
        f"The cheapest lever that matched the trial on the first half turned as large a share of the second "
        f"half's wrong pairs as DPO, or a larger one, in {sum(held)} of {len(held)} cells."
    )


def main() -> int:
    """Measure, or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="train nothing; put the tables into the docs")
    parser.add_argument("--grid", action="store_true", help="every set, as it is and with sides exchanged")
    parser.add_argument("--cells", default="", help="sets, separated by commas; NAME- exchanges the sides")
    parser.add_argument("--model")
    parser.add_argument("--most", type=int, default=24, help="pairs of a half")
    parser.add_argument("--steps", type=int, default=9, help="DPO steps of the trial and across the halves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", default="", help="start nothing after this time of day, HH:MM")
    options = parser.parse_args()
    if not options.write:
        grid = [name + mark for name in PURPOSE for mark in ("", "-")]
        names = grid if options.grid else [name for name in options.cells.split(",") if name]
        if unknown := [name for name in names if name.rstrip("-") not in PURPOSE]:
            sys.exit(f"{unknown[0]}: no such set. There are {', '.join(PURPOSE)}.")
        run(names, options.model, options.most, options.steps, options.seed, options.until)
    print(report(load()))
    if options.write:
        write_block(PAGE, "levers", report(load()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
