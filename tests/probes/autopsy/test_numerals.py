"""Numbers as spreadsheets, consoles and other countries write them: none is lost in silence."""

import math

import pytest

from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.read import read_log

STEPS = range(100, 4001, 100)


def losses(broken=None, from_entry: int = 20):
    """Forty losses that fall; from an entry on, what `broken` says."""
    return [2.0 - 0.02 * i if broken is None or i < from_entry else broken for i in range(len(STEPS))]


def grouped(values) -> list[tuple[str, str]]:
    return [(f"{step:,}", str(value)) for step, value in zip(STEPS, values, strict=True)]


FORMS = {
    "quoted.csv": lambda rows: '"Step","train/loss"\n' + "".join(f'"{s}",{v}\n' for s, v in rows),
    "run.tsv": lambda rows: "step\tloss\n" + "".join(f"{s}\t{v}\n" for s, v in rows),
    "run.log": lambda rows: "".join(f"step: {s} loss: {v} lr: 1e-4\n" for s, v in rows),
    "of.log": lambda rows: "".join(f"step {s}/4,000, loss: {v}, lr: 1e-4\n" for s, v in rows),
    "card.md": lambda rows: "| Step | Loss |\n|:-:|:-:|\n" + "".join(f"| {s} | {v} |\n" for s, v in rows),
    "run.jsonl": lambda rows: "".join(f'{{"step": "{s}", "loss": "{v}"}}\n' for s, v in rows),
}


def log_of(tmp_path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text)
    return read_log(path)


@pytest.mark.parametrize("form", FORMS)
def test_the_thousands_of_a_step_may_be_parted(tmp_path, form):
    log = log_of(tmp_path, form, FORMS[form](grouped(losses())))
    assert [row["step"] for row in log.train] == list(STEPS)
    assert [row["loss"] for row in log.train] == pytest.approx(losses())
    assert diagnose(log).main == "healthy"


@pytest.mark.parametrize("form", FORMS)
def test_what_happens_after_step_1_000_is_seen(tmp_path, form):
    found = diagnose(log_of(tmp_path, form, FORMS[form](grouped(losses(9.5)))))
    assert (found.main, found.sign.since_step) == ("diverged", 2100)


def test_groups_of_three_are_counts_of_any_size(tmp_path):
    text = "".join(f"iter 1,{i:03d},000 | loss: {2 - i / 100}\n" for i in range(40))
    assert [row["step"] for row in log_of(tmp_path, "x.log", text).train][:2] == [1_000_000, 1_001_000]


UNDEFINED = ("-nan(ind)", "nan(snan)", "-1.#IND", "1.#QNAN", "-1.#IND00", "NaN", "-nan")
INFINITE = ("1.#INF", "-1.#INF", "1.#INF00", "inf")
OF_A_TABLE = ("#NUM!", "#DIV/0!")


@pytest.mark.parametrize("form", [*FORMS])
@pytest.mark.parametrize("word", [*UNDEFINED, *INFINITE, *OF_A_TABLE])
def test_every_spelling_of_a_loss_that_broke_is_numerical(tmp_path, form, word):
    if form.endswith(".log") and word in OF_A_TABLE:
        return  # no program prints those
    log = log_of(tmp_path, form, FORMS[form](grouped(losses(word))))
    found = diagnose(log)
    assert (found.main, found.sign.since_step) == ("numerics", 2100)
    assert all(math.isinf(row["loss"]) == (word in INFINITE) for row in log.train[20:])


@pytest.mark.parametrize("text", ["#N/A", "#VALUE!", "overflow", "1.2.3"])
@pytest.mark.parametrize("form", ["quoted.csv", "run.tsv", "card.md", "run.jsonl"])
def test_a_loss_that_is_no_number_is_counted_though_nothing_stands_beside_it(tmp_path, form, text):
    found = diagnosis_json(diagnose(log_of(tmp_path, form, FORMS[form](grouped(losses(text))))))
    assert found["confidence"] == "cannot tell"
    assert "the loss is no number in 20 of 40 entries" in found["evidence"]


