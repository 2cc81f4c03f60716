"""Which training method wrote a log, told from its columns and its first loss, and what holds for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, pstdev
from typing import Literal

from ...training.methods import LN2
from ...training.rules import least_loss
from .curve import Curve, LogRow, curve_of
from .log import Log
from .sums import accumulated_batches, divided_twice, squares_fit, terms_added

Family = Literal["supervised", "reference", "reference-free", "unpaired", "reward", "online"]


@dataclass(frozen=True, slots=True)
class RecognisedMethod:
    """A recognised method.

    `idle` is the loss of a policy that has learned nothing (ln 2 for DPO; None: not known), `sigmoid` says
    that the loss is −log σ(margin), so that Jensen bounds it by the mean margin, `why` is the evidence.
    `accumulated_batches` is the number of micro-batches whose losses were added up instead of averaged.
    """

    name: str
    family: Family
    idle: float | None
    sigmoid: bool
    why: str
    accumulated_batches: int = 1

    @property
    def pairwise(self) -> bool:
        """Whether an accuracy of ½ means that the two sides are not told apart."""
        return self.family in ("reference", "reference-free", "reward")


SFT = RecognisedMethod("SFT", "supervised", None, False, "a loss and no rewards")
OF_TOKENS_PERHAPS = RecognisedMethod(
    "SFT", "supervised", None, False, "a loss, and an accuracy that nothing shows to be one of pairs"
)
# Of a supervised run's logs alone: TRL's metrics of tokens.
OF_TOKENS = ("mean_token_accuracy", "num_tokens", "entropy", "perplexity")
NEAR_LN2 = 0.03
EXACT = 0.003  # so near to ln 2 no other loss begins by chance
DISTILLED = RecognisedMethod(
    "method not recognised", "supervised", None, False, "a loss beside a KL column, as distillation has"
)
UNKNOWN = RecognisedMethod(
    "method not recognised", "supervised", None, False, "a loss alone, which starts near ln 2 as DPO's does"
)
UNNAMED = RecognisedMethod(
    "method not recognised", "supervised", None, False, "evaluations alone, with an accuracy and no rewards"
)
# What a log says of itself is believed where its columns cannot contradict.
STATED = {
    "ORPO": RecognisedMethod("ORPO", "reference-free", None, False, "the log names it"),
    # Two terms of a sigmoid, each ln 2 at the start.
    "NCA": RecognisedMethod("NCA", "reference", 2.0 * LN2, False, "the log names it"),
    "BCO": RecognisedMethod("BCO", "reference", 2.0 * LN2, False, "the log names it"),
    "EXO": RecognisedMethod("EXO", "reference", None, False, "the log names it"),
    "SimPO": RecognisedMethod("SimPO", "reference-free", None, False, "the log names it"),
    "CPO": RecognisedMethod("CPO", "reference-free", None, False, "the log names it"),
    "KTO": RecognisedMethod("KTO", "unpaired", 0.5, False, "the log names it"),
    "GRPO": RecognisedMethod("GRPO", "online", None, False, "the log names it"),
    "reward model": RecognisedMethod("reward model", "reward", LN2, True, "the log names it"),
}
ODDS = ("log_odds_chosen", "log_odds_ratio", "odds_ratio_loss")
CRITICS = ("critic/vf_loss", "critic_loss", "vf_loss", "value_loss")
ONLINE = ("reward", "reward_std", "objective/rlhf_reward", "objective/scores", "objective/kl")


def recognise(log: Log) -> RecognisedMethod:
    """The method of `log`: by columns only one method writes, else by how rewards and loss relate."""
    if log.has(*ONLINE):
        return RecognisedMethod(_online_name(log), "online", None, False, "rewards of sampled completions")
    if log.has(*ODDS):
        return RecognisedMethod("ORPO", "reference-free", None, False, "odds-ratio columns")
    if log.has("mean_reward", "reward_mean") and _scores_pairs(log):
        return RecognisedMethod("reward model", "reward", LN2, True, "scores of a reward model")
    if log.has("kl") and not log.has("rewards/accuracies") and _as_of_kto(log):
        return RecognisedMethod("KTO", "unpaired", 0.5, False, "a KL column and no accuracies")
    # An SFT run on pairs has their log-probs too, in evaluations only.
    paired = any("logps/chosen" in row for row in log.train)
    if not paired and not log.has("rewards/margins", "rewards/chosen"):
        return _from_loss_alone(log)
    named = STATED.get(log.hints.method)
    return named or _reference_free(log) or _with_reference(log)


def _online_name(log: Log) -> str:
    """TRL's online DPO, XPO and Nash-MD log the objective of its PPO, and the margins of their pairs too."""
    if not log.has("objective/kl", "objective/rlhf_reward"):
        return "PPO" if log.has(*CRITICS) else "GRPO"
    return "online DPO" if log.has("rewards/margins", "rewards/probabilities") else "PPO"


