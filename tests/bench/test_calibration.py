"""The simulations of bench/calibration.py in small: every level that a verdict rests on still holds."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from probe.stats import statistics

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import calibration  # noqa: E402
import calibration_cells as simulation  # noqa: E402
import calibration_folds as folds  # noqa: E402
import calibration_report as report  # noqa: E402

SEED = 20


def rows(unit, replicates=1_000, resampled=200):
    cells = simulation.unit_cells(unit, replicates, resampled, SEED)
    return [calibration._row(unit, cell, "", {}) for cell in cells]


@pytest.mark.parametrize("unit", ["normal/10", "t3/20", "skewed/10", "skewed/20", "clustered/50", "ties/20"])
def test_levels_hold(unit):
    found = rows(unit)
    assert sum(row["gates"] for row in found) >= 7
    assert not report.failures(found)


def test_optional_stopping_holds():
    found = rows("stopping", replicates=400)
    assert not report.failures(found)
    peeked = next(row for row in found if "every look" in row["test"])
    assert peeked["hits"] / peeked["replicates"] > 0.2  # what the anytime test is there to prevent


def test_a_plain_t_interval_is_caught(monkeypatch):
    monkeypatch.setattr(statistics, "_straightened", lambda t, q: t)
    monkeypatch.setattr(statistics, "_bent", lambda t, q: t)
    assert {row["test"] for row in report.failures(rows("skewed/20", 2_000, 20))} >= {"mean gap", "TOST"}


def test_ignoring_clusters_is_caught(monkeypatch):
    monkeypatch.setattr(statistics, "cluster_codes", lambda clusters, n: np.arange(n))
    assert "mean gap" in {row["test"] for row in report.failures(rows("clustered/50", 500, 20))}


def test_a_forgotten_correction_is_caught(monkeypatch):
    monkeypatch.setattr("probe.probes.bias.verdict.holm", np.asarray)
    broken = report.failures(rows("normal/20", 20, 300))
    assert "neutral: on the bound" in {row["test"] for row in broken}


def test_populations_are_what_they_say():
    """Mean 0 and variance 1, clusters correlated by one half."""
    rng = np.random.default_rng(0)
    for population in simulation.POPULATIONS:
        x = population.sample(rng, 40_000, 10)
        assert x.mean() == pytest.approx(0, abs=0.03)
        assert x.var() == pytest.approx(1, abs=0.2 if "skewed" in population.name else 0.05)
        assert (x < population.median).mean() == pytest.approx((x > population.median).mean(), abs=0.02)
        assert x.mean(axis=1).std() == pytest.approx(population.error(10), rel=0.03)
    clustered = next(p for p in simulation.POPULATIONS if p.name == "clustered").sample(rng, 40_000, 10)
    assert np.corrcoef(clustered[:, 0], clustered[:, 4])[0, 1] == pytest.approx(0.5, abs=0.02)
    assert np.corrcoef(clustered[:, 0], clustered[:, 5])[0, 1] == pytest.approx(0, abs=0.02)


def test_the_plain_t_of_the_tables_is_students():
    mean = statistics.summarise([0.2, 0.5, 0.1, 0.9, 0.4])
    t = mean.value / mean.se
    assert simulation._student(mean) == (abs(t) <= special.stdtrit(4, 0.975))


def test_a_killed_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "UNITS", ("stopping", "normal/5"))
    store = tmp_path / "rows.jsonl"
    calibration.simulate(store, "v1", 20, 5, 1)
    whole = calibration.load(store)
    kept = [row for row in whole if row["unit"] == "stopping"]
    store.write_text("".join(f"{calibration.json.dumps(row)}\n" for row in kept), encoding="utf-8")
    calibration.simulate(store, "v1", 20, 5, 1)
    again = calibration.load(store)
    assert again[: len(kept)] == kept
    assert [(r["test"], r["hits"]) for r in again] == [(r["test"], r["hits"]) for r in whole]
    calibration.simulate(store, "v2", 20, 5, 1)
    assert {row["code"] for row in calibration.load(store)} == {"v2"}


def test_the_page_shows_the_stored_results():
    stored = calibration.load(calibration.STORE)
    page = (ROOT / "docs/validity-appendix.md").read_text(encoding="utf-8")
    assert report.with_tables(page, stored) == page
    assert report.tables(stored) in page
    assert not report.failures(stored)
    closed = [row for row in stored if row["kind"] in {"coverage", "false positives"}]
    assert min(row["replicates"] for row in closed) >= 2_000
    assert all(math.isfinite(row["mc_error"]) for row in stored)


def test_the_page_shows_the_folds_that_were_simulated():
    page = (ROOT / "docs/validity-appendix.md").read_text(encoding="utf-8")
    assert folds.with_table(page, folds.load(folds.STORE)) == page


def test_a_cell_of_folds_by_hand():
    """A feature that says it all: every pair right, variance 0, and the exact interval ends at 1."""
    row = folds.cell(20, 1, 50.0, 5)
    assert (row["truth"], row["coverage"], row["variance_ratio"], row["rejected"]) == (1.0, 1.0, 0.0, 1.0)
    low = 0.025 ** (1 / 20)
    assert folds.estimate(20, 1, 50.0, 0) == (1.0, pytest.approx(low), 1.0, 1 / 200)
    assert row["width"] == pytest.approx(1 - low, abs=1e-4)


def test_a_cross_validated_interval_covers_where_the_predictions_lean_on_each_other():
    """40 pairs at chance: as independent ones their interval covered 88%, below 92% only by a defect."""
    row = folds.cell(40, 3, 0.0, 400)
    assert row["coverage"] >= 0.92
    assert row["variance_ratio"] > 1.3
    assert row["rejected"] <= 0.085
