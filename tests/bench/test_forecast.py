"""The forecast bench: its statistics, what it makes of rows whose answer is known, and that it goes on."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probe.errors import ProbeError
from probe.gate.conditions import RULES
from probe.gate.registry import FORECAST_SOURCE
from probe.records import Decision, Estimate, Run
from probe.runs import save_run

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import forecast  # noqa: E402
import forecast_cells as cells  # noqa: E402
import forecast_decision as decision  # noqa: E402
import forecast_limits as limits  # noqa: E402
import forecast_own as own  # noqa: E402
import forecast_report as report  # noqa: E402
import forecast_runs as runs  # noqa: E402
import forecast_seeds as seeds  # noqa: E402
import forecast_sets as sets  # noqa: E402
import forecast_stats as stats  # noqa: E402


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(stats, "DRAWS", 200)


AS_PRINTED = stats.DRAWS
NAMES = [f"set{i}" for i in range(10)]


def run_row(name, method="dpo", gains=(1.0,), start=0.0, variant="short"):
    """A run whose pair i starts with gap `start` and gains `gains[i]` nats of margin; one token a side."""
    held_out = [[-1.0, -1.0 - start, -1.0 + gain / 2, -1.0 - start - gain / 2, 1, 1] for gain in gains]
    evaluations = [{"step": s, "loss": 1.0, "perplexity": 10.0 + s, "repetition": 0.1 * s} for s in (0, 1)]
    return {
        "key": f"m/{name}/{method}/{variant}/0", "model": "m", "set": name, "method": method,
        "variant": variant, "seed": 0, "held_out": held_out, "evaluations": evaluations,
        "guard": [[1, "warn PB809"]], "stages": [{"method": method, "steps": 1, "best_step": 1}],
    }  # fmt: skip


def probe_row(name, *, learns=True, **estimates):
    """Probes of a set on which DPO is decided, or (`learns` False) nothing."""
    known = {"trial_accuracy": [0.9, 0.8, 1.0] if learns else [0.4, 0.3, 0.5]}
    return {
        "key": f"m/{name}/probes/short/0", "model": "m", "set": name, "method": "probes", "variant": "short",
        "seed": 0, "estimates": known | {k: [v, v - 0.1, v + 0.1] for k, v in estimates.items()},
        "findings": [["PB705", "info"]], "bias": ["neutral"], "baselines": {"number of pairs": 40},
        "pairs": 40, "model_facts": {"parameters": 135_000_000}, "provenance": {"created": "2026-01-01"},
    }  # fmt: skip


def known_grid():
    """Set i: i + 1 of 10 pairs gain, which `signal_accuracy` says and `gap` says backwards."""
    rows = []
    for i, name in enumerate(NAMES):
        gains = [1.0] * (i + 1) + [-1.0] * (9 - i)
        rows += [
            probe_row(name, signal_accuracy=(i + 1) / 10, gap=-float(i), win_rate=0.5),
            run_row(name, gains=gains),
            run_row(name, "sft", gains=[0.1] * 10),
        ]
    return rows


def line_of(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


# --- statistics -----------------------------------------------------------------------------------------


def test_auc_counts_pairs_of_cases():
    assert stats.auc([1, 2, 3, 4], [False, False, True, True]) == 1.0
    assert stats.auc([4, 3, 2, 1], [False, False, True, True]) == 0.0
    assert stats.auc([1, 1, 2], [True, False, False]) == pytest.approx(0.25)
    assert stats.auc([1, 2], [True, True]) is None


def test_rank_correlation_and_its_interval():
    x = list(range(12))
    noisy = [v + (-1) ** v * 3 for v in x]
    assert stats.spearman([1, 2, 2, 4], [1, 3, 2, 2]) == pytest.approx(0.5)
    value, low, high = stats.bootstrap(x, noisy, [str(v) for v in x], stats.spearman)
    assert value == pytest.approx(stats.spearman(x, noisy))
    assert low < value < high <= 1
    assert stats.bootstrap(x[:5], noisy[:5], list("abcde"), stats.spearman) == [None, None, None]
    assert stats.spearman([1, 1, 1], [1, 2, 3]) is None


def test_sets_are_redrawn_whole():
    """Twenty runs on two sets are two draws, not twenty: the interval must be as wide as two allow."""
    x = [0.0] * 10 + [1.0] * 10
    y = [i % 3 for i in range(10)] + [i % 3 + 1 for i in range(10)]
    many = stats.bootstrap(x, y, [str(i) for i in range(20)], stats.spearman)
    two = stats.bootstrap(x, y, ["a"] * 10 + ["b"] * 10, stats.spearman)
    assert many[1] is not None
    assert two[1:] == [None, None]  # half of the draws hold one set only, where nothing varies


def test_a_line_is_forecast_without_error_and_its_own_set_is_left_out():
    x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    line, mean = stats.left_out(x, [2 * v + 1 for v in x], NAMES[:6]).mean(axis=0)
    assert line == pytest.approx(0) and mean > 1
    spike = [0.0, 0.0, 0.0, 0.0, 0.0, 10.0]
    assert stats.left_out(x, spike, NAMES[:6]).mean(axis=0)[1] >= 10 / 6  # the spike cannot forecast itself
    assert stats.left_out(x, spike, ["a"] * 6) is None


def test_mcnemar_on_turned_pairs():
    one, other = np.array([True] * 6 + [False] * 4), np.zeros(10, bool)
    assert stats.mcnemar(one, other) == pytest.approx(2 / 64)
    assert stats.mcnemar(one, one) == 1.0


# --- outcomes -------------------------------------------------------------------------------------------


def test_outcome_by_hand():
    row = run_row("a")
    row["held_out"] = [[-4.0, -2.0, -2.0, -4.0, 2, 1], [-4.0, -2.0, -8.0, -4.0, 2, 1]]
    got = stats.outcome(row)
    # Before, both are -2 a token; after, the first is -1 to -4 and the second -4 to -4.
    assert got.won_before.tolist() == [False, False] and got.won_after.tolist() == [True, False]
    assert (got.reward_accuracy, got.margin) == (0.5, (4 - 2) / 2)
    assert got.chosen_change == pytest.approx((1 - 2) / 2) and got.rejected_change == -2
    assert got.perplexity_ratio == 1.1 and got.repetition_rise == pytest.approx(0.1)


def test_early_margins_rank_what_ends_misranked():
    early = run_row("a", gains=[0.1, 0.2, 0.3, 0.4])
    assert stats.early_auc(early, run_row("a", gains=[-1, -1, 1, 1])) == 1.0
    assert stats.early_auc(early, run_row("a", gains=[1, 1, -1, -1])) == 0.0
    assert stats.early_auc(early, run_row("a", gains=[1, 1, 1, 1])) is None


# --- tables ---------------------------------------------------------------------------------------------


def test_tables_find_the_predictor_that_knows():
    text = report.tables(known_grid(), range(99))
    assert "**incomplete**: 30 of 99" in text
    signal, gap = line_of(text, "| signal accuracy"), line_of(text, "| *gap*")
    assert "| 1.00 [1.00, 1.00] | 1.00 [1.00, 1.00] | 0.000 |" in signal
    assert "| +0.000 [+0.000, +0.000] |" in signal  # `gap` knows as much, backwards
    assert "-1.00" in gap
    assert "| 10 | – | 0.50 [0.50, 0.50] |" in line_of(text, "| *number of pairs*")  # it does not vary
    assert "**incomplete**" not in report.tables(known_grid(), range(30))


def test_tables_say_what_they_cannot():
    text = report.tables([probe_row("set0", signal_accuracy=0.5), run_row("set0")], range(9))
    assert "Not said yet: 1 of the 6 DPO runs" in text and "| signal accuracy" not in text
    assert "No cell has both core runs" in text
    assert "Not measured yet" in text
    assert report.tables([], range(9))


def test_decisions_are_scored_beside_fixed_rules():
    """Ten pairs won from none is beyond noise: DPO is best where it is decided, else nothing is."""
    rows = []
    for i, name in enumerate(NAMES):
        good = i < 6
        rows += [
            probe_row(name, learns=good, win_rate=0.2),
            run_row(name, gains=[3.0] * 10 if good else [-3.0] * 10, start=-1.0 if good else 1.0),
            run_row(name, "sft", gains=[0.0] * 10, start=-1.0 if good else 1.0),
        ]
    text = "\n".join(decision.decisions(cells.cells_of(rows)))
    assert "10 of 10" in line_of(text, "| **decision table**")
    assert "6 of 10" in line_of(text, "| always DPO") and "4 of 10" in line_of(text, "| never train")
    assert "0.400" in line_of(text, "| always DPO")
    assert "4 of 10 cells even the untrained" in text


def test_the_decision_is_todays():
    """Stored probes are judged by the table as it is, as `probe gate RUN` does."""
    assert cells.decided(probe_row("a")).method == "dpo"
    assert cells.decided(probe_row("a", learns=False)).method == "do-not-train"
    sinking = probe_row("a") | {"findings": [["PB503", "warning"]]}
    assert cells.decided(sinking).method == "dpo+nll"
    broken = probe_row("a") | {"findings": [["PB301", "error"]]}
    assert cells.decided(broken).method == "fix-data"


def test_a_decision_that_was_not_run_is_not_scored():
    rows = [probe_row("set0") | {"findings": [["PB503", "warning"]]}, run_row("set0"), run_row("set0", "sft")]
    assert list(decision.decisions(cells.cells_of(rows))) == [
        "No cell has both core runs and the decided one yet."
    ]


def test_the_page_shows_the_stored_results(monkeypatch):
    stored = forecast.load(forecast.STORE)
    monkeypatch.setattr(stats, "DRAWS", AS_PRINTED)
    page = (ROOT / "docs/validity-appendix.md").read_text(encoding="utf-8")
    assert report.with_tables(page, stored, forecast.grid(stored)) == page
    assert report.tables(stored, forecast.grid(stored)) in page
    assert all({"created", "git", "python", "torch"} <= row["provenance"].keys() for row in stored)


def cell_of(*rows, learns=True):
    (cell,) = cells.cells_of([probe_row("set0", learns=learns), *rows])
    return cell


def test_what_paid_by_hand():
    def paid(*gains):
        return decision.paid(stats.outcome(run_row("a", gains=gains)))

    assert paid(*[1.0] * 6)  # 2/64
    assert not paid(*[1.0] * 5)  # 2/32
    assert paid(*[1.0] * 9, -1.0) and not paid(*[1.0] * 8, -1.0, -1.0)
    assert not paid(*[-1.0] * 10) and not paid(*[0.0] * 10)
    sunk = run_row("a", gains=[1.0] * 10)
    sunk["held_out"] = [[-1.0, -1.0, -1.6, -9.0, 1, 1]] * 10  # all margins rise while chosen falls by .6
    assert not decision.paid(stats.outcome(sunk))
    long = run_row("a", gains=[1.0] * 10)
    long["held_out"] = [[-20.0, -2.0, -18.0, -1.5, 20, 2]] * 10  # +2 on 20 tokens, +.5 on 2: length alone
    assert stats.outcome(long).reward_accuracy == 1.0 and stats.outcome(long).token_accuracy == 0.0
    assert not decision.paid(stats.outcome(long))


def test_a_choice_is_right_where_it_paid_and_where_nothing_did():
    up, flat = [1.0] * 10, [1.0, -1.0] * 5
    taught = cell_of(run_row("set0", gains=up), run_row("set0", "sft", gains=flat))
    assert taught.choice == cells.BASE
    assert decision.right(taught, cells.BASE)
    assert not decision.right(taught, cells.IMITATE) and not decision.right(taught, cells.NONE)
    idle = cell_of(run_row("set0", gains=flat), run_row("set0", "sft", gains=flat), learns=False)
    assert idle.choice == cells.NONE == "none"
    assert decision.right(idle, cells.NONE) and not decision.right(idle, cells.BASE)
    worse = cell_of(run_row("set0", gains=up), run_row("set0", "sft", gains=[*[1.0] * 9, -1.0]))
    assert decision.right(worse, cells.IMITATE)  # it paid, and one pair is within noise
    text = "\n".join(decision.worth([taught]))
    assert "| **decision table** | – | 1 of 1" in text and "| always SFT | – | 0 of 1" in text
    taught.model = decision.SEEN
    assert "| **decision table** | 1 of 1" in "\n".join(decision.worth([taught]))
    assert "Wrong" not in text


def test_seeds_are_shown_side_by_side():
    runs = [run_row("set0", gains=[1.0] * k + [-1.0] * (10 - k)) | {"seed": i} for i, k in enumerate((6, 8))]
    text = seeds.seeds([*runs, run_row("set1")])
    assert "| set0 (m) | dpo | 0.60 / 0.60, 0.80 / 0.80 |" in text and "set1" not in text
    assert "between seeds: 0.141 of" in text  # √(2 · .1²)
    assert seeds.seeds([run_row("set1")]) == "One seed only so far."


def test_methods_are_counted_beside_dpo():
    up, flat = [1.0] * 10, [1.0, -1.0] * 5
    rows = [probe_row("set0"), run_row("set0", gains=up), run_row("set0", "sft", gains=flat)]
    rows += [probe_row("set1"), run_row("set1", gains=flat), run_row("set1", "sft", gains=up)]
    rows += [probe_row("set2"), run_row("set2", "orpo", gains=up)]  # no DPO to compare with
    text = decision.methods(cells.cells_of(rows))
    assert "| dpo | 2 | 1 | 0 | 0 |" in text and "| sft | 2 | 1 | 1 | 1 |" in text and "orpo" not in text


def test_easy_pairs_are_scored_elsewhere_too():
    easy = run_row("set0", gains=[1.0] * 10)
    easy["elsewhere"] = run_row("set0", gains=[1.0, -1.0])["held_out"]
    text = "\n".join(decision.elsewhere([cell_of(easy, run_row("set0", "sft"))]))
    assert "| set0 (m) | dpo | 1.00 / 1.00 | 0.50 / 0.50 | 2 | no |" in text and "sft" not in text
    assert list(decision.elsewhere([cell_of(run_row("set0"))])) == ["Not measured yet."]


def test_a_limit_is_read_off_and_held_to_left_out_sets():
    x, y = np.array([0.1, 0.2, 0.6, 0.7, 0.9]), np.array([False, False, True, False, True])
    assert limits.best_cut(x, y) == (0.2, 0.6)  # one error; so has .7 to .9, which is narrower
    assert [limits.errors(x, y, cut) for cut in (0.05, 0.4, 0.8)] == [3, 1, 1]
    clear = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9])
    names = np.array(list("abcdefgh"))
    assert limits.left_out(clear, clear > 0.5, names) == 0
    assert limits.left_out(clear, np.arange(8) % 2 == 0, names) >= 4  # nothing to read off
    text = limits.limits(cells.cells_of(known_grid()))
    # 9 and 10 of 10 margins up are beyond chance, 8 are not
    assert "| `signal_accuracy` | 0.6 | DPO paid | 2 of 4 | 0 of 6 | 2 | 0.80 to 0.90 | 0 |" in text
    assert "trial_accuracy" in text and "surface_accuracy" not in text
    assert limits.limits([]) == "Not said below 6 DPO runs."


def test_limits_called_measured_are_borne_out_by_the_stored_runs():
    """Below the limit of the signal nothing pays; above the others their event is the rule."""
    judged = [c for c in cells.cells_of(forecast.load(forecast.STORE)) if cells.BASE in c.runs]
    places = f"{len({c.set for c in judged})} sets × {len({c.model for c in judged})} models"
    assert f"measured on {places}" == FORECAST_SOURCE
    named = {name for name, rule in RULES.items() if rule.source.startswith(FORECAST_SOURCE)}
    asked = {one.estimate: one for one in limits.QUESTIONS}
    assert named == {"signal_accuracy", "surface_accuracy", "states_accuracy"}
    for name in named | {"trial_half_accuracy"}:
        sides = {True: [], False: []}
        for cell in (c for c in judged if c.known(name) is not None):
            sides[cell.known(name) > asked[name].now].append(asked[name].happened(cell.runs[cells.BASE]))
        assert not any(sides[False]) if name == "signal_accuracy" else np.mean(sides[True]) > 0.8


# --- the grid -------------------------------------------------------------------------------------------


def test_the_grid_names_each_cell_once_and_decided_methods_early():
    row = probe_row("human") | {"model": forecast.SMALL, "findings": [["PB503", "warning"]]}
    before, after = forecast.grid([]), forecast.grid([row])
    assert len({cell.key for cell in before}) == len(before)
    decided = runs.Cell(forecast.SMALL, "human", "dpo_nll")
    assert after.index(decided) == 3 < before.index(decided)
    assert {cell.variant for cell in before} == set(runs.VARIANTS)
    core = forecast.core([row])
    assert set(core) <= set(after) and decided in core
    assert {(cell.variant, cell.seed) for cell in core} == {("short", 0)}
    assert {"dpo", "sft", "dpop", "dpo_nll", "orpo", "sft+dpo", "probes"} == {cell.method for cell in before}


def test_a_killed_grid_goes_on(tmp_path, monkeypatch):
    asked = []

    def measure(cell, path):
        asked.append(cell.key)
        if cell.method == "sft":
            raise RuntimeError("out of memory")
        if len(asked) == 4:
            raise KeyboardInterrupt
        row = probe_row(cell.set) if cell.method == "probes" else run_row(cell.set)
        return {**row, "key": cell.key, "model": cell.model}

    core = [runs.Cell("m", s, m) for s in ("cico_insulin", "length_gap") for m in ("probes", "sft", "dpo")]
    monkeypatch.setattr(forecast, "measure", measure)
    store = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        forecast.run(store, list(sets.SETS), {"m": None}, None, lambda rows: core)
    forecast.run(store, list(sets.SETS), {"m": None}, None, lambda rows: core)
    stored = [row["key"] for row in forecast.load(store)]
    assert sorted(stored) == sorted(cell.key for cell in core if cell.method != "sft")
    assert asked.count("m/cico_insulin/probes/short/0") == 1  # what is stored is not measured again
    assert asked.count("m/cico_insulin/sft/short/0") == 2  # what failed is tried once a start


def test_hot_is_hot_and_early_is_early():
    hot, usual = (runs.options_of(runs.Cell("m", "blimp", "dpo", v)) for v in ("hot", "short"))
    assert hot.changes["learning_rate"] == pytest.approx(runs.HOT * 5e-5)
    assert "learning_rate" not in usual.changes
    assert runs.options_of(runs.Cell("m", "blimp", "dpo", "early")).changes["epochs"] < 1
    assert runs.options_of(runs.Cell("m", "blimp", "dpo", "float16")).full


# --- sets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sets.SETS)
def test_no_prompt_is_on_both_sides(name):
    if not sets.is_bundled(name) and not sets.SHARED.is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    train, test = sets.SETS[name].split()
    prompts = [{row.get("prompt") or row["chosen"] for row in part} for part in (train, test)]
    assert not prompts[0] & prompts[1]
    assert len(train) >= 24 and len(test) >= 16
    assert (train, test) == sets.SETS[name].split()


def test_the_harder_pairs_are_those_of_the_held_out_prompts():
    _, test = sets.SETS["epistemic_stance"].split()
    harder = sets.harder("epistemic_stance", test)
    assert {row["prompt"] for row in harder} == {row["prompt"] for row in test}
    assert {row["rejected"] for row in harder}.isdisjoint(row["rejected"] for row in test)
    assert sets.harder("human", test) == []


def test_shuffling_flips_about_half():
    rows = [{"prompt": str(i), "chosen": "good", "rejected": "bad"} for i in range(400)]
    flipped = sum(row["chosen"] == "bad" for row in sets.shuffled(lambda: iter(rows))())
    assert 160 < flipped < 240


# --- a true run, and users' own -------------------------------------------------------------------------


def test_a_run_from_end_to_end(tiny_model_dir, monkeypatch):
    """Probes and a training of a tiny model on a bundled set give rows that the tables can read."""
    for name, small in (("PERMUTATIONS", 19), ("GRADIENTS", 4), ("TRIAL_STEPS", 1)):
        monkeypatch.setattr(runs, name, small)
    monkeypatch.setattr(runs, "SHORT", {"batch": 8, "epochs": 1})
    model = str(tiny_model_dir)
    rows = [runs.measure(runs.Cell("tiny", "low_contrast", m), model) for m in ("probes", "dpo", "sft")]
    json.dumps(rows, allow_nan=False)
    (cell,) = cells.cells_of(rows)
    assert 0 <= cell.known("trial_accuracy") <= 1 and 0 <= cell.known("signal_accuracy") <= 1
    dpo = cell.runs[cells.BASE]
    assert dpo.finite and len(dpo.won_after) == 16
    assert (dpo.margin, dpo.chosen_change) != (0, 0)  # the weights that were scored are the trained ones
    assert cell.runs[cells.IMITATE].chosen_change > 0
    assert "| low_contrast (tiny)" in report.tables(rows, range(9))


def test_a_users_run_is_added_with_its_gate(tmp_path):
    inputs = {
        "pairs": {"path": "mine.jsonl", "sha256": "a" * 64},
        "model": {"name": "m", "weights_sha256": "c" * 64},
        "split": {"train": 40, "held_out": 10},
    }  # fmt: skip
    signal = Estimate("signal_accuracy", 0.7, 0.6, 0.8, 40, None, "", "share")
    changed = {"name": "win rate", "group": "all", "before": 0.5, "after": 0.8}
    details = {
        "before_after": [changed],
        "training": {"stages": [{"method": "dpo"}], "guard": [{"step": 3, "event": "stop PB806"}]},
    }
    train = Run("train", "2026-01-02T00:00:00Z", inputs=inputs, details=details)
    gate = Run(
        "gate",
        "2026-01-01T00:00:00Z",
        estimates=(signal,),
        inputs=inputs,
        decision=Decision("dpo", (), {}, ()),
    )
    other = replace(gate, inputs=inputs | {"pairs": {"sha256": "b" * 64}})
    for name, run in (("train", train), ("gate", gate), ("other", other)):
        save_run(run, tmp_path / name)
    row = own.added(tmp_path / "train", tmp_path / "gate")
    text = report.tables([row], range(9))
    assert "| mine (m) | dpo | 0.70 | – | 0.50 → 0.80 |" in text and "stop PB806" in text
    assert "0 of 9 rows" in text  # it is no part of the grid
    with pytest.raises(ProbeError, match="gated other pairs"):
        own.added(tmp_path / "train", tmp_path / "other")
    with pytest.raises(ProbeError, match="needs --gate"):
        own.added(tmp_path / "train", None)