def _scores_pairs(log: Log) -> bool:
    """Whether scores are those of a reward model in training: with their range, or a loss from ln 2."""
    losses = log.curve("loss").values
    at_rest = bool(losses) and abs(losses[0] - LN2) < NEAR_LN2
    ranged = log.has("min_reward", "max_reward") and log.has("rewards/margins", "rewards/accuracies")
    return ranged or at_rest


def _from_loss_alone(log: Log) -> RecognisedMethod:
    """From a loss, and an accuracy where there is one: of pairs, or of tokens (`acc` of ms-swift).

    A classifier's accuracy stands in its evaluations. A start at ln 2 with an accuracy of one half is DPO;
    any other start, DPO from another reference or a loss without one where the accuracy is said to be one of
    pairs, and else as likely a supervised run.
    """
    stated = log.hints.method
    accuracy = curve_of(log.rows, "rewards/accuracies")
    if stated in STATED:
        return STATED[stated]
    if stated == "SFT" and not (len(accuracy) and log.hints.pairs):
        return SFT
    losses = log.curve("loss").values
    at_rest = bool(losses) and abs(losses[0] - LN2) < NEAR_LN2
    if at_rest and len(accuracy) and (log.hints.pairs or _as_of_pairs(accuracy, losses[0])):
        return RecognisedMethod("DPO", "reference", LN2, True, "an accuracy, and a loss that starts at ln 2")
    low = log.hints.pairs or (bool(losses) and losses[0] < LN2 + NEAR_LN2)
    if stated == "DPO" or (low and len(accuracy) and not log.evals and 0.25 < accuracy.values[0] < 0.75):
        why = "the log names it" if stated == "DPO" else "an accuracy about one half in training"
        return RecognisedMethod("DPO", "reference", LN2, True, why)
    if log.has(*OF_TOKENS):
        return SFT
    if len(accuracy):
        return OF_TOKENS_PERHAPS if log.train else UNNAMED
    if log.has("kl") and losses:
        return DISTILLED
    return UNKNOWN if at_rest else SFT


def _as_of_kto(log: Log) -> bool:
    """Whether a KL column is that of KTO: beside a side's reward or log-probs, or a loss that starts at ½."""
    losses = log.curve("loss").values
    sides = log.has(*(f"{what}/{side}" for what in ("rewards", "logps") for side in ("chosen", "rejected")))
    return log.hints.method == "KTO" or sides or not losses or abs(losses[0] - 0.5) < 0.1


def _as_of_pairs(accuracy: Curve, loss: float) -> bool:
    """Whether an accuracy beside a first loss near ln 2 is that of pairs, and not one of well known tokens.

    Tokens of a mean loss of 0.7 are guessed right in four of five places. The first batch alone says little:
    ties count as wrong.
    """
    return accuracy.first(10) < 0.75 or abs(loss - LN2) < EXACT


def _reference_free(log: Log) -> RecognisedMethod | None:
    """ORPO, SimPO or CPO: without a reference the reward is β · logps, so their ratio is one constant."""
    betas = [
        row["rewards/chosen"] / row["logps/chosen"]
        for row in log.rows
        if math.isfinite(row.get("rewards/chosen", math.nan))
        and math.isfinite(row.get("logps/chosen", math.nan))
        and row["logps/chosen"] != 0.0
    ]
    beta = median(betas) if betas else 0.0
    moved = len(set(curve_of(log.rows, "logps/chosen").values)) > 1  # one row written again proves no ratio
    if beta <= 0.0 or len(betas) < 2 or not moved or pstdev(betas) > 0.02 * beta:
        return None
    why = f"rewards are {beta:.3g} × logps: no reference"
    # The papers' ranges do not meet: ORPO's λ is at most 1, SimPO's β (on per-token logps) 2 to 10.
    per_token = _per_token(log.rows)
    name = "CPO" if not per_token else "ORPO" if beta < 1.0 else "SimPO"
    return RecognisedMethod(name, "reference-free", None, False, why)


def _per_token(rows: Sequence[LogRow]) -> bool:
    """Whether logps are means over tokens: below ln 100,000 nats, more than a uniform guess would cost."""
    logps = curve_of(rows, "logps/chosen").values
    return bool(logps) and -median(logps) < math.log(100_000)


def _with_reference(log: Log) -> RecognisedMethod:
    if any(row.get("nll_loss", 0.0) > 0.0 for rows in (log.train, *log.evals.values()) for row in rows):
        return RecognisedMethod("MPO", "reference", None, False, "a preference loss mixed with an SFT term")
    losses = curve_of(log.rows, "loss").values
    if losses and min(losses) < 0.0:
        return _variant(None, "a loss below 0, which −log σ cannot be")
    if not log.has("rewards/margins", "rewards/chosen", "rewards/rejected"):
        return _from_logps(log)
    start = _start(log)
    if start is None and _other_loss(log):
        return _variant(None, "losses that −log σ of their margins cannot give")
    if start is None:
        return RecognisedMethod("DPO", "reference", LN2, True, "rewards against a reference")
    return _from_start(log, *start)


