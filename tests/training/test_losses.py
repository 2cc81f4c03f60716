"""The losses against TRL's own code on the same numbers, against hand-worked values, and at the extremes."""

import math
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from probe.errors import ProbeError
from probe.probes.negatives.flip_budget import budget_beta
from probe.probes.numerics.judge import Plan
from probe.ranges import RANGES
from probe.training.losses import (
    EQUATIONS,
    LN2,
    Logps,
    dpo,
    dpop,
    ipo,
    log1mexp,
    nll,
    odds_ratio,
    outcome,
    robust_dpo,
    simpo,
)
from probe.training.methods import METHODS, LossConstants, stages_of
from probe.training.recipes import recipe
from probe.training.shipped import shipped_values as shipped

TOKENS = (torch.tensor([5, 3, 7, 1, 4, 6]), torch.tensor([2, 6, 7, 3, 5, 1]))


PAIRED = [name for name in METHODS if name != "sft"]


def batch(seed: int, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-token log-probs [pairs, 7] of both sides, zero beyond each response's length."""
    rng = torch.Generator().manual_seed(seed)
    sides = [-scale * torch.rand(6, 7, generator=rng).exp() for _ in range(2)]
    chosen, rejected = (s * (torch.arange(7) < n[:, None]) for s, n in zip(sides, TOKENS, strict=True))
    return chosen, rejected


def logps(seed: int) -> Logps:
    chosen, rejected = batch(seed)
    return Logps(chosen.sum(1), rejected.sum(1), *TOKENS)


def trl_dpo_loss(
    loss_types: list[str], constants: LossConstants, weights: tuple[float, ...] = (1.0,), pairs=slice(None)
):
    """`DPOTrainer._compute_loss` with `batch(1)` as the policy, `batch(2)` as the reference."""
    from accelerate import Accelerator
    from trl import DPOTrainer

    policy = torch.cat([side[pairs] for side in batch(1)])
    reference = [side[pairs].sum(1) for side in batch(2)]
    lengths = torch.cat([n[pairs] for n in TOKENS])
    completion = (torch.arange(8) < lengths[:, None] + 1) & (torch.arange(8) > 0)
    zeros = torch.zeros_like(policy)

    class Model(torch.nn.Module):
        def forward(self, **_):
            return SimpleNamespace(
                log_probs=policy, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), aux_loss=None
            )

    trainer = DPOTrainer.__new__(DPOTrainer)
    trainer.model = Model()
    trainer.accelerator = Accelerator(cpu=True)
    trainer._metrics = {mode: defaultdict(list) for mode in ("train", "eval")}
    vars(trainer).update(
        aux_loss_enabled=False, ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl",
        loss_types=loss_types, loss_weights=weights, beta=constants.beta, label_smoothing=constants.smoothing,
        use_weighting=False, _total_train_tokens=0, _tp_size=1,
    )  # fmt: skip
    inputs = {
        "input_ids": torch.zeros(len(lengths), 8, dtype=torch.long),
        "attention_mask": torch.ones(len(lengths), 8, dtype=torch.long),
        "completion_mask": completion.long(),
        "ref_chosen_logps": reference[0],
        "ref_rejected_logps": reference[1],
    }
    return trainer._compute_loss(trainer.model, inputs, return_outputs=False)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("ours", "theirs", "constants"),
    [
        ("dpo", "sigmoid", LossConstants(beta=0.3)),
        ("ipo", "ipo", LossConstants(beta=0.2)),
        ("robust", "robust", LossConstants(beta=0.5, smoothing=0.2)),
        ("dpo_norm", "sigmoid_norm", LossConstants(beta=5.0)),
    ],
)
def test_equals_trl(ours: str, theirs: str, constants: LossConstants) -> None:
    pytest.importorskip("trl")
    mine = outcome(ours, logps(1), logps(2), constants).loss.mean()
    assert mine.item() == pytest.approx(float(trl_dpo_loss([theirs], constants)), abs=1e-5)


