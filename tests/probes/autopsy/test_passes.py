"""Steps that begin anew: epochs are counted on, a resumed run replaces, one from the start is its own."""

import json
import math
import random
from itertools import pairwise

import pytest

from probe.probes.autopsy import binary
from probe.probes.autopsy.binary import of_events
from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log
from probe.probes.autopsy.read import read_log

HELD_OUT = (1.3, 1.2, 1.35, 1.6, 1.9)  # by epoch


def training(n=40, every=10, seed=0, low=1.1, epochs=1.0):
    """An SFT run whose loss falls from 1.8 to `low`."""
    rng = random.Random(seed)
    return [
        {
            "step": (i + 1) * every,
            "epoch": round(epochs * (i + 1) / n, 4),
            "loss": round(low + (1.8 - low) * math.exp(-4 * i / n) + 0.02 * rng.gauss(0, 1), 4),
            "learning_rate": 2e-5 * (1 - i / n),
            "grad_norm": 1.0 + 0.01 * (i % 7),
        }
        for i in range(n)
    ]


def without(rows, *names):
    return [{k: v for k, v in row.items() if k not in names} for row in rows]


def by_epochs(per_epoch=10, from_zero=False):
    """Five epochs, each counting its steps anew and ending in an evaluation: training, then evaluations."""
    rows = training(5 * per_epoch, low=0.2)
    for i, row in enumerate(rows):
        row["epoch"] = i // per_epoch
        row["step"] = 10 * (i % per_epoch + (not from_zero))
    ends = [rows[per_epoch * (e + 1) - 1] for e in range(5)]
    held = [{"step": r["step"], "epoch": r["epoch"], "eval_loss": HELD_OUT[e]} for e, r in enumerate(ends)]
    return rows, held


def woven(rows, held):
    per_epoch = len(rows) // 5
    listed = []
    for e in range(5):
        listed += [*rows[e * per_epoch : (e + 1) * per_epoch], held[e]]
    return listed


def jsonl(rows):
    return "\n".join(json.dumps(row) for row in rows)


def csv(rows):
    names = ("epoch", "step", "loss", "eval_loss")
    return "\n".join([",".join(names), *(",".join(str(r.get(n, "")) for n in names) for r in rows)])


def lines(rows, start="Epoch {epoch} step {step}"):
    return "\n".join(
        f"{start.format(**r)} loss {r['loss']}"
        if "loss" in r
        else f"epoch {r['epoch']} val loss {r['eval_loss']}"
        for r in rows
    )


def bars(rows, name):
    return "\n".join(
        f"{name.format(**r)}: 5%|# | {r['step']}/100 [00:05<00:50, 2.00it/s, loss={r['loss']}]"
        if "loss" in r
        else f"{name.format(**r)} validation loss: {r['eval_loss']}"
        for r in rows
    )


EPOCHS = {
    "int.jsonl": jsonl(woven(*by_epochs())),
    "from 0.jsonl": jsonl(woven(*by_epochs(from_zero=True))),
    "no rate.jsonl": jsonl(without(woven(*by_epochs()), "learning_rate")),
    "no epoch.jsonl": jsonl(without(woven(*by_epochs()), "epoch")),
    "neither.jsonl": jsonl(without(woven(*by_epochs()), "epoch", "learning_rate")),
    "neither, from 0.jsonl": jsonl(without(woven(*by_epochs(from_zero=True)), "epoch", "learning_rate")),
    "two a pass.jsonl": jsonl(woven(*by_epochs(per_epoch=2))),
    "two a pass, no epoch.jsonl": jsonl(without(woven(*by_epochs(per_epoch=2)), "epoch")),
    "evaluations behind.jsonl": jsonl([*by_epochs()[0], *by_epochs()[1]]),
    "table.csv": csv(woven(*by_epochs())),
    "words.log": lines(woven(*by_epochs())),
    "bars.log": bars(woven(*by_epochs()), "Epoch {epoch}"),
    "bars without epochs.log": bars(woven(*by_epochs()), "Training {epoch}"),
}


