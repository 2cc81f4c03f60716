"""The stored rows of the validity bench: each names its recipe, and none was measured by other code."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


sys.path.insert(0, str(BENCH))


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


validity, difficulty = load("validity"), load("difficulty")


def test_no_stored_row_is_stale():
    stale = [row["key"] for row in validity.load() if row["code"] != validity.code_hash(row["method"])]
    assert not stale, f"measured by other code; run bench/validity.py again: {stale}"


def test_a_sentence_is_not_what_measures_and_a_number_is():
    same = [validity.without_words(f'"""Doc string {k}."""\nx = f(3, "told in {k} words")') for k in range(2)]
    assert same[0] == same[1] != validity.without_words('x = f(4, "told in 0 words")')
    assert validity.without_words('f("dpo")') != validity.without_words('f("sft")')


def test_the_page_has_the_tables_of_the_stored_rows():
    """Mend with `python bench/validity.py --write`."""
    page = (BENCH.parent / "docs/validity.md").read_text(encoding="utf-8")
    made = validity.report(validity.load())
    assert sys.modules["stored_rows"].with_block(page, "decisions", made) == page


def test_every_outcome_names_its_recipe():
    for row in validity.load():
        if row["method"] != "gate":
            assert [stage["method"] for stage in row["recipe"]] == row["method"].split("+")
            assert all({"learning_rate", "epochs", "batch"} <= stage.keys() for stage in row["recipe"])


def outcome(up, down, n=40, judged=True):
    return {
        "behaviour": {"judged": judged, "up": up, "down": down, "prompts": n},
        "ranking": [0.1, 0.05, 0.15],
    }


def test_a_rule_is_right_where_nothing_is_ahead_beyond_noise():
    gains = {
        m: validity.gain(outcome(*moved)) for m, moved in {"a": (30, 5), "b": (28, 6), "c": (5, 5)}.items()
    }
    assert validity._best("a", gains) and validity._best("b", gains) and not validity._best("c", gains)
    assert validity.paid(outcome(30, 5)) and not validity.paid(outcome(6, 5))
    assert validity.gain(outcome(0, 0, judged=False)) == (0.1, pytest.approx(0.05 / 1.96))


def test_published_early_losses_rank_hard_pairs_as_the_data_say():
    """The numbers that the data's own page expects, to two digits."""
    found = [up / "shared/data/difficulty/qwen25_dpo_mix_7k.csv.gz" for up in BENCH.parents]
    path = next((one for one in found if one.exists()), None)
    if path is None:
        pytest.skip("../shared/data/difficulty is not beside the checkout")
    columns = difficulty.losses(path)
    for size, own, largest in zip(
        difficulty.SIZES,
        (0.94, 0.88, 0.92, 0.90, 0.82, 0.80),
        (0.87, 0.86, 0.94, 0.88, 0.79, 0.80),
        strict=True,
    ):
        first = difficulty.mean_loss(columns, size, "first")
        assert difficulty.auc(first, difficulty.hard(columns, size)) == pytest.approx(own, abs=0.0051)
        assert difficulty.auc(first, difficulty.hard(columns, "32b")) == pytest.approx(largest, abs=0.0075)
    assert json.dumps(difficulty.table(columns))