@pytest.mark.oracle
def test_dpo_with_nll_equals_trl_pair_by_pair() -> None:
    """TRL averages its SFT term over the batch's tokens, the paper over each response: equal one by one."""
    pytest.importorskip("trl")
    constants = LossConstants(beta=0.3, nll_weight=0.7)
    mine = outcome("dpo_nll", logps(1), logps(2), constants).loss
    theirs = [
        float(trl_dpo_loss(["sigmoid", "sft"], constants, (1.0, 0.7), slice(i, i + 1))) for i in range(6)
    ]
    assert mine.tolist() == pytest.approx(theirs, abs=1e-5)


@pytest.mark.oracle
def test_cdpo_and_simpo_equal_trl_cpo() -> None:
    """TRL has label smoothing and SimPO in its CPO trainer, whose loss has no reference: ratios stand in."""
    trainer = _cpo(beta=0.4, label_smoothing=0.15, loss_type="sigmoid")
    policy, reference = logps(1), logps(2)
    ratios = policy.chosen - reference.chosen, policy.rejected - reference.rejected
    mine = outcome("cdpo", policy, reference, LossConstants(beta=0.4, smoothing=0.15)).loss
    torch.testing.assert_close(mine, trainer.cpo_loss(*ratios)[0], atol=1e-5, rtol=0)

    trainer = _cpo(beta=2.0, simpo_gamma=0.8, loss_type="simpo")
    means = policy.chosen / TOKENS[0], policy.rejected / TOKENS[1]
    mine = outcome("simpo", policy, None, LossConstants(beta=2.0, gamma=0.8)).loss
    torch.testing.assert_close(mine, trainer.cpo_loss(*means)[0], atol=1e-5, rtol=0)


def _cpo(**settings):
    cpo = pytest.importorskip("trl.experimental.cpo")
    trainer = cpo.CPOTrainer.__new__(cpo.CPOTrainer)
    defaults = {"alpha": 0.0, "label_smoothing": 0.0, "simpo_gamma": 0.0}
    vars(trainer).update(accelerator=SimpleNamespace(device="cpu"), **defaults | settings)
    return trainer


def test_simpo_by_hand() -> None:
    """β(m_w − m_l) − γ = 2(−1 + 2) − .5 = 1.5, and −log σ(1.5) = .201413; exchanged −2.5: 2.578890."""
    means = torch.tensor([-1.0, -2.0])
    assert simpo(means, means.flip(0), beta=2.0, gamma=0.5).tolist() == pytest.approx(
        [0.201413, 2.578890], abs=1e-5
    )


@pytest.mark.oracle
def test_orpo_equals_trl() -> None:
    orpo = pytest.importorskip("trl.experimental.orpo")
    trainer = orpo.ORPOTrainer.__new__(orpo.ORPOTrainer)
    vars(trainer).update(accelerator=SimpleNamespace(device="cpu"), beta=0.25)
    policy = logps(1)
    means = policy.chosen / TOKENS[0], policy.rejected / TOKENS[1]
    likelihood = nll(policy.chosen, TOKENS[0])
    theirs = likelihood - trainer.odds_ratio_loss(*means)[0]  # TRL subtracts β log σ
    mine = outcome("orpo", policy, None, LossConstants(odds_weight=0.25)).loss
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)


def test_dpo_closed_form() -> None:
    """−log σ of 0, 1 and 2 are ln 2, .313262 and .126928; β = .5 and ratios (2, 0) give βh = 1."""
    losses = dpo(torch.tensor([0.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, -1.0]), beta=0.5)
    assert losses.tolist() == pytest.approx([LN2, 0.313262, 0.126928], abs=1e-6)


def test_cdpo_closed_form() -> None:
    """ε = .25, βh = 1: .75 · .313262 + .25 · 1.313262 = .563262."""
    assert dpo(torch.tensor([1.0]), torch.tensor([0.0]), beta=1.0, smoothing=0.25).item() == pytest.approx(
        0.563262, abs=1e-6
    )


