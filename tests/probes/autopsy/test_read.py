"""Reading logs: every form a log is kept in, and anything else as one line."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.probes.autopsy.diagnose import diagnose, diagnosis_json, history
from probe.probes.autopsy.log import as_number, make_log
from probe.probes.autopsy.nan_filter import finite_steps
from probe.probes.autopsy.read import read_log
from probe.records import Run, to_json
from probe.reports.curves import draw, panels
from probe.reports.curves_svg import drawn_panels

ROWS = [
    {"step": 10, "loss": 0.69, "learning_rate": 1e-5, "rewards/margins": 0.01, "logps/chosen": -100.0},
    {"step": 20, "loss": 0.61, "learning_rate": 1e-5, "rewards/margins": 0.20, "logps/chosen": -101.0},
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def csv_of(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    names = list(rows[0])
    return "\n".join(
        [delimiter.join(names), *(delimiter.join(str(r.get(n, "")) for n in names) for r in rows)]
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("trainer_state.json", json.dumps({"best_metric": math.inf, "log_history": ROWS})),
        ("list.json", json.dumps(ROWS)),
        ("custom.json", json.dumps({"meta": {"lr": 1e-5}, "raw_log_history": ROWS})),
        ("run.json", json.dumps({"schema_version": 1, "details": {"training": {"log_history": ROWS}}})),
        ("columns.json", json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]})),
        (
            "frame.json",
            json.dumps({name: {"0": ROWS[0][name], "1": ROWS[1][name]} for name in ROWS[0]}),
        ),
        ("log.jsonl", "\n".join(json.dumps(row) for row in ROWS)),
        ("log.csv", csv_of(ROWS)),
        ("log.tsv", csv_of(ROWS, "\t")),
        ("bom.csv", "\ufeff" + csv_of(ROWS)),
        ("printed.out", "loading\n" + "\n".join(f"10%|█ | {row}" for row in ROWS) + "\ndone"),
        ("strings.out", "\n".join(str({k: str(v) for k, v in row.items()}) for row in ROWS)),
    ],
)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    log = read_log(write(tmp_path / name, text))
    assert list(log.train) == ROWS
    assert not log.evals


def test_other_names_for_the_same_columns() -> None:
    rows = [
        {"current_steps": 5, "loss": 0.6, "lr": 1e-5, "accuracy": 0.7},
        {
            "train/global_step": 5,
            "train/loss": 0.6,
            "train/learning_rate": 1e-5,
            "train/rewards/accuracies": 0.7,
        },
        {"Step": 5, "Training Loss": 0.6, "lr": "1e-5", "rewards / accuracies": 0.7},
        {"step": "5", "loss": [0.5, 0.7], "lr": "tensor(1e-05, device='cuda:0')", "reward_accuracy": "0.7"},
    ]
    for row in rows:
        train = make_log("x", [row]).train[0]
        read = {k: round(train[k], 9) for k in ("step", "loss", "learning_rate", "rewards/accuracies")}
        assert read == {"step": 5, "loss": 0.6, "learning_rate": 1e-5, "rewards/accuracies": 0.7}


def test_summary_rows_are_no_entries() -> None:
    log = make_log("x", [*ROWS, {"train_runtime": 9.0, "train_loss": 0.65, "total_flos": 1e12, "step": 20}])
    assert list(log.train) == ROWS


def test_evaluation_rows_of_several_sets_are_told_apart() -> None:
    rows = [
        {"eval_own_loss": 0.5, "eval_own_runtime": 1.0, "step": 10},
        {"eval_general_nll_loss": 0.9, "eval_general_loss": 2.0, "eval_general_runtime": 1.0, "step": 10},
    ]
    log = make_log("x", rows)
    assert {name: part[0]["loss"] for name, part in log.evals.items()} == {"own": 0.5, "general": 2.0}
    assert log.evals["general"][0]["nll_loss"] == 0.9


def test_nll_loss_of_an_evaluation_is_no_set_of_its_own() -> None:
    log = make_log("x", [{"eval_loss": 2.0, "eval_nll_loss": 1.0, "eval_rewards/margins": 0.1, "step": 1}])
    assert log.evals == {"": ({"step": 1.0, "loss": 2.0, "nll_loss": 1.0, "rewards/margins": 0.1},)}


def test_a_resumed_run_replaces_what_it_repeats() -> None:
    first = [{"step": s, "loss": 9.0, "epoch": s / 100} for s in (10, 20, 30, 40)]
    again = [{"step": s, "loss": 1.0, "epoch": s / 100} for s in (30, 40, 50)]
    log = make_log("x", first + again)
    assert [(r["step"], r["loss"]) for r in log.train] == [(10, 9), (20, 9), (30, 1), (40, 1), (50, 1)]
    assert log.notes == ("resumed at step 30: 2 entries that it replaced are left out",)


def test_a_step_counter_that_restarts_every_epoch_runs_on() -> None:
    rows = [{"step": s, "loss": 1.0, "epoch": e + s / 30} for e in range(3) for s in (10, 20, 30)]
    steps = [r["step"] for r in make_log("x", rows).train]
    assert len(steps) == 9
    assert steps == sorted(steps)


def test_the_second_half_of_an_entry_joins_the_first() -> None:
    log = make_log("x", [{"step": 10, "loss": 0.6}, {"step": 10, "grad_norm": 2.0}])
    assert list(log.train) == [{"step": 10.0, "loss": 0.6, "grad_norm": 2.0}]


def test_entries_without_steps_are_numbered() -> None:
    assert [r["step"] for r in make_log("x", [{"loss": 1.0}, {"loss": 0.9}]).train] == [1.0, 2.0]
    assert [r["step"] for r in make_log("x", [{"step": 0, "loss": 1.0}] * 3).train] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("filler", [math.nan, None, ""])
def test_the_gaps_of_a_table_are_no_numerical_failure(filler: Any) -> None:
    """A data frame of a whole log_history fills what an entry does not have with NaN, null or nothing."""
    names = ("loss", "learning_rate", "grad_norm", "eval_loss", "eval_runtime", "train_runtime")
    given_rows = [{"loss": 2.0 - 0.01 * i, "learning_rate": 1e-5, "grad_norm": 1.0} for i in range(20)]
    given_rows += [{"eval_loss": 1.9, "eval_runtime": 2.0}, {"train_runtime": 60.0}]
    rows = [{"step": i, **dict.fromkeys(names, filler), **row} for i, row in enumerate(given_rows)]
    log = make_log("x", rows)
    assert (len(log.train), len(log.evaluation)) == (20, 1)
    assert diagnose(log).main == "healthy"


def test_a_null_beside_a_learning_rate_was_a_nan() -> None:
    """run.json has no word for NaN: a NaN loss in our own log comes back as null."""
    rows = [{"step": i, "loss": None if i > 5 else 0.69, "learning_rate": 1e-5} for i in range(1, 11)]
    found = diagnose(make_log("x", rows))
    assert (found.main, found.sign.since_step) == ("numerics", 6)


def test_an_accuracy_beside_nan_rewards_does_not_count() -> None:
    rows = [
        {"step": i, "loss": 0.5, "rewards/margins": math.nan, "rewards/accuracies": 0.0} for i in range(9)
    ]
    assert len(make_log("x", rows).curve("rewards/accuracies")) == 0


def test_a_checkpoint_directory_is_read_by_its_last_checkpoint(tmp_path: Path) -> None:
    for step in (90, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        rows = [{"step": step - 80, "loss": 1.0}, {"step": step, "loss": 1.0}]
        write(tmp_path / f"checkpoint-{step}/trainer_state.json", json.dumps({"log_history": rows}))
    assert read_log(tmp_path).train[-1]["step"] == 100
    assert read_log(tmp_path / "checkpoint-90").train[-1]["step"] == 90


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no training metrics"),
        ("{}", "no training metrics"),
        ("[1, 2]", "no training metrics"),
        ('{"log_history": []}', "no training metrics"),
        ('{"loss"', "no training metrics"),
        ("hello,world\n1,2", "no training metrics"),
        ("[" * 100_000, "no training metrics"),
        ('[{"loss": "high"}]', "none with a loss"),
        ('{"log_history": [{"train_loss": 0.1, "train_runtime": 5}]}', "none with a loss"),
    ],
)
def test_what_is_no_log_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ProbeError, match=told) as error:
        read_log(write(tmp_path / "log.json", text))
    assert "\n" not in str(error.value)


def test_missing_and_binary_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"\xff\xff\x00\x01")
    for path, told in (
        (tmp_path / "none.json", "No such file"),
        (tmp_path, "no trainer_state"),
        (tmp_path / "weights", "UTF-8"),
    ):
        with pytest.raises(ProbeError, match=told):
            read_log(path)


def test_numbers() -> None:
    assert as_number("0.5") == as_number([0.25, "0.75"]) == 0.5
    assert as_number(10**400) == math.inf
    assert as_number(-(10**400)) == as_number("-1e39") == -math.inf
    assert math.isnan(as_number("nan") or 0.0)
    assert as_number("high") is as_number({}) is as_number([]) is as_number(["a"]) is None


NAMES = st.sampled_from(
    [
        "step",
        "stage",
        "max_steps",
        "total_steps",
        "loss",
        "grad_norm",
        "learning_rate",
        "epoch",
        "kl",
        "reward",
        "reward_std",
        "eval_loss",
        "eval_a_loss",
        "eval_a_runtime",
        "eval_runtime",
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
        "nll_loss",
        "log_odds_chosen",
        "train_runtime",
        "train_loss",
        "min_reward",
    ]
)
VALUES = st.one_of(
    st.floats(),
    st.integers(),
    st.none(),
    st.booleans(),
    st.sampled_from(["nan", "0.5", "inf", "x", "", 1e308, -1e308, 5e-324, 0.6931]),
    st.lists(st.floats(), max_size=2),
)


@settings(max_examples=300)
@example([{"step": 0.0, "loss": 0.0}, {"step": 5e-324, "loss": 0.0}])
@example([{**where, "loss": 0.0} for where in ({"epoch": -1}, {}, {"step": 0, "epoch": 0}, {}, {"step": -1})])
@given(st.lists(st.dictionaries(NAMES, VALUES), max_size=30))
def test_any_entries_give_a_diagnosis_that_is_plain_json(entries: list[dict[str, Any]]) -> None:
    log = make_log("x", entries)
    if not log.rows:
        return
    found = diagnose(log)
    assert found.sign.evidence
    told = to_json({"autopsy": diagnosis_json(found), "log_history": history(log)})
    json.dumps(told, allow_nan=False)
    assert all(len(line) <= 38 for panel in panels(told["log_history"]) for line in draw(panel))
    run = Run("autopsy", "2026-11-21T12:00:00Z", details={"training": told})
    assert len(drawn_panels(run)) == len(panels(told["log_history"]))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(NAMES, st.text(max_size=4)), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=200)
@given(value=JSON)
def test_any_json_gives_a_diagnosis_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.json", json.dumps(value))
    try:
        assert diagnose(read_log(path)).main
    except ProbeError as error:
        assert "\n" not in str(error)


@settings(max_examples=200)
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: ("loss," + t).encode()))
)
def test_any_bytes_give_a_diagnosis_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(content)
    try:
        assert diagnose(read_log(path)).main
    except ProbeError as error:
        assert str(path) in str(error)


def test_a_log_that_claims_billions_of_steps_is_read_at_once():
    """A row per 10⁹ steps whose loss fell: no list of as many candidates is made."""
    assert finite_steps(0.3, 0.7, 10**9) is None and finite_steps(0.35, 0.7, 10) is not None
    rows = [{"step": (i + 1) * 10**9, "loss": loss} for i, loss in enumerate([0.7, 0.69, 0.3, 0.0, 0.0])]
    assert diagnose(make_log("x", rows)).sign.evidence


@pytest.mark.parametrize(
    "claim",
    [
        "gradient_accumulation_steps=128", "gradient_accumulation_steps=1000000000",
        "logging_steps=1000000000",
        "gradient_accumulation_steps=" + "9" * 5000, "total optimization steps = " + "9" * 5000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("every", [1, 1000, 10**9])
def test_what_stands_beside_a_log_may_claim_any_number(tmp_path, claim, every):
    """Of four rows the third and the fourth were NaN; a thousand steps of 128 batches overflow a float."""
    rows = [(0.69, 1.0), (0.65, 1.1), (0.3, math.nan), (0.0, math.nan)]
    lines = [str({"loss": loss, "grad_norm": g, "step": (i + 1) * every}) for i, (loss, g) in enumerate(rows)]
    path = tmp_path / "run.log"
    path.write_text("\n".join([claim, *lines]))
    assert diagnose(read_log(path)).main == "numerics"


@pytest.mark.parametrize("total", [math.inf, 1e308, "1e999", 10**400], ids=["inf", "1e308", "text", "long"])
def test_a_total_that_is_no_count_is_not_known(total):
    log = make_log("x", [{"step": i + 1, "loss": 0.69, "max_steps": total} for i in range(3)])
    assert log.hints.max_steps is None
