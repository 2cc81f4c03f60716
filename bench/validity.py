"""Is the gate's decision the best that could be? Gate and full runs side by side, on held-out prompts.

    python bench/validity.py --sets llmbar,listing_taste   # measure what is missing; can be killed
    python bench/validity.py --report                      # print the tables of docs/validity.md

A cell is a set on a model under a seed. The gate sees the training pairs alone. Each method is trained on
them with the shipped recipe, without a guard, and judged on the held-out pairs: samples before and after by
`probe train`'s own judge, ranking per token, margins. A row of bench/results/validity.jsonl is the gate of a
cell or one method's outcome, with its recipe and a hash of the code that measured it: a row of other code is
stale, and a test says so.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import itertools
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from stored_rows import Row, append, model_name, rewrite, stored, write_block
from validity_report import FORECASTS, METHODS, beside, figure, outcomes, report

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "bench/results/validity.jsonl"
FIGURE = ROOT / "docs/images/forecast.svg"
MOST, SHARE, SEED = 160, 0.35, 0  # pairs of a set, those held out, the draw
READ = (
    "forecast_accuracy",
    *(name for name in FORECASTS if name.startswith("trial")),
)  # what the code that is hashed estimates: states and scores are other probes'
LOOKED_AT = (
    400  # pairs of a file that are looked at; the shortest `MOST` are taken, so that a run takes minutes
)
DEFAULT = (
    "llmbar", "human", "listing_taste", "gsm8k_models", "templated", "shuffled", "cico_insulin",
    "pandalm_human", "irrelevant", "harmless", "cut", "length_gap", "epistemic_repaired", "paraphrase",
    "scrambled", "blimp", "listing_hype", "low_contrast", "epistemic_stance", "listing_voice",
)  # fmt: skip
OUTCOME = (
    "stats/behaviour.py", "stats/scripts.py", "training/behaviour.py", "training/samples.py",
    "training/moved.py", "training/shipped.py", "training/losses.py", "training/step.py",
    "scoring/sampling.py",
)  # fmt: skip
GATE = (
    *OUTCOME,
    *(
        f"probes/trial/{name}.py"
        for name in ("options", "course", "bench", "race", "judge", "run", "arithmetic")
    ),
    "training/adapted.py",
    *(f"gate/{name}.py" for name in ("conditions", "judge", "decide", "table", "predicates")),
)


def code_hash(method: str) -> str:
    """A hash of what the code does that measured such a row; comments and sentences do not count."""
    digest = hashlib.sha256()
    for name in GATE if method == "gate" else OUTCOME:
        digest.update(without_words((ROOT / name).read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:12]


def without_words(source: str) -> str:
    """A dump of the code in which every text that has a space is empty: such a text is for people."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            node.value = ""
    return ast.dump(tree)


FOLDERS: list[Path] = []  # of further sets, by `--folder`


def rows_of(name: str) -> list[Row]:
    """The pairs of a set, one to a prompt, shuffled: of a list of `forecast_sets` or of a file by name."""
    from forecast_sets import SETS, SHARED, bundled

    from probe.pairs.read import read_pairs
    from probe.pairs.record import text_of

    def read() -> Iterator[Row]:
        path = f"{name}.jsonl"
        folder = next((f for f in FOLDERS if (f / path).exists()), SHARED / "sets")
        for pair in read_pairs(folder / path):
            yield {k: text_of(getattr(pair, k)) for k in ("prompt", "chosen", "rejected")}

    source = SETS[name].rows if name in SETS else bundled(name) if _is_bundled(name) else read
    known: dict[str, Row] = {}
    for row in itertools.islice(source(), LOOKED_AT):
        if row["chosen"].strip() and row["rejected"].strip() and row["chosen"] != row["rejected"]:
            known.setdefault(row.get("prompt") or row["chosen"], row)
    rows = sorted(known.values(), key=lambda row: sum(map(len, row.values())))[:MOST]
    random.Random(SEED).shuffle(rows)
    return rows


def _is_bundled(name: str) -> bool:
    return (ROOT / f"pairs/{name}.jsonl").exists()