def test_dpop_closed_form() -> None:
    """β .3, λ 50. Δ = (−.1, −.6): .3 · (.5 − 5) = −1.35, −log σ(−1.35) = 1.580509. Δ = (.2, 0): plain DPO,
    −log σ(.06) = .663597. The published sign error would give −log σ(1.65) = .175674 for the first."""
    losses = dpop(torch.tensor([-0.1, 0.2]), torch.tensor([-0.6, 0.0]), beta=0.3, penalty=50.0)
    expected = [math.log1p(math.exp(1.35)), math.log1p(math.exp(-0.06))]
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx([1.580509, 0.663597], abs=1e-5)


def test_dpop_starts_like_dpo() -> None:
    zero = torch.zeros(1, requires_grad=True)
    dpop(zero, torch.zeros(1), beta=0.3, penalty=50.0).sum().backward()
    assert zero.grad is not None and zero.grad.item() == pytest.approx(-0.15)  # −β σ(0)


def test_ipo_and_nll_closed_form() -> None:
    """(.3 − .1 − 1/(2·.5))² = .64, and 6 nats over 3 tokens."""
    ratios = torch.tensor([0.3, 0.1], dtype=torch.float64)
    assert ipo(ratios[:1], ratios[1:], beta=0.5).item() == pytest.approx(0.64)
    assert nll(torch.tensor([-6.0]), torch.tensor([3])).item() == 2.0


def test_robust_is_unbiased() -> None:
    """(1 − ε) L(h) + ε L(−h) is DPO's own loss: that is what the paper's correction is for."""
    chosen, rejected = torch.tensor([0.7, -2.0, 5.0]), torch.tensor([0.1, 0.4, -3.0])
    right = robust_dpo(chosen, rejected, beta=0.8, smoothing=0.3)
    flipped = robust_dpo(rejected, chosen, beta=0.8, smoothing=0.3)
    torch.testing.assert_close(0.7 * right + 0.3 * flipped, dpo(chosen, rejected, beta=0.8))
    with pytest.raises(ValueError, match="flipped"):
        robust_dpo(chosen, rejected, beta=0.8, smoothing=0.5)


def test_odds_ratio_closed_form() -> None:
    """p = .8 and .5: odds 4 and 1, log odds ratio ln 4, −log σ(ln 4) = ln(5/4)."""
    loss = odds_ratio(torch.tensor([math.log(0.8)]), torch.tensor([math.log(0.5)]))
    assert loss.item() == pytest.approx(math.log(1.25), abs=1e-6)


def test_log1mexp_is_exact_in_double() -> None:
    """Against the series log(−x) + x/2 near 0 and −eˣ far out, where the naive form loses every digit."""
    x = torch.tensor([-1e-9, -1e-3, -0.5, -1.0, -50.0, -800.0], dtype=torch.float64)
    expected = [
        math.log(1e-9) - 5e-10, math.log(-math.expm1(-1e-3)), math.log(-math.expm1(-0.5)),
        math.log1p(-math.exp(-1.0)), -math.exp(-50.0), 0.0,
    ]  # fmt: skip
    assert log1mexp(x).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-300)


EXTREMES = [0.0, -1e-30, -1e-8, -1.0, -1e4, -1e30]


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_stay_finite(name: str, dtype: torch.dtype) -> None:
    """Every pairing of log-probs from 0 (a certain response) to −1e30, and the gradients too."""
    limit = 1e4 if name == "ipo" else 1e30  # a square of 1e30 is no float32 number
    values = [v for v in EXTREMES if -v <= limit]
    grid = torch.cartesian_prod(*[torch.tensor(values, dtype=dtype)] * 2)
    chosen, rejected = (grid[:, i].clone().requires_grad_() for i in (0, 1))
    ones = torch.ones(len(grid), dtype=dtype)
    policy = Logps(chosen, rejected, ones, ones)
    reference = None if not METHODS[name].reference else Logps(-3 * ones, -4 * ones, ones, ones)
    losses = outcome(name, policy, reference, LossConstants(smoothing=0.1)).loss
    assert losses.isfinite().all()
    losses.mean().backward()
    for side in (chosen, rejected):
        assert side.grad is not None and side.grad.isfinite().all()


