"""Training runs small enough to simulate by the dozen, whose outcome is known by construction.

Nothing here draws a curve: a linear policy, logp(y) = base(y) + x(y)·θ, is trained by Adam on real batches
with the real loss functions, and is logged as a trainer logs: means over `logging_steps`, four decimals, a
NaN loss replaced by transformers' filter. What goes wrong is put into the data or the settings.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Entry = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """One run. Signal and its spoilers are in units of a feature's standard deviation."""

    method: str = "dpo"
    beta: float = 0.1
    lr: float = 0.02
    steps: int = 200
    batch: int = 16
    logging: int = 10
    pairs: int = 2000
    features: int = 48
    signal: float = 1.5  # of the teacher's preference against label noise
    template: float = 0.0  # a feature that tells the sides apart in every pair
    squeeze: float = 0.0  # a feature both sides have, the rejected a third more
    offset: float = 0.0  # nats by which the reference is another model
    scale_at: tuple[int, float, int] | None = None  # step, factor, duration: gradients blown up
    nan_from: int | None = None  # first step computed with NaN weights
    nan_at: tuple[int, ...] = ()  # single NaN batches
    frozen: bool = False
    decay: bool = True  # of the learning rate, to 0
    zero_lr: bool = False
    evals: int = 0  # evaluate every so many steps
    seed: int = 0


def entries(setup: Setup) -> list[Entry]:
    """The `log_history` of a run."""
    return list(_pairwise(setup))


def _pairwise(s: Setup) -> Iterator[Entry]:
    rng = np.random.default_rng(s.seed)
    data, held_out = _pairs(s, rng, s.pairs), _pairs(s, rng, 400)
    theta, m, v = np.zeros(s.features), np.zeros(s.features), np.zeros(s.features)
    window: list[Entry] = []
    running, last_logged = 0.0, 0
    for step in range(1, s.steps + 1):
        lr = s.lr * min(1.0, step / (0.1 * s.steps)) * (1.0 - (step - 1) / s.steps if s.decay else 1.0)
        batch = data[np.arange((step - 1) * s.batch, step * s.batch) % s.pairs]
        broken = (s.nan_from is not None and step >= s.nan_from) or step in s.nan_at
        row, gradient = _measure(s, batch, theta * math.nan if broken else theta)
        running += running / (step - last_logged) if math.isnan(row["loss"]) else row["loss"]
        window.append(row)
        if s.scale_at and s.scale_at[0] <= step < s.scale_at[0] + s.scale_at[2]:
            gradient = gradient * s.scale_at[1]
            row["grad_norm"] *= s.scale_at[1]
            theta = theta - s.lr * gradient  # an unclipped step, past Adam's normalisation
        elif not (s.frozen or s.zero_lr or broken):
            m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
            theta = theta - lr * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
        if step % s.logging == 0:
            yield _logged(s, window, running / (step - last_logged), lr, step)
            window, running, last_logged = [], 0.0, step
        if s.evals and step % s.evals == 0:
            weights = theta * math.nan if s.nan_from is not None and step >= s.nan_from else theta
            yield _evaluated(s, held_out, weights, step)
    yield {"train_runtime": 1.0, "train_loss": 0.5, "epoch": 1.0, "step": s.steps}


def _logged(s: Setup, window: list[Entry], loss: float, lr: float, step: int) -> Entry:
    """The trainer's entry: means over the window, gradient norm of its last step."""
    row = {k: float(np.mean([r[k] for r in window])) for k in window[0] if k not in ("loss", "grad_norm")}
    rate = 0.0 if s.zero_lr else lr * 1e-4
    norm = 0.0 if s.frozen else window[-1]["grad_norm"]
    return {
        "loss": round(loss, 4),
        "grad_norm": norm,
        "learning_rate": rate,
        **row,
        "epoch": step / s.steps,
        "step": step,
    }


def _evaluated(s: Setup, held_out: Array, theta: Array, step: int) -> Entry:
    row, _ = _measure(s, held_out, theta)
    row.pop("grad_norm")
    return {
        **{f"eval_{k}": v for k, v in row.items()},
        "eval_runtime": 1.0,
        "step": step,
        "epoch": step / s.steps,
    }