@pytest.mark.parametrize("form", EPOCHS)
def test_epochs_that_count_anew_are_counted_on(tmp_path, form):
    path = tmp_path / form
    path.write_text(EPOCHS[form])
    log = read_log(path)
    found = diagnose(log)
    steps = [row["step"] for row in log.train]
    assert len(steps) == (10 if "two" in form else 50) and all(a < b for a, b in pairwise(steps))
    assert [row["loss"] for row in log.evaluation] == list(HELD_OUT)
    assert (found.main, found.sign.confidence) == ("overfit", "certain")
    # The second pass ends with the lowest held-out loss.
    assert found.sign.since_step == log.evaluation[1]["step"] == steps[len(steps) * 2 // 5 - 1]
    assert any("begin anew in each of 5 passes" in note for note in log.notes)
    assert not any("resumed" in note for note in log.notes)


def test_the_second_pass_goes_on_from_the_last_step_of_the_first():
    rows, held = by_epochs()
    assert [row["step"] for row in make_log("x", woven(rows, held)).train] == [10.0 * i for i in range(1, 51)]
    zero = make_log("x", woven(*by_epochs(from_zero=True))).train
    assert [row["step"] for row in zero][:12] == [*(10.0 * i for i in range(10)), 91.0, 101.0]


def evaluated(rows, held, every=10):
    """Rows with an evaluation behind every tenth."""
    listed = []
    for i, row in enumerate(rows, 1):
        listed.append(row)
        if i % every == 0 and i // every <= len(held):
            listed.append({"step": row["step"], "epoch": row["epoch"], "eval_loss": held[i // every - 1]})
    return listed


FIRST = evaluated(training(), (1.3, 1.2, 1.6, 2.4))
AGAIN = [row for row in training(seed=3) if 200 < row["step"] <= 290]
RESUMED = {
    "steps": FIRST + AGAIN,
    "steps alone": without(FIRST + AGAIN, "epoch", "learning_rate"),
    "epochs alone": without(FIRST + AGAIN, "step"),
    "evaluations behind": [r for r in FIRST + AGAIN if "loss" in r] + [r for r in FIRST if "eval_loss" in r],
    "twice": FIRST + AGAIN[:4] + AGAIN,
    "evaluated as it began": [*FIRST, {"step": 200, "epoch": 0.5, "eval_loss": 1.2}, *AGAIN],
}


@pytest.mark.parametrize("form", RESUMED)
def test_evaluations_of_a_replaced_pass_judge_weights_that_are_gone(form):
    log = make_log("x", RESUMED[form])
    assert len(log.train) == 29 and [row["loss"] for row in log.evaluation] == [1.3, 1.2]
    assert diagnose(log).main == "healthy"
    assert any("resumed at" in note or "goes back" in note for note in log.notes)


def test_those_of_the_pass_that_replaced_it_do_count():
    again = [row for row in training(seed=3) if row["step"] > 200]
    log = make_log("x", FIRST + evaluated(again, (1.7, 2.6)))
    assert [row["loss"] for row in log.evaluation] == [1.3, 1.2, 1.7, 2.6]
    assert diagnose(log).main == "overfit"


def test_within_a_later_epoch_that_counts_anew_a_run_can_be_resumed():
    rows, held = by_epochs()
    listed = [*woven(rows, held)[:22], *rows[20:27], *rows[24:30], held[2]]
    log = make_log("x", listed)
    assert [row["step"] for row in log.train] == [10.0 * i for i in range(1, 31)]
    assert any("resumed at step 250: 3 entries" in note for note in log.notes)


EXPLODED = [row | {"loss": row["loss"] * (1 if i < 20 else 4)} for i, row in enumerate(training())]
SOUND = training(seed=2)
OVERFITTED = evaluated(training(low=0.3), (1.3, 1.2, 1.6, 2.4))
NEW_RUNS = {
    "exploded first": (EXPLODED, SOUND, "diverged", 1),
    "exploded last": (SOUND, EXPLODED, "diverged", 2),
    "exploded and short": (EXPLODED, SOUND[:10], "diverged", 1),
    "stopped at NaN": (
        [r | {"loss": math.nan} if r["step"] > 90 else r for r in SOUND[:20]], SOUND, "numerics", 1
    ),
    "over-fitted first": (OVERFITTED, SOUND, "overfit", 1),
    "over-fitted last": (SOUND, OVERFITTED, "overfit", 2),
    "evaluated before it trains": (
        SOUND, [{"step": 0, "epoch": 0.0, "eval_loss": 1.8}, *OVERFITTED], "overfit", 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("left_out", [(), ("epoch",), ("step",), ("epoch", "learning_rate")], ids=" ".join)
@pytest.mark.parametrize("case", NEW_RUNS)
def test_a_run_from_the_first_step_on_is_one_of_its_own(case, left_out):
    one, two, main, number = NEW_RUNS[case]
    log = make_log("x", without(one + two, *left_out))
    found = diagnose(log)
    assert found.main == main and f"run {number}, the most serious of 2 runs" in found.notes
    runs = [*log.earlier, log]
    assert [len(run.train) for run in runs] == [sum("loss" in row for row in rows) for rows in (one, two)]
    assert [len(run.evaluation) for run in runs] == [
        sum("eval_loss" in r for r in rows) for rows in (one, two)
    ]
    assert not any("resumed" in note or "goes back" in note for note in found.notes)
    assert all(run.train[0]["step"] <= 10 for run in runs)


@pytest.mark.parametrize("left_out", [(), ("epoch",), ("epoch", "learning_rate", "grad_norm")], ids=" ".join)
def test_a_stage_of_another_method_is_no_further_epoch(left_out):
    """The loss of DPO begins below the end of SFT's, as if it went on from there."""
    preferences = [
        {**row, "loss": 0.69 - 0.01 * i, "rewards/margins": 0.02 * i} for i, row in enumerate(training())
    ]
    log = make_log("x", without(training() + preferences, *left_out))
    assert [len(run.train) for run in (*log.earlier, log)] == [40, 40]
    assert [run.has("rewards/margins") for run in (*log.earlier, log)] == [False, True]


@pytest.mark.parametrize("left_out", [(), ("step",), ("epoch", "learning_rate")], ids=" ".join)
@pytest.mark.parametrize("entries", [2, 3])
def test_a_start_of_few_entries_is_not_judged_in_place_of_a_whole_run(entries, left_out):
    """A DPO run lies at ln 2 at first, which is no sign that it is stuck."""
    run = [
        {
            "step": 10 * i,
            "epoch": round(i / 40, 4),
            "learning_rate": 5e-6 * (1 - i / 41),
            "loss": round(math.log1p(math.exp(-0.05 * (i - 1))), 4),
            "rewards/accuracies": 0.5 + i / 100,
            "rewards/margins": 0.05 * (i - 1),
        }
        for i in range(1, 41)
    ]
    found = diagnose(make_log("x", without(run[:entries] + run, *left_out)))
    assert (found.main, found.sign.confidence) == ("healthy", "likely")
    assert found.notes[0] == "run 2, the most serious of 2 runs"


def test_metrics_that_are_listed_one_after_the_other_are_of_one_run():
    rows = training()
    listed = [{"step": r["step"], name: r[name]} for name in ("loss", "grad_norm") for r in rows]
    log = make_log("x", listed)
    assert len(log.train) == 40 and not log.earlier and not log.notes
    assert all({"loss", "grad_norm"} <= row.keys() for row in log.train)


def scalars(rows, *names):
    return [(float(row["step"]), f"train/{name}", row[name]) for row in rows for name in names if name in row]


EVENTS = {
    "resumed": ([scalars(EXPLODED, "loss"), scalars(AGAIN, "loss")], 1, 29, "healthy"),
    "resumed, of two metrics": (
        [scalars(rows, "loss", "learning_rate") for rows in (EXPLODED, AGAIN)], 1, 29, "healthy"
    ),
    "went on": ([scalars(SOUND[:20], "loss"), scalars(SOUND[20:], "loss")], 1, 40, "healthy"),
    "another metric": ([scalars(SOUND, "loss"), scalars(SOUND, "learning_rate")], 1, 40, "healthy"),
    "another run": ([scalars(EXPLODED, "loss"), scalars(SOUND, "loss")], 2, 40, "diverged"),
}  # fmt: skip


@pytest.mark.parametrize("case", EVENTS)
def test_event_files_are_read_in_the_order_of_their_writing(case, tmp_path, monkeypatch):
    files, runs, entries, main = EVENTS[case]
    written = {f"events.out.tfevents.{i}": values for i, values in enumerate(files)}
    for name in written:
        (tmp_path / name).touch()
    monkeypatch.setattr(binary, "_scalars", lambda path: iter(written[path.name]))
    log = read_log(tmp_path)
    found = diagnose(log)
    assert (found.main, len(log.earlier) + 1, len(log.train)) == (main, runs, entries)
    assert all("train/loss" in row for row in of_events(sorted(tmp_path.iterdir())))