def split(name: str, seed: int, folder: Path) -> tuple[Path, Path]:
    """All drawn pairs as a file, and its training pairs as another: the split that `probe train` makes."""
    from probe.pairs.read import read_pairs
    from probe.training.data import prompt_names, split_by_prompt

    rows = rows_of(name)
    whole = _write(rows, folder / f"{name}.jsonl")

    class Item:
        def __init__(self, pair: Any, prompt: str) -> None:
            self.pair, self.prompt = pair, prompt

    pairs = list(read_pairs(whole))
    items = [Item(*both) for both in zip(pairs, prompt_names(pairs), strict=True)]
    train, _ = split_by_prompt(items, SHARE, seed)  # type: ignore[misc]
    kept = {item.pair.line for item in train}  # type: ignore[attr-defined]
    part = _write((row for line, row in enumerate(rows, 1) if line in kept), folder / f"{name}_train.jsonl")
    return whole, part


def _write(rows: Iterable[Row], path: Path) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def gated(train: Path, model: str | None, seed: int, folder: Path) -> Row:
    """What `probe gate` says of the training pairs, as a user runs it."""
    command = [sys.executable, "-m", "probe", "gate", str(train), "--seed", str(seed), "--out", str(folder)]
    started = time.monotonic()
    done = subprocess.run(
        [*command, *(["--model", model] if model else [])], stdout=subprocess.DEVNULL, check=False
    )
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(time.monotonic() - started, 1), "exit": done.returncode,
        "status": run["verdict"]["status"], "decision": run["decision"]["method"],
        "stages": list(run["decision"]["stages"]),
        "conditions": {c["name"]: c["result"] for c in run["verdict"]["conditions"] if c["gates"]},
        "estimates": {
            e["name"]: [e["value"], e["low"], e["high"], e["n"], e["p"]]
            for e in run["estimates"]
            if e["group"] == "all"
        },
        "race": run["details"].get("race"), "costs": run["details"].get("costs"),
    }  # fmt: skip


def trained(whole: Path, method: str, model: str | None, seed: int, folder: Path) -> Row:
    """The outcome of a full run with the shipped recipe, on the held-out pairs."""
    from probe.scoring.session import ModelOptions, Session, Source
    from probe.training.plan import Options
    from probe.training.run import TrainOptions, train_run

    source, how = Source.of(whole, None, None, False), ModelOptions(model)
    started = time.monotonic()
    loop = Options(seed=seed, eval_every=10**6, guard=False, sampled_prompts=0)
    done = train_run(source, how, TrainOptions(method, held_out=SHARE, loop=loop), folder)
    after = {row["line"]: row for row in done.rows}
    session = Session.open(source, how, seed)
    scores = session.scores_of([p for p in source.pairs() if p.line in after], "before")
    margins = [
        _margin(after[s.line]["chosen"]["logps"], after[s.line]["rejected"]["logps"])
        - _margin(s.chosen.logps, s.rejected.logps)
        for s in scores
    ]  # fmt: skip
    (row,) = done.run.details.get("race") or [{"judged": False}]
    ranking = done.run.estimate("ranking_change")
    return {
        "seconds": round(time.monotonic() - started, 1), "split": done.run.inputs["split"],
        "recipe": [stage["recipe"] for stage in done.run.details["training"]["stages"]],
        "steps": [stage["steps"] for stage in done.run.details["training"]["stages"]],
        "margins_up": sum((m > 0) + 0.5 * (m == 0) for m in margins) / len(margins), "n": len(margins),
        "ranking": [ranking.value, ranking.low, ranking.high] if ranking else None, "behaviour": row,
    }  # fmt: skip


def _margin(chosen: float, rejected: float) -> float:
    return chosen - rejected


def run(
    names: list[str], model: str | None, seeds: list[int], until: datetime | None, methods: list[str]
) -> None:
    """Measure cell after cell what is missing, and append it; start nothing after `until`."""
    for seed in seeds:
        for name in names:
            for what in methods:
                key = f"{model_name(model)}/{name}/{what}/{seed}"
                if any(row["key"] == key and row["code"] == code_hash(what) for row in load()):
                    continue
                if until and datetime.now() >= until:
                    return
                print(f"=== {key}", file=sys.stderr, flush=True)
                row = {"key": key, "model": model_name(model), "set": name, "method": what, "seed": seed,
                       "code": code_hash(what), **measured(name, what, model, seed)}  # fmt: skip
                append(STORE, row)