def _pairs(s: Setup, rng: np.random.Generator, n: int) -> Array:
    """Pairs as [n, 2, features + 3]: features, then tokens, base logps and the reference's offset."""
    x = rng.normal(size=(n, 2, s.features))
    teacher = np.random.default_rng(99).normal(size=s.features) / math.sqrt(s.features)
    score = s.signal * (x @ teacher) + rng.normal(size=(n, 2))
    first = score[:, 0] < score[:, 1]
    x[first] = x[first][:, ::-1]
    x[:, :, 0] += s.template * np.array([1.0, -1.0])
    x[:, :, 1] += s.squeeze * np.array([3.0, 4.0])
    tokens = np.clip(rng.lognormal(4.6, 0.5, size=(n, 2)), 8, 512)
    base = -tokens * rng.normal(1.1, 0.1, size=(n, 2))
    offset = s.offset * (np.array([1.0, 1.2]) + 0.3 * rng.normal(size=(n, 2)))
    return np.concatenate([x, tokens[..., None], base[..., None], offset[..., None]], axis=2)


def _measure(s: Setup, batch: Array, theta: Array) -> tuple[Entry, Array]:
    """Metrics of a batch and the gradient with respect to θ."""
    x, tokens, base, offset = batch[..., :-3], batch[..., -3], batch[..., -2], batch[..., -1]
    change = x @ theta
    loss, slope, rewards, logps = LOSSES[s.method](s.beta, change + offset, base + change, tokens)
    gradient = np.mean(slope[..., None] * x, axis=0).sum(axis=0)
    row = {
        "loss": float(np.mean(loss)),
        "grad_norm": float(np.linalg.norm(gradient)),
        "rewards/chosen": float(rewards[:, 0].mean()),
        "rewards/rejected": float(rewards[:, 1].mean()),
        "rewards/accuracies": float((rewards[:, 0] > rewards[:, 1]).mean()),
        "rewards/margins": float((rewards[:, 0] - rewards[:, 1]).mean()),
        "logps/chosen": float(logps[:, 0].mean()),
        "logps/rejected": float(logps[:, 1].mean()),
    }
    return row | _extra(s.method, rewards, logps, row), gradient


def _extra(method: str, rewards: Array, logps: Array, row: Entry) -> Entry:
    """Columns that only one trainer writes."""
    if method == "orpo":
        odds = _log_odds(logps)
        return {
            "nll_loss": float(-logps[:, 0].mean()),
            "log_odds_chosen": float((odds[:, 0] - odds[:, 1]).mean()),
        }
    if method == "kto":
        row.pop("rewards/accuracies")
        return {"kl": float(max(0.0, rewards.mean()))}
    return {}


def _sigmoid(z: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -z))


def _both(slope: Array) -> Array:
    return np.stack([slope, -slope], axis=-1)


# Each: (loss, its derivative by the two logps, rewards, logged logps), from log-ratios and logps.
Result = tuple[Array, Array, Array, Array]


def _dpo(beta: float, ratio: Array, logps: Array, tokens: Array) -> Result:
    z = beta * (ratio[:, 0] - ratio[:, 1])
    return np.logaddexp(0.0, -z), _both(-beta * _sigmoid(-z)), beta * ratio, logps


def _ipo(beta: float, ratio: Array, logps: Array, tokens: Array) -> Result:
    mean = ratio / tokens
    gap = mean[:, 0] - mean[:, 1] - 0.5 / beta
    return gap**2, 2.0 * gap[:, None] * np.array([1.0, -1.0]) / tokens, beta * mean, logps / tokens


def _hinge(beta: float, ratio: Array, logps: Array, tokens: Array) -> Result:
    z = beta * (ratio[:, 0] - ratio[:, 1])
    return np.maximum(0.0, 1.0 - z), _both(-beta * (z < 1.0)), beta * ratio, logps


def _simpo(beta: float, ratio: Array, logps: Array, tokens: Array) -> Result:
    mean = logps / tokens
    z = beta * (mean[:, 0] - mean[:, 1]) - 0.5
    slope = _both(-beta * _sigmoid(-z)) / tokens
    return np.logaddexp(0.0, -z), slope, beta * mean, mean


def _log_odds(mean: Array) -> Array:
    return mean - np.log1p(-np.exp(np.minimum(mean, -1e-6)))


