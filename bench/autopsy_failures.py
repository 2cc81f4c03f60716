"""Runs with a planted failure, each with what must be found in it: for every form a log is kept in.

A run is a `log_history` under TRL's names. `needs` are the columns that show the failure; in a form that does
not keep them, `otherwise` are the main labels that are true of what is left (none: nothing is asked there).
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import autopsy_runs

Entry = dict[str, Any]
LN2 = math.log(2.0)


class Failure(NamedTuple):
    """A kind of run: how it is made, which main labels and which tag are true of it."""

    name: str
    make: Callable[[int], list[Entry]]
    mains: frozenset[str]
    tag: str = ""
    needs: frozenset[str] = frozenset({"loss"})
    otherwise: frozenset[str] = frozenset()
    words: str = ""  # of the headline's advice or evidence


def _simulated(**changes: Any) -> Callable[[int], list[Entry]]:
    return lambda seed: autopsy_runs.entries(dataclasses.replace(autopsy_runs.Setup(seed=seed), **changes))


def _rows(n: int, seed: int, row: Callable[[int, random.Random], Entry], every: int = 10) -> list[Entry]:
    rng = random.Random(seed)
    common = lambda i: {  # noqa: E731
        "grad_norm": round(rng.uniform(1.0, 2.0), 4),
        "learning_rate": 1e-6 * (1 - (i - 1) / n),
        "epoch": round(i / n, 4),
        "step": i * every,
    }
    return [{**common(i), **row(i, rng)} for i in range(1, n + 1)]


def _preference(margin: float, rng: random.Random, beta: float = 0.1, spread: float = 0.0) -> Entry:
    """A DPO entry at a mean margin, with rewards and log-probabilities that belong to it."""
    return {
        "loss": round(math.log1p(math.exp(-margin)) + spread, 4),
        "rewards/chosen": round(0.4 * margin, 5),
        "rewards/rejected": round(-0.6 * margin, 5),
        "rewards/accuracies": round(min(1.0, max(0.0, 0.5 + 0.25 * margin + rng.uniform(-0.03, 0.03))), 4),
        "rewards/margins": round(margin, 5),
        "logps/chosen": round(-180.0 + 4.0 * margin + rng.uniform(-3, 3), 3),
        "logps/rejected": round(-190.0 - 6.0 * margin + rng.uniform(-3, 3), 3),
    }


def _learning(i: int, n: int, rng: random.Random, top: float = 1.2) -> float:
    return top * (1.0 - math.exp(-3.0 * i / n)) + rng.uniform(-0.03, 0.03)


def _healthy_sft(seed: int) -> list[Entry]:
    rows = _rows(
        40, seed, lambda i, rng: {"loss": round(1.2 + 0.8 * math.exp(-i / 8) + rng.uniform(-0.03, 0.03), 4)}
    )
    return _with_evaluations(rows, lambda i: 1.25 + 0.7 * math.exp(-i / 8))


def _with_evaluations(rows: list[Entry], held_out: Callable[[int], float], every: int = 8) -> list[Entry]:
    out: list[Entry] = []
    for i, row in enumerate(rows, 1):
        out.append(row)
        if i % every == 0:
            out.append({"eval_loss": round(held_out(i), 4), "epoch": row["epoch"], "step": row["step"]})
    return out


def _nan_first(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        return dict.fromkeys(_preference(0.0, rng), math.nan) | {
            "grad_norm": math.nan,
            "rewards/accuracies": 0.0,
        }

    return _rows(20, seed, row, every=1)


def _noise(seed: int) -> list[Entry]:
    """Batches of one pair: the loss of an entry is anything between 0 and 3, and falls in the mean."""

    def row(i: int, rng: random.Random) -> Entry:
        margin = rng.gauss(0.25 + 0.008 * i, 1.6) if i > 3 else rng.gauss(0.0, 0.02)
        return _preference(margin, rng) | {"rewards/accuracies": float(margin > 0)}

    return _rows(80, seed, row, every=1)


def _overfit(seed: int, only_held_out: bool = False) -> list[Entry]:
    rows = _rows(40, seed, lambda i, rng: {"loss": round(1.8 * math.exp(-i / 9) + 0.05 * rng.random(), 4)})
    log = _with_evaluations(rows, lambda i: 1.0 + 0.0018 * (i - 8) ** 2 - (0.2 if i == 16 else 0.0), every=4)
    return [row for row in log if "eval_loss" in row] if only_held_out else log


def _warmup(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        return _preference(0.0002 * i + rng.uniform(-0.002, 0.002), rng) | {"learning_rate": 1e-9 * i}

    return _rows(20, seed, row)


def _rate_five(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        return {
            "loss": 1.9 if i == 1 else round(11.0 + rng.uniform(-0.4, 0.4), 4),
            "learning_rate": 5.0 * (1 - (i - 1) / 40),
        }

    return _rows(40, seed, row)


def _reference(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        entry = _preference(_learning(i, 30, rng), rng, spread=0.9)
        return entry | {
            "rewards/chosen": round(2.1 + 0.01 * i, 4),
            "rewards/rejected": round(2.1 + 0.01 * i - entry["rewards/margins"], 4),
        }

    return _rows(30, seed, row, every=1)


def _summed(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        entry = _preference(rng.uniform(-0.004, 0.004), rng)
        parts = 1 if i % 12 == 0 else 4
        return entry | {"loss": round(parts * math.log1p(math.exp(-entry["rewards/margins"])), 4)}

    return _rows(36, seed, row)


def _worse(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        return _preference(-0.45 + 0.05 * rng.random(), rng) | {
            "rewards/accuracies": round(0.36 + 0.03 * rng.random(), 3)
        }

    return _rows(40, seed, row)


def _saturated(seed: int) -> list[Entry]:
    rows = _rows(
        40,
        seed,
        lambda i, rng: (
            _preference(0.0 if i == 1 else 6.0 + 0.1 * i, rng)
            | ({"rewards/accuracies": 1.0} if i > 1 else {})
        ),
    )
    log = _with_evaluations(rows, lambda i: 0.0004)
    return [
        row | ({"eval_rewards/accuracies": 1.0, "eval_rewards/margins": 8.0} if "eval_loss" in row else {})
        for row in log
    ]


def _no_variance(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        return {
            "loss": 0.0,
            "grad_norm": 0.0,
            "num_tokens": 4096.0 * i,
            "completions/mean_length": 256.0,
            "completions/clipped_ratio": 0.1,
            "rewards/correct/mean": 0.0,
            "rewards/correct/std": 0.0,
            "reward": 0.0,
            "reward_std": 0.0,
            "frac_reward_zero_std": 1.0,
            "kl": 0.0,
        }

    return _rows(30, seed, row, every=1)


def _empty_side(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        entry = _preference(_learning(i, 40, rng), rng) | {"loss": round(0.5 - 0.004 * i, 4), "kl": 0.1}
        del entry["rewards/accuracies"]
        lost = ("rewards/rejected", "logps/rejected", "rewards/margins") if i % 9 == 4 else ()
        return {k: math.nan if k in lost else v for k, v in entry.items()}

    return _rows(40, seed, row)


def _skipped(seed: int) -> list[Entry]:
    return [
        row | ({"grad_norm": math.inf} if row["step"] == 70 else {})
        for row in _rows(40, seed, lambda i, rng: _preference(_learning(i, 40, rng), rng))
    ]


def _smoothed(seed: int) -> list[Entry]:
    def row(i: int, rng: random.Random) -> Entry:
        margin = 2.25 * (1.0 - math.exp(-i / 9)) + rng.uniform(-0.02, 0.02)
        entry = _preference(margin, rng)
        accuracy = {"rewards/accuracies": 1.0} if i > 8 else {}
        return entry | {"loss": round(math.log1p(math.exp(-margin)) + 0.1 * margin, 4)} | accuracy

    return _rows(40, seed, row)


def _collapsed(seed: int) -> list[Entry]:
    """Both sides lose probability, the chosen by a third, while the margin grows."""

    def row(i: int, rng: random.Random) -> Entry:
        margin = _learning(i, 40, rng)
        down = 7.0 * i / 40
        sides = {"rewards/chosen": round(-down, 4), "rewards/rejected": round(-down - margin, 4)}
        return (
            _preference(margin, rng)
            | sides
            | {
                "logps/chosen": round(-180 - 10 * down, 3),
                "logps/rejected": round(-190 - 10 * down - 10 * margin, 3),
            }
        )

    return _rows(40, seed, row)


def _masked(seed: int) -> list[Entry]:
    return _rows(20, seed, lambda i, rng: {"loss": 0.0, "grad_norm": 0.0})


def _unscored(seed: int) -> list[Entry]:
    zeros = {
        "rewards/chosen": 0.0,
        "rewards/rejected": 0.0,
        "rewards/accuracies": 0.0,
        "rewards/margins": 0.0,
    }
    return _rows(
        20,
        seed,
        lambda i, rng: {
            "loss": 0.6931,
            "grad_norm": 0.0,
            **zeros,
            "logps/chosen": 0.0,
            "logps/rejected": 0.0,
        },
    )


def _short(seed: int) -> list[Entry]:
    return _rows(3, seed, lambda i, rng: _preference(0.1 * i, rng))


def _unseen_at_chance(seed: int) -> list[Entry]:
    """Training learns its pairs; of the held-out ones half stay wrong at every evaluation."""
    rng = random.Random(seed + 1)
    rows = _rows(40, seed, lambda i, rng: _preference(_learning(i, 40, rng, 3.0), rng))
    log = _with_evaluations(rows, lambda i: LN2 + 0.01 + 0.002 * i / 8)
    unseen = lambda: {  # noqa: E731
        "eval_rewards/accuracies": round(0.5 + rng.uniform(-0.02, 0.02), 4),
        "eval_rewards/margins": round(rng.uniform(-0.02, 0.02), 4),
        "eval_runtime": 20.0,
        "eval_samples_per_second": 10.0,
    }
    return [row | (unseen() if "eval_loss" in row else {}) for row in log]


def _grpo(seed: int, last: Callable[[float], Entry]) -> list[Entry]:
    """An online run whose reward rises; `last` adds what goes wrong, by the share of the run that is over."""

    def row(i: int, rng: random.Random) -> Entry:
        reward = round(0.2 + 0.5 * i / 40 + rng.uniform(-0.02, 0.02), 4)
        return {
            "loss": round(rng.uniform(0.0, 0.02), 4),
            "num_tokens": 4096.0 * i,
            "completions/mean_length": 200.0,
            "completions/clipped_ratio": 0.05,
            "rewards/correct/mean": reward,
            "rewards/correct/std": 0.4,
            "reward": reward,
            "reward_std": 0.3,
            "frac_reward_zero_std": 0.1,
            **last(i / 40),
        }

    return _rows(40, seed, row)


def _far(seed: int) -> list[Entry]:
    return _grpo(seed, lambda over: {"kl": round(0.01 + 6.0 * over**2, 4), "entropy": 0.6})


def _one_text(seed: int) -> list[Entry]:
    return _grpo(seed, lambda over: {"kl": 0.05, "entropy": round(0.8 * math.exp(-6.0 * over), 4)})


def _is(*names: str) -> frozenset[str]:
    return frozenset(names)


REWARDS = _is("loss", "rewards/margins")
FAILURES = (
    Failure("healthy DPO", _simulated(evals=50), _is("healthy")),
    Failure("healthy SFT", _healthy_sft, _is("healthy")),
    Failure("healthy DPO of batch 1", _noise, _is("healthy")),
    Failure("NaN at step 1", _nan_first, _is("numerics"), words="attention"),
    Failure("NaN at step 2, filtered", _simulated(nan_from=2), _is("numerics")),
    Failure("NaN at step 57", _simulated(nan_from=57), _is("numerics")),
    Failure("diverged", _simulated(lr=6.0, signal=0.3, decay=False), _is("diverged")),
    Failure(
        "over-fitted", _overfit, _is("overfit"), needs=_is("loss", "eval_loss"), otherwise=_is("healthy")
    ),
    Failure(
        "over-fitted, held-out loss only", lambda s: _overfit(s, True), _is("overfit"), needs=_is("eval_loss")
    ),
    Failure(
        "learning rate 0",
        _simulated(zero_lr=True),
        _is("stuck"),
        "lr_zero",
        _is("loss", "learning_rate", "rewards/margins"),
        _is("stuck", "healthy"),
    ),
    Failure(
        "warm-up that never ends",
        _warmup,
        _is("stuck"),
        "warmup",
        _is("loss", "learning_rate", "rewards/margins"),
        _is("stuck", "healthy"),
    ),
    Failure(
        "learning rate 5",
        _rate_five,
        _is("diverged"),
        "lr_high",
        _is("loss", "learning_rate"),
        _is("diverged"),
    ),
    Failure(
        "reference is another model",
        _reference,
        _is("healthy", "stuck"),
        "ref_mismatch",
        _is("loss", "rewards/chosen"),
    ),
    Failure("loss summed over 4", _summed, _is("stuck"), "summed_loss", REWARDS),
    Failure("labels all masked", _masked, _is("stuck"), "zero_loss"),
    Failure(
        "no response token scored",
        _unscored,
        _is("stuck"),
        "no_tokens",
        _is("logps/chosen", "loss"),
        _is("stuck", "healthy"),
    ),
    Failure(
        "worse than a coin",
        _worse,
        _is("stuck"),
        "",
        _is("loss", "rewards/accuracies"),
        _is("stuck", "healthy", "diverged"),
    ),
    Failure("saturated at the first evaluation", _saturated, _is("saturated")),
    Failure(
        "GRPO without variance", _no_variance, _is("stuck"), "no_signal", _is("reward_std"), _is("stuck")
    ),
    Failure(
        "KTO batch without a side",
        _empty_side,
        _is("healthy"),
        "empty_side",
        _is("loss", "grad_norm", "rewards/rejected"),
        _is("healthy"),
    ),
    Failure(
        "one skipped step", _skipped, _is("healthy"), "skipped_step", _is("loss", "grad_norm"), _is("healthy")
    ),
    Failure(
        "label smoothing",
        _smoothed,
        _is("healthy"),
        "smoothing_floor",
        _is("loss", "rewards/margins", "rewards/accuracies"),
        _is("healthy"),
    ),
    Failure(
        "frozen adapter",
        _simulated(frozen=True),
        _is("stuck"),
        "frozen",
        _is("loss", "grad_norm", "rewards/margins"),
        _is("stuck", "healthy"),
    ),
    Failure(
        "chosen collapses",
        _collapsed,
        _is("displaced"),
        "",
        _is("logps/chosen", "rewards/accuracies"),
        _is("healthy"),
    ),
    Failure(
        "held-out pairs at chance",
        _unseen_at_chance,
        _is("overfit"),
        needs=_is("loss", "rewards/accuracies", "eval_rewards/accuracies"),
        otherwise=_is("healthy", "overfit", "saturated"),
    ),
    Failure(
        "GRPO far from its reference",
        _far,
        _is("healthy"),
        "kl_high",
        _is("kl", "reward", "reward_std"),
        _is("healthy", "stuck"),
    ),
    Failure(
        "GRPO with one text a prompt",
        _one_text,
        _is("healthy"),
        "entropy_collapse",
        _is("entropy", "reward", "reward_std"),
        _is("healthy", "stuck"),
    ),
    Failure("three entries", _short, _is("healthy", "stuck"), "too_short"),
)


def runs(seed: int) -> Iterator[tuple[Failure, list[Entry]]]:
    """Every kind of run once, without the summary that a trainer adds at the end."""
    for failure in FAILURES:
        yield failure, [row for row in failure.make(seed) if "train_runtime" not in row]
