"""A 0 that is written with few decimals may be a small number; one that is written as programs do is 0."""

import json

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.read import read_log
from probe.probes.autopsy.rounding import half_digits

FALLING = [1.9 - 0.02 * i for i in range(40)]
LEVEL = [1.5 + 0.03 * (i * 7 % 5) for i in range(40)]


def judged(tmp_path, text, name="a.log"):
    path = tmp_path / name
    path.write_text(text)
    return diagnose(read_log(path))


def tag(found, label):
    return next((sign for sign in found.tags if sign.label == label), None)


FORMS = {
    "log": lambda i, loss, lr: f"step {i}, loss: {loss:.4f}, lr: {lr}",
    "csv": lambda i, loss, lr: f"{i},{loss:.4f},{lr}",
    "jsonl": lambda i, loss, lr: f'{{"step": {i}, "loss": {loss:.4f}, "learning_rate": "{lr}"}}',
}


def with_rate(form, losses, rate):
    lines = [FORMS[form](i, loss, rate) for i, loss in enumerate(losses, 1)]
    return "\n".join([*(["step,loss,lr"] if form == "csv" else []), *lines])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rate", ["0.00", "0.000", "0.0000", "0.00000"])
def test_a_rate_of_few_decimals_beside_a_loss_that_falls_is_no_zero(tmp_path, form, rate):
    found = judged(tmp_path, with_rate(form, FALLING, rate), f"a.{form}")
    assert (found.main, found.sign.confidence, tag(found, "lr_zero")) == ("healthy", "likely", None)


@pytest.mark.parametrize("form", FORMS)
def test_a_rate_of_few_decimals_beside_a_level_loss_may_be_0(tmp_path, form):
    sign = tag(judged(tmp_path, with_rate(form, LEVEL, "0.000"), f"a.{form}"), "lr_zero")
    assert sign is not None and sign.confidence == "likely"
    assert "0 as it is written (under 0.0005) in 40 of 40" in sign.evidence


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rate", ["0.0", "0", "0.0000000000", "0e-10", "0.000000000e+00"])
def test_a_rate_that_is_written_as_0_is_0(tmp_path, form, rate):
    sign = tag(judged(tmp_path, with_rate(form, LEVEL, rate), f"a.{form}"), "lr_zero")
    assert sign is not None and (sign.confidence, "exactly 0" in sign.evidence) == ("certain", True)


def test_a_rate_of_0_in_json_is_not_certain_where_the_loss_fell(tmp_path):
    for losses, sure in ((FALLING, "likely"), (LEVEL, "certain")):
        rows = [{"step": i, "loss": loss, "learning_rate": 0.0} for i, loss in enumerate(losses, 1)]
        sign = tag(judged(tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl"), "lr_zero")
        assert sign is not None and sign.confidence == sure


def test_the_reward_of_an_online_run_shows_that_the_rate_is_none_of_0(tmp_path):
    """verl prints every number with three decimals."""
    text = "\n".join(
        f"step:{i} - actor/lr:0.000 - actor/grad_norm:0.201 - critic/rewards/mean:{0.2 + 0.01 * i:.3f}"
        for i in range(1, 41)
    )
    found = judged(tmp_path, text)
    assert (found.method.name, found.main, found.tags) == ("GRPO", "healthy", ())


def of_epochs(losses):
    return "\n".join(f"epoch {i} loss {loss}" for i, loss in enumerate(losses))


MEMORISED = {
    "two decimals": [1.8, 1.1, 0.61, 0.30, 0.09, 0.02] + [0.0] * 6,
    "two decimals, from 0.05": [1.8, 1.1, 0.61, 0.30, 0.15, 0.05] + [0.0] * 6,
    "one decimal": [1.8, 1.1, 0.6, 0.3, 0.1] + [0.0] * 7,
    "three decimals": [1.8, 0.5, 0.1, 0.031, 0.006, 0.001] + [0.0] * 6,
}
DIGITS = {"one": 1, "two": 2, "three": 3}


@pytest.mark.parametrize("name", MEMORISED)
@pytest.mark.parametrize("form", ["log", "jsonl"])
def test_a_loss_that_falls_to_its_last_digit_is_memorised(tmp_path, name, form):
    digits = DIGITS[name.split()[0]]
    said = [f"{v:.{digits}f}" for v in MEMORISED[name]]
    lines = [f'{{"step": {i}, "loss": {float(v)}}}' for i, v in enumerate(said)]
    text = "\n".join(lines) if form == "jsonl" else of_epochs(said)
    found = judged(tmp_path, text, f"a.{form}")
    assert found.main == ("healthy" if digits == 1 else "saturated")  # 0.0 may be 0.04: not surely low
    assert tag(found, "zero_loss") is None


@pytest.mark.parametrize("digits", [2, 3, 4])
def test_a_loss_that_drops_to_0_from_afar_is_nan(tmp_path, digits):
    """360 half digits at once and then nothing else: no memory does that."""
    losses = [1.8, 1.75, 1.7, 1.8] + [0.0] * 8
    found = judged(tmp_path, of_epochs([f"{v:.{digits}f}" for v in losses]))
    assert (found.main, found.sign.code) == ("numerics", "PB877")
    assert tag(found, "zero_loss") is not None


def test_a_gradient_of_0_is_frozen_though_not_surely_where_it_is_rounded(tmp_path):
    for norm, sure in (("0.0", "certain"), ("0.00", "likely")):
        text = "\n".join(f"step {i} loss {v:.4f} grad_norm {norm}" for i, v in enumerate(LEVEL))
        sign = tag(judged(tmp_path, text), "frozen")
        assert sign is not None and sign.confidence == sure


@pytest.mark.parametrize(
    ("values", "half"),
    [
        (["0.10", "0.00"], 0.005),
        (["0.00", "0.00"], 0.005),
        (["0.0", "0.0"], None),
        (["0", "0"], None),
        (["1.5", "0.0"], 0.05),
        (["2.5e-06", "0.0"], 5e-8),
        ([0.12, 0.31, 0.2, 0.0], 0.005),
        ([0.12, 0.0], None),
        ([0.0, 0.0, 0.0], None),
        (["0.12", "0.13"], None),
        (["nan", "0.00"], 0.005),
        ([0, 1, 2], None),
        (["text", ""], None),
    ],
)
def test_the_last_digit_of_a_column(values, half):
    found = half_digits([{"loss": value} for value in values])
    assert found == ({} if half is None else {"loss": pytest.approx(half)})