def _orpo(beta: float, ratio: Array, logps: Array, tokens: Array) -> Result:
    mean = np.minimum(logps / tokens, -1e-3)
    odds = _log_odds(mean)
    z = odds[:, 0] - odds[:, 1]
    outer = _both(-beta * _sigmoid(-z)) / (1.0 - np.exp(mean))
    outer[:, 0] -= 1.0
    return -mean[:, 0] + beta * np.logaddexp(0.0, -z), outer / tokens, beta * mean, mean


def _kto(beta: float, ratio: Array, logps: Array, tokens: Array) -> Result:
    z = beta * ratio * np.array([1.0, -1.0])
    value = _sigmoid(z)
    slope = -beta * value * (1.0 - value) * np.array([1.0, -1.0])
    return (1.0 - value).mean(axis=1), slope / 2.0, beta * ratio, logps


LOSSES: dict[str, Callable[[float, Array, Array, Array], Result]] = {
    "dpo": _dpo,
    "ipo": _ipo,
    "hinge": _hinge,
    "simpo": _simpo,
    "orpo": _orpo,
    "kto": _kto,
}


def supervised(
    seed: int = 0,
    *,
    texts: int = 600,
    epochs: int = 2,
    lr: float = 0.02,
    noise: float = 1.0,
    logging: int = 10,
) -> list[Entry]:
    """The log of a supervised run: softmax regression on 24 classes, which memorises a small noisy set."""
    rng = np.random.default_rng(seed)
    d, classes, batch = 64, 24, 8
    teacher = rng.normal(size=(d, classes))
    x, y = _labelled(rng, teacher, texts, noise)
    held_x, held_y = _labelled(rng, teacher, 200, noise)
    w, m, v = np.zeros((d, classes)), np.zeros((d, classes)), np.zeros((d, classes))
    out: list[Entry] = []
    window: list[float] = []
    steps = epochs * texts // batch
    for step in range(1, steps + 1):
        pick = np.arange((step - 1) * batch, step * batch) % texts
        loss, gradient = _cross_entropy(w, x[pick], y[pick])
        window.append(loss)
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        w = w - lr * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
        if step % logging == 0:
            row = {"loss": round(float(np.mean(window)), 4), "grad_norm": float(np.linalg.norm(gradient))}
            out.append({**row, "learning_rate": lr * 1e-3, "epoch": step * batch / texts, "step": step})
            window = []
        if step * batch % texts < batch:
            held = _cross_entropy(w, held_x, held_y)[0]
            out.append({"eval_loss": held, "eval_runtime": 1.0, "epoch": step * batch / texts, "step": step})
    return out


def _labelled(
    rng: np.random.Generator, teacher: Array, n: int, noise: float
) -> tuple[Array, NDArray[np.int64]]:
    x = rng.normal(size=(n, len(teacher)))
    return x, np.argmax(x @ teacher + 8.0 * noise * rng.gumbel(size=(n, teacher.shape[1])), axis=1)


def _cross_entropy(w: Array, x: Array, y: NDArray[np.int64]) -> tuple[float, Array]:
    logits = x @ w
    logp = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    target = np.zeros_like(logp)
    target[np.arange(len(y)), y] = 1.0
    return float(-np.mean(logp[np.arange(len(y)), y])), x.T @ (np.exp(logp) - target) / len(y)


def online(seed: int = 0, *, steps: int = 120, collapse: bool = False) -> list[Entry]:
    """A GRPO log: a softmax policy over eight answers, advantages normalised in groups of eight.

    `collapse`: after a third of the run the advantages have the wrong sign.
    """
    rng = np.random.default_rng(seed)
    z, value = np.zeros(8), np.linspace(0.0, 1.0, 8)
    out: list[Entry] = []
    for step in range(1, steps + 1):
        p = np.exp(z - np.logaddexp.reduce(z))
        answers = rng.choice(8, size=(4, 8), p=p)
        reward = value[answers]
        spread = reward.std(axis=1, keepdims=True)
        advantage = (reward - reward.mean(axis=1, keepdims=True)) / (spread + 1e-4)
        paid = -advantage if collapse and step > steps // 3 else advantage
        gradient = (
            sum(a * (np.eye(8)[i] - p) for a, i in zip(paid.ravel(), answers.ravel(), strict=True)) / 32
        )
        z = z + 0.4 * gradient
        kl = float(np.sum(p * (np.log(p) + math.log(8))))
        out.append(_grpo_entry(step, 0.01 * kl, gradient, reward, spread, kl))
    return out


