"""The share of flipped labels: right where margins tell, no answer where they do not."""

import numpy as np
import pytest

from probe.pairs.record import Pair
from probe.probes.negatives.classify import Separation
from probe.probes.negatives.suspects import judge_suspects
from probe.stats.label_noise import label_noise


def margins(share, n=300, mean=2.0, seed=0):
    rng = np.random.default_rng(seed)
    flipped = rng.random(n) < share
    return np.where(flipped, -1, 1) * rng.normal(mean, 1.0, n), flipped


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_the_share_is_found_within_its_interval(share):
    values, flipped = margins(share)
    estimate, mixture = label_noise(7 * values, np.arange(len(values)))  # whatever the scale
    assert estimate.low <= flipped.mean() <= estimate.high
    assert estimate.value == pytest.approx(flipped.mean(), abs=0.05)
    if share:
        wrong = mixture.flipped(values / np.sqrt(np.mean(values**2))) > 0.5
        assert (wrong == flipped).mean() > 0.9


@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_hard_pairs_are_not_called_flipped(mean):
    estimate, _ = label_noise(margins(0.3, mean=mean)[0], np.arange(300))
    assert estimate.value is None and "cannot say" in estimate.method


def test_few_pairs_have_no_answer():
    assert label_noise(margins(0.3, n=15)[0], np.arange(15))[0].value is None


def test_suspects_are_named_with_their_lines():
    values, flipped = margins(0.3)
    pairs = [Pair(str(i), f"prompt {i}", "a", "b", line=i + 1) for i in range(len(values))]
    measured, wrong = judge_suspects(Separation(values, np.arange(300), np.zeros(0)), pairs, 0.05, 0)
    (finding,) = measured.findings
    assert finding.code == "PB230" and finding.estimate.name == "label_noise"
    listed = {row["line"] for row in measured.details["suspects"]}
    assert listed == {i + 1 for i in np.flatnonzero(wrong > 0.5)}
    assert np.mean([flipped[line - 1] for line in listed]) > 0.9
    clean, none = judge_suspects(
        Separation(margins(0.0, mean=0.2)[0], np.arange(300), np.zeros(0)), pairs, 0.05, 0
    )
    assert not clean.findings and not none.any()
