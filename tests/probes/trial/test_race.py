"""Which of two methods is the better on unseen pairs: prompt by prompt, since those of one lean together."""

import numpy as np
import pytest
from scipy import stats

from probe.probes.trial.passes import Pass
from probe.probes.trial.race import RacedMethod, RaceStanding, beats, winner


def standing(method, cost, ranks, prompts):
    """A candidate without samples that ranks these unseen pairs right (1) or wrong (−1)."""
    ranks, n = np.asarray(ranks, float), len(ranks)
    unseen = Pass(ranks, ranks, ranks, np.ones(n), [str(p) for p in prompts], list(range(n)), np.zeros(n))
    return RaceStanding(RacedMethod(method, cost, [1], unseen), None, None, None, None, True)


@pytest.mark.parametrize(("up", "down"), [(12, 2), (9, 5), (3, 8)])
def test_pairs_of_different_prompts_are_compared_by_mcnemar(up, down):
    one = [1] * up + [-1] * down + [1] * 6
    other = [-1] * up + [1] * down + [1] * 6
    found = beats(*(standing("m", 1, ranks, range(len(one))) for ranks in (one, other)))
    expected = stats.binomtest(up, up + down).pvalue if up > down else 1.0
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("each", [1, 5, 40])
def test_more_pairs_of_the_same_prompts_say_no_more(each):
    """Three prompts against one, whatever the number of their pairs."""
    prompts = np.repeat(np.arange(4), each)
    one, other = np.where(prompts < 3, 1, -1), np.where(prompts < 3, -1, 1)
    found = beats(standing("dear", 2, one, prompts), standing("cheap", 1, other, prompts))
    assert found == pytest.approx(stats.binomtest(3, 4).pvalue)


def test_equal_methods_whose_prompts_lean_together_are_told_apart_as_rarely_as_alpha_says():
    rng, won = np.random.default_rng(0), 0
    prompts = np.repeat(np.arange(8), 8)
    for _ in range(200):
        lean, noise = rng.normal(0, 1, 8)[prompts], rng.normal(0, 0.3, (2, 64))
        dear, cheap = (
            standing(name, cost, np.sign(0.5 + sign * lean + some), prompts)
            for name, cost, sign, some in (("dpo", 2, 1, noise[0]), ("sft", 1, -1, noise[1]))
        )
        won += winner([dear, cheap], 0.05) is dear
    assert won <= 10
