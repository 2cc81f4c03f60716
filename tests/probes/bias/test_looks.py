"""Bias look by look: error at most alpha whichever look ends it, and the same pairs for a seed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from probe.pairs.record import Pair
from probe.probes.bias.judge import judge_bias
from probe.probes.bias.looks import look_settles, looked, sampled
from probe.probes.bias.sizes import sizes
from probe.probes.order import by_prompt, drawn
from probe.records import Estimate
from probe.scoring.scores import PairScore, SideScore
from probe.scoring.table import ScoreTable

ALPHA, BOUND, LOOKS = 0.2, 0.1, (32, 96)


def pair(i, prompt=None):
    return Pair(str(i), f"prompt {i if prompt is None else prompt}", f"yes {i}", f"no {i}", line=i)


@dataclass
class Faked:
    """A session whose pair on line i has the gap `gaps[i - 1]`."""

    gaps: np.ndarray
    asked: list[int] = field(default_factory=list)

    @property
    def source(self):
        return self

    def pairs(self):
        return [pair(i + 1) for i in range(len(self.gaps))]

    def scores_of(self, pairs, what):
        self.asked += [p.line for p in pairs]
        return [PairScore(p.id, side(self.gaps[p.line - 1] - 2), side(-2.0), None, p.line) for p in pairs]


def side(mean):
    return SideScore(np.full(10, mean, np.float32), 40)


def verdict(session, limit=None):
    for look in looked(session, LOOKS, ALPHA, 0):
        result = judge_bias(ScoreTable(look.scores), alpha=look.alpha, bound=BOUND)
        if look.last or look_settles(result, limit):
            break
    return result.rows[0].verdict, len(look.scores), look


@pytest.mark.parametrize(
    ("n", "ends"),
    [(20, (20,)), (40, (40,)), (41, (32, 41)), (119, (32, 119)), (121, (32, 96)), (9999, (32, 96))],
)
def test_no_look_beyond_the_file_and_none_for_a_few_pairs_more(n, ends):
    assert sizes(n, LOOKS) == ends
    assert sizes(n, ()) == (n,)


@pytest.mark.parametrize("gap", [BOUND, -BOUND])
def test_a_gap_at_the_bound_is_called_a_preference_at_most_at_alpha(gap):
    """100 files of 400 pairs whose true gap is the bound: `favours` and `neutral` are both wrong there."""
    rng, wrong, second = np.random.default_rng(1), 0, 0
    for _ in range(100):
        told, n, _ = verdict(Faked(rng.normal(gap, 0.4, 400)))
        wrong += told in ("favours chosen", "favours rejected")
        second += n == LOOKS[-1]
    assert wrong / 100 <= ALPHA
    assert second > 50  # most of them do look twice


def test_a_clear_file_is_settled_by_the_first_look_at_any_size():
    rng = np.random.default_rng(2)
    session = Faked(rng.normal(1.0, 0.5, 20_000))
    told, n, look = verdict(session)
    assert (told, n, look.alpha) == ("favours chosen", LOOKS[0], ALPHA / 2)
    assert len(session.asked) == LOOKS[0] and len(set(session.asked)) == LOOKS[0]


def test_a_limit_on_the_gap_is_settled_too():
    session = Faked(np.random.default_rng(3).normal(0.6, 0.4, 400))
    assert verdict(session)[1] == LOOKS[0]
    assert verdict(session, limit=0.6)[1] == LOOKS[1]


def test_what_was_sampled_is_said_with_its_interval():
    gap = Estimate("gap", 0.5, 0.45, 0.55, 512, None, "t", "nats/token")
    result = type("R", (), {"estimates": (gap,)})()
    told = sampled(result, 512, 100_000, 0.025, 514)
    assert told.code == "PB608" and "512 pairs of 100,000" in told.message and "± 0.050" in told.message
    assert sampled(result, 512, 512, 0.05, 512) is None
    assert sampled(result, 510, 512, 0.05, 512) is None  # two have no score, and all were read


def test_the_order_is_the_seeds_nested_and_survives_a_longer_file():
    pairs = [pair(i, i // 3) for i in range(300)]
    order = [p.line for p in by_prompt(pairs, 0)]
    assert order == [p.line for p in by_prompt(pairs[::-1], 0)] != [p.line for p in by_prompt(pairs, 1)]
    assert {p.line for p in drawn(pairs, 50, 0)} < {p.line for p in drawn(pairs, 90, 0)}
    longer = [p.line for p in by_prompt([*pairs, *(pair(i) for i in range(300, 600))], 0) if p.line < 300]
    assert longer == order
    assert [p.line for p in drawn(pairs, 50, 0)] == sorted(p.line for p in drawn(pairs, 50, 0))


def test_prompts_are_drawn_uniformly():
    """Of 300 prompts 60 are drawn; over 200 seeds each is drawn about 40 times (binomial sd 5.7)."""
    pairs = [pair(i) for i in range(300)]
    times = np.bincount([p.line for s in range(200) for p in drawn(pairs, 60, s)], minlength=300)
    assert abs(times - 40).max() < 5 * 5.7
