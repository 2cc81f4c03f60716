"""Place every rung of a ladder of rejected responses on the axis from no signal to trivial.

    python bench/ladder.py read  ../shared/data/helpful_ladder.jsonl --work .probe/ladder --prompts 150
    python bench/ladder.py table ../shared/data/helpful_ladder.jsonl --work .probe/ladder

`read` runs the model once over all responses of a prompt (they share it in one prefix tree), keeps a file a
prompt and so resumes where it stopped. `table` prints the Markdown tables of docs/negatives.md from them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from probe.pairs.record import Pair
from probe.probes.clusters import prompt_clusters
from probe.probes.negatives.authorship import SideAuthorship, judge_authorship
from probe.probes.negatives.displacement import ches, judge_ches
from probe.probes.negatives.signal import Views, judge_signal, separate_views
from probe.probes.negatives.triviality import judge_surface, surface
from probe.records import together

CHOSEN = "chosen"
RUNGS = {
    "rejected": "human rejected",
    "irr_train": "another prompt's chosen answer",
    "irr_test": "another prompt's answer",
    "irr_hum": "unrelated generated sentence",
    "chosen_initial": "base model's own sample",
    "chosen_selfr": "self-revised, with its marks",
    "reject_gptsemantic": "rejected, paraphrased",
    "chosen_gptsemantic": "chosen, paraphrased",
    "reject_gptformat": "rejected, same form on another topic",
    "chosen_gptformat": "chosen, same form on another topic",
    "random_permute": "chosen, words scrambled",
    "random_nonhum": "another answer, words scrambled",
}


def rows_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def pairs_of(rows, rung: str, strip: bool) -> list[Pair]:
    clean = str.strip if strip else str
    return [
        Pair(str(i + 1), row["prompt"], clean(row[CHOSEN]), clean(row[rung]), line=i + 1)
        for i, row in enumerate(rows)
        if row[rung].strip()
    ]


def read(path: Path, work: Path, prompts: int) -> None:
    from probe.progress import progress
    from probe.scoring.encode import make_encoder
    from probe.scoring.model import load_model

    rows = rows_of(path)[:prompts]
    loaded = load_model(device="cpu")
    encoder = make_encoder(loaded.tokenizer, pairs_of(rows, "rejected", True), "auto", 1024)
    work.mkdir(parents=True, exist_ok=True)
    with progress("reading", len(rows), "prompts") as advance:
        for i, row in enumerate(rows):
            target = work / f"{i + 1}.npz"
            if not target.exists():
                arrays = read_prompt(loaded.model, encoder, row)
                part = target.with_suffix(".part.npz")
                np.savez_compressed(part, **arrays)
                part.rename(target)
            advance(1)


def read_prompt(model, encoder, row) -> dict[str, np.ndarray]:
    """All responses of one prompt, given it and alone: arrays [2, fields, …] and which fields have words."""
    from probe.scoring.readout import depths, read_out

    fields = [field for field in (CHOSEN, *RUNGS) if row[field].strip()]
    pairs = [Pair(f, row["prompt"], row[f].strip(), row[f].strip()) for f in fields]
    read = []
    for contexts in (pairs, [encoder.neutral(pair) for pair in pairs]):
        sides = [encoder(pair).chosen for pair in contexts]
        read.append([r for _, r in sorted(read_out(model, sides, depths(model)), key=lambda item: item[0])])
    each = {
        "pooled": lambda r: r.pooled.astype(np.float16),
        "summed": lambda r: r.summed,
        "tokens": lambda r: len(r.logps),
        "mean_logps": lambda r: r.logps.mean(dtype=np.float64),  # the end token counted
        "excess": lambda r: r.excess,
        "top": lambda r: r.top.mean(),
    }
    arrays = {name: np.array([[get(r) for r in side] for side in read]) for name, get in each.items()}
    return {"fields": np.array(fields), **arrays}


def load(work: Path, rows) -> list[dict[str, np.ndarray] | None]:
    files = [work / f"{i + 1}.npz" for i in range(len(rows))]
    return [dict(np.load(file)) if file.exists() else None for file in files]


def side(read, field: str, context: int, name: str) -> np.ndarray:
    return np.array([r[name][context, list(r["fields"]).index(field)] for r in read])


def views(read, rung: str, context: int) -> Views:
    gaps = side(read, CHOSEN, context, "mean_logps") - side(read, rung, context, "mean_logps")
    chosen, rejected = (side(read, f, context, "pooled").astype(np.float32) for f in (CHOSEN, rung))
    return Views(chosen, rejected, gaps)


def measure(rows, read, rung: str):
    """Everything about one rung: on all its pairs for the text, on those that were read for the model."""
    whole = pairs_of(rows, rung, True)
    known = [p for p in whole if read[p.line - 1] is not None]
    texts = surface(whole)
    measured = [judge_surface(texts)]
    if len(known) < 20:
        return together(measured)
    here = [read[p.line - 1] for p in known]
    clusters = prompt_clusters(known)
    surfaces = (texts if known == whole else surface(known, permutations=0)).separations["surface"]
    given, alone = views(here, rung, 0), views(here, rung, 1)
    found = [(v, separate_views(v, clusters)) for v in (given, alone)]
    measured.append(judge_signal(known, found[0], found[1], surfaces))
    writings = [
        SideAuthorship(*(side(here, f, 0, name) for name in ("mean_logps", "excess", "top")))
        for f in (CHOSEN, rung)
    ]
    measured.append(judge_authorship(known, *writings, clusters))
    sums = [side(here, f, 0, "summed") for f in (CHOSEN, rung)]
    tokens = [side(here, f, 0, "tokens") for f in (CHOSEN, rung)]
    measured.append(judge_ches(known, ches(*sums, *tokens), clusters))
    return together(measured)


def table(path: Path, work: Path) -> None:
    rows = rows_of(path)
    read = load(work, rows)
    results = {rung: measure(rows, read, rung) for rung in RUNGS}
    print_ladder(results)
    print_findings(results)
    print_artefact(rows)


COLUMNS = {
    "length": "length_accuracy",
    "surface": "surface_accuracy",
    "likelihood alone": "prompt_free_preference",
    "states alone": "states_accuracy",
    "likelihood": "ranking_accuracy",
    "**signal**": "signal_accuracy",
}


def print_ladder(results) -> None:
    print("| rejected side | n | " + " | ".join(COLUMNS) + " |")
    print("|---|---|" + "---|" * len(COLUMNS))
    order = sorted(results, key=lambda r: value(results[r], "signal_accuracy").value or 0)
    for rung in order:
        cells = [shown(value(results[rung], name)) for name in COLUMNS.values()]
        n = value(results[rung], "signal_accuracy").n
        print(f"| {RUNGS[rung]} (`{rung}`) | {n} | " + " | ".join(cells) + " |")
    print()


def print_findings(results) -> None:
    print("| rejected side | findings | excess of rejected, nats/token | gives it away |")
    print("|---|---|---|---|")
    for rung, measured in results.items():
        codes = ", ".join(f.code for f in measured.findings) or "none"
        told = measured.details["giveaways"][0].replace("|", "\\|")
        print(f"| `{rung}` | {codes} | {shown(value(measured, 'rejected_excess'), '+.2f')} | {told} |")
    print()


def print_artefact(rows) -> None:
    """The same rungs as the file has them: most differ from the chosen side by a space in front."""
    print("| rejected side, not stripped | first tokens | PB203 |")
    print("|---|---|---|")
    for rung in RUNGS:
        pairs = pairs_of(rows, rung, False)
        measured = judge_surface(surface(pairs))
        space = next((f.message for f in measured.findings if f.code == "PB203"), "no")
        print(f"| `{rung}` | {shown(value(measured, 'opening_accuracy'))} | {space} |")


def value(measured, name):
    from probe.records import Estimate

    return next(
        (e for e in measured.estimates if e.name == name), Estimate(name, None, None, None, 0, None, "", "")
    )


def shown(e, form: str = ".2f") -> str:
    if e.value is None:
        return "–"
    ends = "" if e.low is None else f" [{e.low:{form}}, {e.high:{form}}]"
    return f"{e.value:{form}}{ends}".replace("0.", ".").replace("1.00", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("read", "table"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".probe/ladder"))
    parser.add_argument("--prompts", type=int, default=300)
    args = parser.parse_args()
    if args.step == "read":
        read(args.path, args.work, args.prompts)
    else:
        table(args.path, args.work)


if __name__ == "__main__":
    main()
