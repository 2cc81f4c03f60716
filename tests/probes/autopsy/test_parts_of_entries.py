"""An entry whose metrics stand on several lines, or in several calls of a logger, is read as one."""

import json
import math

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.read import read_log

N = 40


def rows(broken):
    """A DPO run whose margins rise; the loss and gradient are NaN in the entries that are `broken`."""
    found = []
    for i in range(N):
        margin = 0.05 * i
        bad = i in broken
        loss = math.nan if bad else round(math.log1p(math.exp(-margin)) + 0.01 * (i % 3), 4)
        found.append(
            {
                "step": max(1, 10 * i),
                "epoch": round(i / N, 3),
                "loss": loss,
                "grad_norm": math.nan if bad else 2.0 + 0.1 * (i % 5),
                "rewards/accuracies": round(0.5 + 0.4 * i / N, 4),
                "rewards/margins": margin,
            }
        )
    return found


HEAD, TAIL = ("loss", "grad_norm"), ("rewards/accuracies", "rewards/margins")


def part(row, names, **more):
    return {**more, **{name: row[name] for name in names}}


def calls(row, first, second, i, key):
    return [json.dumps(part(row, first, **{key: 2 * i})), json.dumps(part(row, second, **{key: 2 * i + 1}))]


def block(row, heading):
    return [heading.format(**row), *(f"  {name}: {row[name]}" for name in (*HEAD, *TAIL))]


def words(row, names):
    return ", ".join(f"{name}={row[name]}" for name in names)


FORMS = {
    "one row.jsonl": lambda row, i: [json.dumps(row)],
    "rows of one step.jsonl": lambda row, i: [
        json.dumps(part(row, names, step=row["step"])) for names in (HEAD, TAIL)
    ],
    "two calls.jsonl": lambda row, i: calls(row, HEAD, TAIL, i, "step"),
    "two calls of W&B.jsonl": lambda row, i: calls(row, HEAD, TAIL, i, "_step"),
    "accuracies first.jsonl": lambda row, i: calls(row, TAIL, HEAD, i, "step"),
    "rows without steps.jsonl": lambda row, i: [json.dumps(part(row, names)) for names in (HEAD, TAIL)],
    "step heading.log": lambda row, i: block(row, "Step {step}"),
    "heading of both.log": lambda row, i: block(row, "Epoch 1/3, Step {step}/400"),
    "drawn heading.log": lambda row, i: block(row, "=== Step {step}/400 ==="),
    "step on the first line.log": lambda row, i: [
        f"Step {row['step']}: {words(row, HEAD)}", f"   {words(row, TAIL)}"
    ],
    "epoch on the first line.log": lambda row, i: [
        f"Epoch {row['epoch']}: {words(row, HEAD)}", f"   {words(row, TAIL)}"
    ],
    "nothing but metrics.log": lambda row, i: [words(row, HEAD), words(row, TAIL)],
}  # fmt: skip
STEPS = ("one row.jsonl", "rows of one step.jsonl", "step heading.log", "step on the first line.log")


def judged(tmp_path, form, broken):
    path = tmp_path / form
    lines = (line for i, row in enumerate(rows(broken)) for line in FORMS[form](row, i))
    path.write_text("\n".join(lines) + "\n")
    log = read_log(path)
    return log, diagnose(log)


@pytest.mark.parametrize("form", FORMS)
def test_every_entry_is_one_row(tmp_path, form):
    log, found = judged(tmp_path, form, ())
    assert (found.main, len(log.train)) == ("healthy", N)
    assert all({*HEAD, *TAIL} <= row.keys() for row in log.train)
    if form in STEPS:
        assert [row["step"] for row in log.train] == [row["step"] for row in rows(())]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("first", [1, 20, N - 2])
def test_what_is_nan_to_the_end_has_lost_the_weights(tmp_path, form, first):
    _, found = judged(tmp_path, form, range(first, N))
    assert (found.main, found.sign.code) == ("numerics", "PB850")
    assert "weights stayed finite" not in found.sign.next and "The run was sound before" in found.sign.next


@pytest.mark.parametrize("form", FORMS)
def test_what_is_nan_in_between_has_not(tmp_path, form):
    _, found = judged(tmp_path, form, (20, 21))
    assert (found.main, "weights stayed finite" in found.sign.next) == ("numerics", True)


@pytest.mark.parametrize("last", [1, 2, 5])
def test_last_rows_that_hold_no_loss_say_nothing_of_it(tmp_path, last):
    """Rows that no rule can join: accuracies that are logged at steps of their own, now and then."""
    listed = [part(row, HEAD, step=row["step"]) for row in rows(range(20, N))]
    extra = [{"step": 500 + i, "rewards/accuracies": 0.5} for i in range(last)]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (*listed[:7], *extra[:1], *listed[7:], *extra)))
    found = diagnose(read_log(path))
    assert (found.main, "weights stayed finite" in found.sign.next) == ("numerics", False)


def test_a_line_of_another_epoch_is_no_part_of_the_entry_before(tmp_path):
    path = tmp_path / "own.log"
    lines = [f"Epoch {i} loss 1.{9 - i}\nEpoch {i} validation loss 2.{9 - i}" for i in range(6)]
    path.write_text("\n".join([*lines, "Epoch 6 accuracy 0.5"]))
    log = read_log(path)
    assert [row["loss"] for row in log.train[:6]] == [1.9, 1.8, 1.7, 1.6, 1.5, 1.4]
    assert "rewards/accuracies" not in log.train[5] and len(log.evaluation) == 6
