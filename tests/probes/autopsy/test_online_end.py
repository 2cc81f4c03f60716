"""An online run is judged by its end as well as by its whole, and by more than its reward."""

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from probe.probes.autopsy.case import Diagnosis
from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log

N = 60
Column = Callable[[float], float]


def grpo(n: int = N, seed: int = 0, noise: float = 0.01, **columns: Column) -> list[dict[str, Any]]:
    """A healthy GRPO log; `columns` are functions of the share done."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        done = i / (n - 1)
        row = {
            "step": i + 1,
            "loss": rng.gauss(0, 0.0005),
            "grad_norm": rng.uniform(0.4, 0.45),
            "learning_rate": 1e-6,
            "reward": 0.3 + 0.4 * done + rng.gauss(0, noise),
            "reward_std": 0.3,
            "frac_reward_zero_std": 0.1,
            "kl": 0.05 * done,
            "entropy": 0.5 - 0.3 * done,
            "completions/mean_length": 200.0,
            "completions/clipped_ratio": 0.02,
        }
        rows.append(row | {name.replace("__", "/"): f(done) for name, f in columns.items()})
    return rows


def found(rows: list[dict[str, Any]]) -> Diagnosis:
    return diagnose(make_log("x", rows))


def tags(rows: list[dict[str, Any]]) -> list[str]:
    return [tag.label for tag in found(rows).tags]


LATE = {
    # What the columns do; the tag; the earliest and the latest step that may be named.
    "clipped at the end": (
        {
            "completions__clipped_ratio": lambda d: min(1.0, 0.1 + d),
            "completions__mean_length": lambda d: 200 + 3800 * d,
        },
        "clipped", (36, 50),
    ),
    "clipped throughout": ({"completions__clipped_ratio": lambda d: 0.9}, "clipped", (1, 1)),
    "no variance at the end": (
        {"frac_reward_zero_std": lambda d: 0.1 if d < 0.7 else 0.95}, "no_signal", (40, 45)
    ),
    "no variance, by the spread": (
        {"frac_reward_zero_std": lambda d: math.nan, "reward_std": lambda d: 0.3 if d < 0.7 else 0.0},
        "no_signal", (40, 45),
    ),
    "KL blown up": ({"kl": lambda d: 50 * d}, "kl_high", (3, 12)),
    "KL blown up at the end": ({"kl": lambda d: 0.05 if d < 0.7 else 20.0}, "kl_high", (40, 45)),
    "entropy gone": ({"entropy": lambda d: 0.5 * (1 - d) + 0.001}, "entropy_collapse", (50, 58)),
    "entropy gone early": ({"entropy": lambda d: 0.6 * math.exp(-9 * d)}, "entropy_collapse", (14, 24)),
    "reward unmoved": ({"reward": lambda d: 0.3 + 0.005 * math.sin(40 * d)}, "flat", (1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("kind", LATE)
def test_what_goes_wrong_late_is_tagged_and_dated(kind: str) -> None:
    columns, tag, (earliest, latest) = LATE[kind]
    it = found(grpo(**columns))
    assert (it.main, [t.label for t in it.tags]) == ("healthy", [tag])
    assert it.tags[0].since_step is not None and earliest <= it.tags[0].since_step <= latest
    assert it.sign.next == it.tags[0].next  # the headline gives its advice


def test_in_verls_names_too() -> None:
    rows = [
        {"step": i, "critic/rewards/mean": 0.2 + 0.01 * i,
         "critic/rewards/max": 1.0, "critic/rewards/min": 0.0,
         "actor/kl_loss": 0.4 * i, "actor/entropy": 0.5 * 0.9**i, "actor/pg_loss": 0.01,
         "response_length/clip_ratio": min(1.0, 0.03 * i), "response_length/mean": 100.0 * i}
        for i in range(1, 41)
    ]  # fmt: skip
    assert tags(rows) == ["kl_high", "clipped", "entropy_collapse"]


@pytest.mark.parametrize("seed", range(8))
def test_a_healthy_online_run_stays_healthy(seed: int) -> None:
    """KL up to .5, entropy down to .1, a rising share of solved groups: none of it is a sign."""
    rows = grpo(
        seed=seed, noise=0.05, kl=lambda d: 0.5 * d, entropy=lambda d: 0.6 - 0.5 * d,
        frac_reward_zero_std=lambda d: 0.1 + 0.4 * d, completions__clipped_ratio=lambda d: 0.05 + 0.3 * d,
    )  # fmt: skip
    it = found(rows)
    assert (it.main, it.sign.confidence, it.tags) == ("healthy", "likely", ())


def test_solved_tasks_are_no_missing_signal() -> None:
    """No variance at the end: at the highest reward of the run it is done, at a middling one it is stuck."""
    silent = {"frac_reward_zero_std": lambda d: 0.1 if d < 0.7 else 1.0}
    assert tags(grpo(**silent, reward=lambda d: min(1.0, 0.3 + d))) == []
    assert tags(grpo(**silent, reward=lambda d: 0.3 + 0.2 * d + 0.01 * math.sin(40 * d))) == ["no_signal"]


def test_single_jumps_of_the_kl_estimator_are_no_sign() -> None:
    rows = grpo()
    for i in (20, 50, 57):
        rows[i]["kl"] = 4000.0
    assert tags(rows) == []


def test_a_reward_that_does_not_rise_beyond_its_noise_leaves_it_open() -> None:
    """Noise alone passes for a rise, or for a fall from its highest stretch, in a few of a hundred runs."""
    open_ = 0
    for seed in range(100):
        rng = random.Random(seed)
        sign = found(grpo(reward=lambda d, rng=rng: 0.3 + rng.gauss(0, 0.08))).sign
        open_ += (sign.label, sign.confidence) == ("healthy", "cannot tell")
        assert sign.confidence == "likely" or "by more than its noise" in sign.evidence
    assert open_ >= 95


def test_a_flat_reward_is_judged_in_the_spread_of_a_group() -> None:
    """.02 is nothing where rewards differ by .5 within a group, and much where they differ by .01."""
    moved = {"reward": lambda d: 0.3 + 0.02 * d}
    assert tags(grpo(**moved, reward_std=lambda d: 0.5)) == ["flat"]
    assert tags(grpo(**moved, reward_std=lambda d: 0.01)) == []


def test_ppos_scores_are_its_reward() -> None:
    """TRL's PPO logs no `reward`: the scores of its reward model are judged in its place."""

    def ppo(score: Column) -> list[dict[str, Any]]:
        return [
            {"step": i, "objective/scores": score(i), "objective/kl": 8.0, "objective/entropy": 40.0,
             "objective/rlhf_reward": score(i) - 0.4}
            for i in range(1, 41)
        ]  # fmt: skip

    wave = [0.01 * (-1) ** i for i in range(50)]
    assert found(ppo(lambda i: 0.05 * i + wave[int(i)])).main == "healthy"
    assert found(ppo(lambda i: 0.1 * min(i, 20) - 0.15 * max(0, i - 20) + wave[int(i)])).main == "diverged"
    assert "flat" in tags(ppo(lambda i: 2.0 + 0.1 * wave[int(i)]))