@pytest.mark.parametrize("name", PAIRED)
def test_gradients_in_double(name: str) -> None:
    tokens = torch.tensor([3.0, 5.0, 2.0], dtype=torch.float64)
    start = torch.tensor([[-4.0, -9.0, -1.0], [-6.0, -8.5, -3.0]], dtype=torch.float64, requires_grad=True)
    reference = Logps(*torch.tensor([[-4.5, -8.0, -1.5], [-5.0, -9.0, -2.5]]).double(), tokens, tokens)

    def loss(logps: torch.Tensor) -> torch.Tensor:
        given = None if not METHODS[name].reference else reference
        return outcome(
            name, Logps(logps[0], logps[1], tokens, tokens), given, LossConstants(smoothing=0.2)
        ).loss

    assert torch.autograd.gradcheck(loss, start)


@pytest.mark.parametrize("name", sorted(name for name in PAIRED if METHODS[name].reference))
def test_a_missing_reference_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        outcome(name, logps(1), None, LossConstants())


@pytest.mark.parametrize("name", ["dpo", "cdpo", "robust", "dpop", "dpo_norm"])
def test_starts_at_ln2(name: str) -> None:
    """Policy = reference: the loss of every DPO-like method on log σ is ln 2."""
    losses = outcome(name, logps(1), logps(1), LossConstants(smoothing=0.1)).loss
    torch.testing.assert_close(losses, torch.full((6,), LN2))


def test_every_method_has_an_equation_and_constants_with_ranges() -> None:
    assert set(EQUATIONS) == set(METHODS)
    for method in METHODS.values():
        assert set(method.constants) <= set(LossConstants.__dataclass_fields__) & set(RANGES)
        assert method.scale in {None, *method.constants}


@pytest.mark.parametrize("name", METHODS)
def test_the_table_says_where_a_loss_starts_and_what_bounds_it(name: str) -> None:
    """`starts_at_ln2` where policy = reference, `bounded` by −log σ(margin), each exactly where it holds."""
    start = outcome(name, logps(1), logps(1), LossConstants(smoothing=0.1)).loss
    assert METHODS[name].starts_at_ln2 == bool(torch.allclose(start, torch.full((6,), LN2)))
    if METHODS[name].bounded:
        found = outcome(name, logps(1), logps(2), LossConstants())
        margins = found.chosen_rewards - found.rejected_rewards
        assert bool((found.loss >= -torch.nn.functional.logsigmoid(margins) - 1e-6).all())


@pytest.mark.parametrize(
    "asks",
    [
        lambda name: outcome(name, logps(1), logps(2), LossConstants()),
        lambda name: recipe(name, 10**9),
        lambda name: shipped(name, parameters=None, n=10),
        lambda name: stages_of(f"sft+{name}"),
        lambda name: Plan.of(name, 1e-5, 0.1, "float32", full=False),
        lambda name: budget_beta(name, 0.1),
    ],
)
def test_an_unknown_method_is_an_error_everywhere(asks: Callable[[str], object]) -> None:
    with pytest.raises(ProbeError, match="'ppo' is not a method"):
        asks("ppo")


@pytest.mark.parametrize(
    ("method", "stages"),
    [
        ("sft+dpo", ("sft", "dpo")),
        ("dpo+nll", ("dpo_nll",)),
        ("sft+dpo+nll", ("sft", "dpo_nll")),
        ("sft + dpop", ("sft", "dpop")),
    ],
)
def test_a_method_is_its_stages_and_a_decision_s_name_is_one_of_them(method, stages):
    assert stages_of(method) == stages