@pytest.mark.parametrize("text", ["No log", "-", "None", ""])
def test_a_word_for_nothing_is_no_broken_loss(tmp_path, text):
    rows = [(s, text if i % 2 else v) for i, (s, v) in enumerate(grouped(losses()))]
    found = diagnosis_json(diagnose(log_of(tmp_path, "run.tsv", FORMS["run.tsv"](rows))))
    assert (found["main"], found["confidence"]) == ("healthy", "likely")


def of_comma(number: str) -> str:
    return number.replace(".", ",")


NUMBERS = {
    "plain": lambda v: f"{v:.4f}",
    "three digits": lambda v: f"{v:.3f}",
    "science": lambda v: f"{v:.4E}",
}
TABLES = {
    "semicolon.csv": ("step;loss;grad_norm\n", "{};{};{}\n"),
    "quoted.csv": ('"step","loss","grad_norm"\n', '"{}","{}","{}"\n'),
    "tab.tsv": ("step\tloss\tgrad_norm\n", "{}\t{}\t{}\n"),
    "card.md": ("| step | loss | grad_norm |\n|-|-|-|\n", "| {} | {} | {} |\n"),
}


@pytest.mark.parametrize("step", ["{}", "{:,}", "{},0"])
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("table", TABLES)
def test_decimal_commas_are_read_in_every_table(tmp_path, table, number, step):
    heading, line = TABLES[table]
    write = NUMBERS[number]
    rows = [
        (step.format(s), of_comma(write(v / 4)), of_comma(write(v)))
        for s, v in zip(STEPS, losses(), strict=True)
    ]
    log = log_of(tmp_path, table, heading + "".join(line.format(*row) for row in rows))
    assert [row["step"] for row in log.train] == list(STEPS)
    assert [row["loss"] for row in log.train] == pytest.approx([v / 4 for v in losses()], rel=2e-3)


def test_decimal_commas_without_quotes_are_two_cells_a_number(tmp_path):
    text = "step,loss,grad_norm\n" + "".join(
        f"{s},{of_comma(f'{v:.3f}')},{of_comma(f'{v / 2:.2f}')}\n"
        for s, v in zip(STEPS, losses(), strict=True)
    )
    log = log_of(tmp_path, "x.csv", text)
    assert [row["loss"] for row in log.train] == pytest.approx(losses())


def test_thousands_beside_decimal_points_stay_thousands(tmp_path):
    """`1,200` in a table with decimal points is no 1.2, whatever the column."""
    text = '"step","loss","tokens"\n' + "".join(
        f'"{i}","{2 - i / 100:.2f}","0,{i:03d}"\n' for i in range(1, 30)
    )
    assert "tokens" not in log_of(tmp_path, "x.csv", text).train[0]


@pytest.mark.parametrize("sign", ["'", "’", "_", "\u00a0", "\u202f"])
@pytest.mark.parametrize("form", ["csv", "log"])
def test_other_signs_that_part_thousands_lose_no_step(tmp_path, sign, form):
    """Nine entries of forty had been left, and a run that diverged later was healthy."""
    rows = [
        (f"{100 * i:,}".replace(",", sign), 2 - 0.01 * i if i < 21 else 9 + 0.01 * i) for i in range(1, 41)
    ]
    told = "step,loss\n" + "".join(f"{step},{loss:.3f}\n" for step, loss in rows)
    if form == "log":
        told = "".join(f"step: {step} loss: {loss:.3f}\n" for step, loss in rows)
    path = tmp_path / f"a.{form}"
    path.write_text(told, encoding="utf-8")
    log = read_log(path)
    assert len(log.train) == 40 and log.train[-1]["step"] == 4000 and diagnose(log).main == "diverged"
