"""Decimal commas and parted thousands in lines of a console: read as in tables, or told to be in doubt."""

import json

import pytest

from probe.errors import ProbeError
from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.read import read_log

STEPS = range(100, 4001, 100)
LOSSES = [round(1.9 - 0.02 * i, 4) for i in range(40)]
LINES = {
    "words": "step {} loss {}",
    "equals": "step={} loss={}; grad_norm=0,5421",
    "colons": "Step: {}, loss: {}, lr: 2,00e-05, acc: 0,51",
    "bars": "global step {} | train loss {} | epoch 0,25",
    "stamped": "2026-01-02 10:11:12,345 INFO step {} loss {}",
    "percent": "iter {}: loss {}, accuracy 52,3%",
}


def german(number):
    return str(number).replace(".", ",")


def read(tmp_path, text, name="run.log"):
    path = tmp_path / name
    path.write_text(text)
    return read_log(path)


def lines(line, steps, losses):
    return "\n".join(line.format(s, v) for s, v in zip(steps, losses, strict=True))


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("step", ["{}", "{:,}", "dotted"])
def test_decimal_commas_of_lines_are_points(tmp_path, line, step):
    steps = [f"{s:,}".replace(",", ".") if step == "dotted" else step.format(s) for s in STEPS]
    log = read(tmp_path, lines(LINES[line], steps, map(german, LOSSES)))
    assert [row["step"] for row in log.train] == list(STEPS)
    assert [row["loss"] for row in log.train] == LOSSES
    assert not log.unread and diagnose(log).main == "healthy"


def test_all_numbers_of_a_line_have_their_commas(tmp_path):
    log = read(tmp_path, lines(LINES["colons"], STEPS, map(german, LOSSES)))
    assert (log.train[0]["learning_rate"], log.train[0]["rewards/accuracies"]) == (2e-5, 0.51)
    assert read(tmp_path, lines(LINES["bars"], STEPS, map(german, LOSSES))).train[0]["epoch"] == 0.25


THOUSANDS = {
    "english": lambda v: f"{v:,.2f}",
    "german": lambda v: f"{v:,.2f}".translate(str.maketrans(",.", ".,")),
}


@pytest.mark.parametrize("of", THOUSANDS)
@pytest.mark.parametrize("form", ["log", "csv", "jsonl"])
def test_a_comma_and_a_point_say_what_they_are(tmp_path, of, form):
    """1,500.00 fell to 980.00; it had been read as 1 that rose to 980, and the run as diverged."""
    values = [1500.0 - 20 * i for i in range(40)]
    said = [THOUSANDS[of](v) for v in values]
    if of == "german" and form == "jsonl":
        said = [v if "." in v else f"{float(v.replace(',', '.'))}" for v in said]
    text = {
        "log": lines("step {} loss {}", STEPS, said),
        "csv": "step;loss\n" + lines("{};{}", STEPS, said),
        "jsonl": lines('{{"step": {}, "loss": "{}"}}', STEPS, said),
    }[form]
    log = read(tmp_path, text, f"run.{form}")
    assert [row["loss"] for row in log.train] == values and diagnose(log).main == "healthy"


@pytest.mark.parametrize("beside", ["grad_norm 1,250", "grad_norm 0,51"])
def test_what_a_comma_may_mean_twice_is_not_called_healthy(tmp_path, beside):
    """Decimal points elsewhere: the comma parts thousands, or the text is of two hands."""
    found = diagnosis_json(diagnose(read(tmp_path, lines("step {} loss {} " + beside, STEPS, LOSSES))))
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert "whose comma may be a decimal one or part thousands: grad_norm" in found["evidence"]


def test_losses_that_may_be_thousands_throughout_are_no_numbers(tmp_path):
    with pytest.raises(ProbeError, match="none with a loss or a reward that is a number"):
        read(tmp_path, lines("step {} loss {}", STEPS, ["1,828"] * 40))


DOTTED = {
    "log": lambda s: lines("step {} loss {}", s, LOSSES),
    "of.log": lambda s: lines("step {}/4.000 loss {}", s, LOSSES),
    "csv": lambda s: "Step;Loss\n" + lines("{};{}", s, map(german, LOSSES)),
    "md": lambda s: "| Step | Loss |\n|-|-|\n" + lines("| {} | {} |", s, LOSSES),
}


@pytest.mark.parametrize("form", DOTTED)
@pytest.mark.parametrize("first", [0, 20])
def test_points_that_part_the_thousands_of_steps_lose_no_entry(tmp_path, form, first):
    """36 entries of 40 had been left out as those that a resumed run replaced."""
    steps = [s + 100 * first for s in STEPS]
    log = read(tmp_path, DOTTED[form]([f"{s:,}".replace(",", ".") for s in steps]), f"run.{form}")
    assert [row["step"] for row in log.train] == steps
    assert log.hints.max_steps == (4000 if form == "of.log" else None)


@pytest.mark.parametrize(
    "steps",
    [[f"{i}.000" for i in range(1, 41)], [f"{i}.0" for i in range(1, 41)], list(range(1, 41))],
    ids=["three decimals", "one decimal", "whole"],
)
@pytest.mark.parametrize("form", DOTTED)
def test_steps_with_decimals_stay_what_they_were(tmp_path, form, steps):
    log = read(tmp_path, DOTTED[form](steps), f"run.{form}")
    assert [row["step"] for row in log.train] == list(range(1, 41))


def test_the_time_of_a_step_is_no_step(tmp_path):
    """`step 1.234s`, in no order: it is neither a step nor one of thousands."""
    text = "\n".join(f"loss {v} | step 1.{(i * 377) % 1000:03d}s" for i, v in enumerate(LOSSES))
    assert [row["loss"] for row in read(tmp_path, text).train] == LOSSES


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("step {} loss {},0.4", 1.9),  # two numbers
        ("step {} loss {}, 3 of 4", 1.9),
        ("step {},loss {},lr 1e-5,acc 0.5", 1.9),
        ("step {} loss {} rewards/margins 1,2,3", 1.9),
    ],
)
def test_a_comma_between_numbers_is_none_within_one(tmp_path, line, first):
    found = read(tmp_path, lines(line, STEPS, LOSSES))
    assert found.train[0]["loss"] == first and not found.unread


def test_lists_of_whole_numbers_in_json_are_lists(tmp_path):
    text = "\n".join(
        json.dumps({"step": s, "loss": v, "sizes": "1,200"}) for s, v in zip(STEPS, LOSSES, strict=True)
    )
    assert not read(tmp_path, text, "a.jsonl").unread