def _from_logps(log: Log) -> RecognisedMethod:
    """From log-probs of the sides and no rewards: only a start at ln 2 says that there is a reference."""
    losses = log.curve("loss").values
    if log.hints.method == "DPO":
        return RecognisedMethod("DPO", "reference", LN2, True, "the log names it")
    if losses and abs(losses[0] - LN2) < NEAR_LN2:
        return RecognisedMethod("DPO", "reference", LN2, True, "log-probs, and a loss that starts at ln 2")
    if not len(log.curve("logps/chosen")):  # then no loss is one that was computed
        return RecognisedMethod("DPO", "reference", LN2, True, "log-probs of the sides, none a number")
    why = "log-probs of the sides and no rewards"
    return RecognisedMethod("method not recognised", "reference-free", None, False, why)


def _other_loss(log: Log) -> bool:
    """Whether no entry near margin 0 has the loss of −log σ there, nor a 0 that NaN leaves behind."""
    near = [
        (row["loss"], row["rewards/margins"])
        for row in log.rows
        if abs(row.get("rewards/margins", math.nan)) <= 0.25 and math.isfinite(row.get("loss", math.nan))
    ]
    below = [loss for loss, margin in near if loss < least_loss(margin) - 0.05]
    return len(below) >= 3 and len(below) == len(near) and min(below) > 0.0


def _start(log: Log) -> tuple[float, float] | None:
    """Loss and margin of the first entry, if the rewards there are still about 0: the policy is at rest."""
    row = log.rows[0]
    loss, margin = row.get("loss", math.nan), row.get("rewards/margins", math.nan)
    rest = abs(margin) < 0.1 and all(
        abs(row.get(f"rewards/{side}", 0.0)) < 0.25 for side in ("chosen", "rejected")
    )
    return (loss, margin) if rest and math.isfinite(loss) else None


def _from_start(log: Log, loss: float, margin: float) -> RecognisedMethod:
    """The loss function, from its value where the margin is still about 0."""
    expected = math.log1p(math.exp(-margin))
    if abs(loss - 0.5) < 0.02 and not log.has("rewards/accuracies") and _steady(loss, log):
        return RecognisedMethod("KTO", "unpaired", 0.5, False, "a loss that starts at ½ and no accuracies")
    if abs(loss - expected) < 0.05 or loss == 0.0:
        return RecognisedMethod("DPO", "reference", LN2, True, "a loss that starts at ln 2")
    if _other_loss(log) and not _steady(loss, log):
        return _variant(None, "losses that −log σ of their margins cannot give")
    if loss < LN2 and not _steady(loss, log):
        return RecognisedMethod("DPO", "reference", LN2, True, "rewards against a reference")
    times = terms_added(log, loss, margin)
    beta = abs(0.5 - margin) / math.sqrt(loss)
    ipo = _written(beta) and (loss > 3.0 or times is not None or _per_token(log.rows))
    lasting = median(curve_of(log.rows, "loss").values) > 0.0  # zeros after it would be a failure, not a sum
    if times and lasting and not (ipo and squares_fit(log, times, beta)):
        why = f"a loss that starts at {loss / LN2:.3g} × ln 2: summed over {times} micro-batches"
        return RecognisedMethod("DPO", "reference", LN2, True, why, times)
    if divided_twice(loss, log):
        return _variant(loss, f"a loss that starts at {loss / LN2:.3g} × ln 2")
    if ipo:
        why = f"a loss that starts at {loss:.3g} = (½ / β)², β {beta:.2g}"
        return RecognisedMethod("IPO", "reference", 0.25 / beta**2, False, why)
    if accumulated_batches(loss, margin) == 2:
        return _variant(loss, "a loss that starts at 2 × ln 2: NCA, BCO or a sum over 2 micro-batches")
    return _variant(loss, f"a loss that starts at {loss:.3g}, not ln 2")


def _steady(loss: float, log: Log) -> bool:
    """Whether every entry near margin 0 has about the loss of the first.

    Another loss function has another value there (EXO lies under ln 2); averaged NaN has any, and then 0.
    """
    near = [
        row["loss"] for row in log.train if abs(row.get("rewards/margins", math.nan)) < 0.1 and "loss" in row
    ]
    return len(near) > 1 and all(abs(other - loss) < 0.25 * loss for other in near)


def _written(beta: float) -> bool:
    """Whether somebody would write this β: one digit, or a multiple of .05."""
    return any(abs(b - beta) < 0.01 * beta for b in (float(f"{beta:.0e}"), round(20.0 * beta) / 20.0))


def _variant(idle: float | None, why: str) -> RecognisedMethod:
    return RecognisedMethod("DPO variant", "reference", idle, False, why)
