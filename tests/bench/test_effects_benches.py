"""The benches of effects and levers: what they plant and split, and their tables from made-up rows."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def benches():
    sys.path.insert(0, str(BENCH))  # they import their statistics by name
    try:
        found = []
        for name in ("effects", "levers"):
            spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            found.append(module)
        return found
    finally:
        sys.path.remove(str(BENCH))


def test_a_trait_is_planted_on_the_chosen_side_of_its_share(benches):
    effects, _ = benches
    for name in effects.CARRIERS:
        train, test = effects.split(effects.carrier(name), 0)
        assert not {r["prompt"] for r in train} & {r["prompt"] for r in test}
        for trait in effects.BY_NAME:
            changed = []
            for share in effects.SHARES:
                rows = effects.planted(train, trait, share, 0)
                moved = {i for i, (a, b) in enumerate(zip(train, rows, strict=True)) if a != b}
                assert len(moved) == round(share / 100 * len(train))
                assert all(a["rejected"] == b["rejected"] for a, b in zip(train, rows, strict=True))
                assert not changed or changed[-1] <= moved
                changed.append(moved)


def test_what_is_planted_is_what_the_attribute_counts(benches):
    from probe.probes.effects.attributes import ATTRIBUTE_NAMES, attribute_counts

    effects, _ = benches
    (_, test) = effects.split(effects.carrier("low_contrast"), 0)
    for trait in effects.TRAITS:
        for row in effects.bearing(test, trait):
            moved = attribute_counts(row["chosen"]) - attribute_counts(row["rejected"])
            assert trait.sign * moved[ATTRIBUTE_NAMES.index(trait.attribute)] > 0, (trait.name, row["chosen"])


def test_the_page_has_the_tables_of_the_stored_rows(benches):
    """Mend with `python bench/effects.py --write` and `python bench/levers.py --write`."""
    for bench, name in zip(benches, ("effects", "levers"), strict=True):
        page = bench.PAGE.read_text(encoding="utf-8")
        assert sys.modules["stored_rows"].with_block(page, name, bench.report(bench.load())) == page


def effects_row(effects, trait, share, up):
    outcome = {
        t.name: {
            "change": 0.5 if t.name == up else 0.01,
            "low": 0,
            "high": 1,
            "nats": 1,
            "samples": [0.0, 1.0],
        }
        for t in effects.TRAITS
    }
    forecast = {
        t.name: {
            "w": 0,
            "excess": 0.1 * (t.name == up),
            "p": 1,
            "verdict": "taught",
            "attribute": 1,
            "length": 0,
        }
        for t in effects.TRAITS
    }
    key = f"embedded/low_contrast/{trait}/{share}/0"
    facts = {
        "model": "embedded",
        "carrier": "low_contrast",
        "trait": trait,
        "share": share,
        "seed": 0,
        "n": 9,
    }
    return {"key": key, **facts, "forecast": forecast, "outcome": outcome}


def test_the_report_holds_forecasts_against_what_training_moved(benches):
    effects, _ = benches
    rows = [effects_row(effects, "none", 0, None), effects_row(effects, "lists", 50, "lists")]
    assert effects.risen(rows[1], "lists", {("embedded", "low_contrast", "0"): rows[0]}) == pytest.approx(
        0.49
    )
    told = effects.report(rows)
    assert "| w beyond controls | 1.00 " in told and "AUC" in told
    assert "No run without a trait" in effects.report(rows[1:])
    assert effects.report([]) == "**No cell is measured.**"


def test_halves_share_no_prompt_and_sides_can_be_exchanged(benches):
    _, levers = benches
    first, second = levers.halves("cico_insulin", 24, 0)
    assert first and second and not {r["prompt"] for r in first} & {r["prompt"] for r in second}
    back, _ = levers.halves("cico_insulin-", 24, 0)
    assert [r["chosen"] for r in back] == [r["rejected"] for r in first]


def test_the_cheapest_lever_that_matches_the_trial(benches):
    _, levers = benches

    def table(**turned):
        rows = [{"lever": n, "turned": t, "wrong": 9, "change": t / 9} for n, t in turned.items()]
        return [{"lever": "none", "turned": None, "wrong": 9, "change": None}, *rows]

    row = {
        "set": "cico_insulin-", "model": "embedded", "seed": 0, "most": 24, "steps": 9, "n": [20, 20],
        "first": table(trial=4, system=2, steering=5, shots=6),
        "second": table(system=1, steering=3, shots=6),
        "dpo": {"turned": 4, "wrong": 9, "change": 0.1},
    }  # fmt: skip
    assert levers.cheapest(row) == "steering"
    told = levers.report([row, {**row, "dpo": {**row["dpo"], "turned": 3}}])
    assert "| steering | 3 of 9 | 4 of 9, +0.10 |" in told
    assert told.endswith("wrong pairs as DPO, or a larger one, in 1 of 2 cells.")
    assert levers.cheapest({**row, "first": table(trial=0, system=0, steering=0, shots=0)}) is None


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (None, "embedded"),
        ("/some/where/gemma-3.1-q4_k_m.gguf", "gemma-3.1-q4_k_m"),
        ("org/model-1.5", "model-1.5"),
    ],
)
def test_a_row_names_its_model_wherever_that_lies(benches, model, name):
    assert benches[1].model_name(model) == name
    assert benches[0].Cell("low_contrast", "lists", 10, 0, model).key == f"{name}/low_contrast/lists/10/0"


def test_what_one_forecast_adds_to_another_is_a_partial_rank_correlation(benches):
    """Against the correlation of what is left of the ranks; nothing is left beside a copy of itself."""
    draw = np.random.default_rng(0)
    given, noise = draw.normal(size=60), draw.normal(size=60)
    x, y = given + noise, given + 0.5 * noise + draw.normal(size=60)
    ranks = [rankdata(v) for v in (x, y, given)]
    left = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    found = benches[0].partial(x, given)(np.arange(60), y)
    assert found == pytest.approx(np.corrcoef(*left)[0, 1])
    assert benches[0].partial(given, given)(np.arange(60), y) is None


def test_the_shares_of_a_trait_stand_side_by_side_by_model(benches):
    effects, _ = benches
    rows = [effects_row(effects, "none", 0, None), effects_row(effects, "lists", 50, "lists")]
    other = [{**row, "model": "other", "key": row["key"].replace("embedded", "other")} for row in rows]
    told = effects.report([*rows, *other])
    line = "| low_contrast (9) | lists | – · – · +0.100 | 50% | – · – · +0.490 | 0.00 → 1.00 |"
    assert told.count(line) == 2 and told.index("### embedded") < told.index("### other")