def next_at(clock: str) -> datetime:
    """The next time that a clock shows "HH:MM", which may be tomorrow."""
    now = datetime.now()
    today = datetime.combine(now.date(), datetime.strptime(clock, "%H:%M").time())
    return today if today > now else today + timedelta(days=1)


def measured(name: str, what: str, model: str | None, seed: int) -> Row:
    """One cell's gate, or the outcome of one method."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        whole, part = split(name, seed, folder)
        if what == "gate":
            return gated(part, model, seed, folder / "gate")
        return trained(whole, what, model, seed, folder / "run")


def confirm(keys: list[str], model: str | None, beside: Path | None = None) -> int:
    """Measure stored rows again with today's code. Where what the tables read of each comes out the same, the
    other rows of their old code are today's as well: the change of code changed no number of theirs.

    `beside`: rows that the old code made on this machine, for stored ones that came from a processor of other
    arithmetic: today's are held against these. Their code must be that of the stored rows.
    """
    known = {row["key"]: row for row in load()}
    then = {row["key"]: row for row in stored(beside)} if beside else known
    old = {known[key]["code"] for key in keys}
    for key in keys:
        row = then[key]
        if row["code"] not in old:
            sys.exit(f"{key}: {beside} is of another code than the stored row.")
        if model_name(model) != row["model"]:
            sys.exit(f"{key}: was measured on {row['model']}. Name that file with --model.")
        again = measured(row["set"], row["method"], model, row["seed"])
        if differing := [name for name in again if not same(read_of(again)[name], read_of(row)[name])]:
            print(f"{key}: {', '.join(differing)} came out differently: these rows are stale.")
            return 1
    rows = [{**row, "code": code_hash(row["method"])} if row["code"] in old else row for row in load()]
    rewrite(STORE, rows)
    print(f"{len(keys)} rows came out the same.")
    return 0


def read_of(row: Row) -> Row:
    """What the tables read of a row. Another processor or arithmetic rounds otherwise, by which single words
    of samples change: their lengths and forms are left out, estimates that no table reads, and times."""
    told = {key: value for key, value in row.items() if key not in ("seconds", "costs", "race")}
    if "estimates" in row:
        told["estimates"] = {name: row["estimates"].get(name) for name in READ}
    if "behaviour" in row:
        told["behaviour"] = {k: row["behaviour"].get(k) for k in ("judged", "up", "down", "prompts")}
    return defaultdict(lambda: None, told)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, fractions to 1%."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=0.01)
    return bool(a == b)


def load() -> list[Row]:
    """The rows stored so far."""
    return stored(STORE)


def main() -> int:
    """Measure, or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report", action="store_true", help="print the tables, train nothing")
    parser.add_argument("--against", type=Path, help="an older store: print each gate before and after")
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/validity.md and its appendix"
    )
    parser.add_argument("--sets", default=",".join(DEFAULT))
    parser.add_argument("--folder", type=Path, help="further sets, as registry_sets.py makes them")
    parser.add_argument("--methods", default=",".join(("gate", *METHODS)))
    parser.add_argument("--model")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--confirm", help="keys of outcomes to measure again after a change of code")
    parser.add_argument(
        "--beside", type=Path, help="rows of --confirm's keys that the old code made on this machine"
    )
    parser.add_argument(
        "--until", default="", help="start nothing after this time of day, HH:MM, today or tomorrow"
    )
    options = parser.parse_args()
    FOLDERS.extend([options.folder] if options.folder else [])
    if options.against:
        print(beside(stored(options.against), load()))
        return 0
    if options.report or options.write:
        print(report(load()), outcomes(load()), sep="\n\n")
        if options.write:
            write_block(ROOT / "docs/validity.md", "decisions", report(load()))
            write_block(ROOT / "docs/validity-appendix.md", "cells", outcomes(load()))
            FIGURE.write_text(figure(load()), encoding="utf-8")
        return 0
    if options.confirm:
        return confirm(options.confirm.split(","), options.model, options.beside)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    run(
        options.sets.split(","),
        options.model,
        seeds,
        next_at(options.until) if options.until else None,
        options.methods.split(","),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