def _grpo_entry(step: int, loss: float, gradient: Array, reward: Array, spread: Array, kl: float) -> Entry:
    return {
        "loss": round(loss, 4),
        "grad_norm": float(np.linalg.norm(gradient)),
        "learning_rate": 1e-6,
        "reward": float(reward.mean()),
        "reward_std": float(spread.mean()),
        "rewards/exact_match/mean": float(reward.mean()),
        "completions/mean_length": 80.0,
        "kl": kl,
        "step": step,
    }


@dataclass(frozen=True)
class Scenario:
    """A family of runs with the diagnosis each must get."""

    name: str
    main: str
    make: Callable[[int], list[Entry]]
    tags: frozenset[str] = frozenset()


def _train_only(log: list[Entry]) -> list[Entry]:
    return [row for row in log if "loss" in row]


def _of(**changes: Any) -> Callable[[int], list[Entry]]:
    return lambda seed: entries(dataclasses.replace(Setup(seed=seed), **changes))


SCENARIOS = (
    *(Scenario(f"healthy DPO, β {b}", "healthy", _of(beta=b, lr=0.002 / b)) for b in (0.01, 0.1, 0.5)),
    Scenario("healthy DPO, batch 4", "healthy", _of(batch=4, lr=0.01)),
    Scenario("healthy DPO, 1000 entries", "healthy", _of(steps=1000, pairs=16000, logging=1, lr=0.01)),
    Scenario("healthy DPO with evaluations", "healthy", _of(evals=20)),
    Scenario("healthy IPO", "healthy", _of(method="ipo", lr=0.5)),
    Scenario("healthy hinge", "healthy", _of(method="hinge")),
    Scenario("healthy SimPO", "healthy", _of(method="simpo", beta=2.0, lr=0.2)),
    Scenario("healthy ORPO", "healthy", _of(method="orpo", lr=0.3)),
    Scenario("healthy KTO", "healthy", _of(method="kto", lr=0.03)),
    Scenario("healthy GRPO", "healthy", online),
    Scenario("healthy SFT", "healthy", lambda seed: supervised(seed, noise=0.1)),
    Scenario("spike and recovery", "healthy", _of(scale_at=(100, 60.0, 1), lr=0.05)),
    Scenario("trivial negatives", "saturated", _of(template=3.0, lr=0.1)),
    Scenario(
        "trivial negatives, SimPO",
        "saturated",
        _of(method="simpo", beta=10.0, template=3.0, lr=3.0, steps=400),
    ),
    Scenario(
        "memorised SFT",
        "saturated",
        lambda seed: _train_only(supervised(seed, texts=64, epochs=60, noise=0.0)),
    ),
    Scenario("over-fitted SFT", "overfit", lambda seed: supervised(seed, texts=160, epochs=15, noise=0.6)),
    Scenario("over-fitted DPO", "overfit", _of(pairs=64, features=256, steps=300, signal=0.3, evals=20)),
    Scenario("squeezed", "displaced", _of(squeeze=2.0, lr=0.16, signal=0.5)),
    Scenario("learning rate far too high", "diverged", _of(lr=6.0, signal=0.3, decay=False)),
    Scenario("spike without recovery", "diverged", _of(scale_at=(150, 3e4, 50), lr=0.02)),
    Scenario("collapsed GRPO", "diverged", lambda seed: online(seed, collapse=True)),
    Scenario("no preference in the data", "stuck", _of(signal=0.0, lr=0.002)),
    Scenario("no gradient", "stuck", _of(frozen=True), frozenset({"frozen", "below_chance"})),
    Scenario("learning rate 0", "stuck", _of(zero_lr=True), frozenset({"lr_zero", "below_chance"})),
    *(
        Scenario(f"NaN from step {k}, logged every {n}", "numerics", _of(nan_from=k, logging=n))
        for k, n in ((1, 10), (2, 5), (2, 10), (2, 1), (4, 10), (57, 10), (57, 25), (199, 10))
    ),
    Scenario(
        "single NaN batches",
        "numerics",
        _of(nan_at=(57, 120), steps=600, pairs=9600),
        frozenset({"transient"}),
    ),
    Scenario("another model as reference", "healthy", _of(offset=12.0, lr=0.04), frozenset({"ref_mismatch"})),
)
