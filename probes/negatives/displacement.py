"""Will the chosen responses lose probability? CHES from final hidden states, entanglement from gradients.

Both take one pair at a time and say nothing of what pairs do to each other. Codes PB410, PB420.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from ...pairs.record import Pair
from ...records import Estimate, Finding, Measured
from ...stats.statistics import Floats, mean_estimate, share_clustered
from .classify import Clusters
from .triviality import pointing

SINKING = 0.5  # share of pairs
FENCE = 3.0  # interquartile ranges above the upper quartile: far out (Tukey)


@dataclass(frozen=True, slots=True)
class Ches:
    """CHES scores [pairs] of pairs, in squared units of the final hidden state.

    `raw` = ⟨S⁺, S⁻⟩ − ‖S⁺‖² and `normalised` = ⟨S⁺/n⁺, S⁻/n⁻⟩ − ‖S⁺/n⁺‖², where S sums the final hidden
    states from which the n scored tokens of a response are predicted. `length_gap` = n⁻ − n⁺ is what raw CHES
    follows where it follows nothing else. Source: Razin et al. 2024, definition 2 and its length-normalised
    form.
    """

    raw: Floats
    normalised: Floats
    length_gap: Floats


@dataclass(frozen=True, slots=True)
class Gradients:
    """Inner products [pairs] of g⁺ = ∇ log π(chosen) and g⁻ = ∇ log π(rejected): ‖g⁺‖², ‖g⁻‖², ⟨g⁺, g⁻⟩."""

    chosen: Floats
    rejected: Floats
    both: Floats

    @property
    def sinks(self) -> npt.NDArray[np.bool_]:
        """Whether a small DPO step on the pair lowers log π(chosen): it changes as ‖g⁺‖² − ⟨g⁺, g⁻⟩."""
        return self.both > self.chosen

    @property
    def healthy(self) -> npt.NDArray[np.bool_]:
        """Whether chosen rises and rejected sinks: ⟨g⁺, g⁻⟩ < min(‖g⁺‖², ‖g⁻‖²) (Yuan et al. 2024)."""
        return self.both < np.minimum(self.chosen, self.rejected)

    @property
    def cosine(self) -> Floats:
        """The angle between the sides' gradients; 0 where one of them vanishes."""
        size = np.sqrt(self.chosen * self.rejected)
        return np.divide(self.both, size, out=np.zeros_like(self.both), where=size > 0)


def ches(
    chosen_sums: npt.ArrayLike,
    rejected_sums: npt.ArrayLike,
    chosen_n: npt.ArrayLike,
    rejected_n: npt.ArrayLike,
) -> Ches:
    """CHES from sums of final hidden states [pairs, hidden] and scored tokens [pairs] of both sides."""
    plus, minus = (np.asarray(sums, dtype=np.float64) for sums in (chosen_sums, rejected_sums))
    n_plus, n_minus = (np.asarray(n, dtype=np.float64) for n in (chosen_n, rejected_n))
    inner, square = np.sum(plus * minus, axis=-1), np.sum(plus * plus, axis=-1)
    return Ches(inner - square, inner / (n_plus * n_minus) - square / n_plus**2, n_minus - n_plus)


def judge_ches(pairs: Sequence[Pair], found: Ches, clusters: Clusters, *, alpha: float = 0.05) -> Measured:
    """Estimates, the finding, and how far raw CHES is only the length gap (Spearman)."""
    value = mean_estimate(found.normalised, name="ches_ln", units="hidden²", clusters=clusters, alpha=alpha)
    null = _spearman("ches_length_correlation", found.raw, found.length_gap)
    own = _spearman("ches_ln_length_correlation", found.normalised, found.length_gap)
    finding = check_ches(found, pairs)
    return Measured((value, null, own), (finding,) if finding else ())


def judge_gradients(
    pairs: Sequence[Pair], found: Gradients, clusters: Clusters, *, alpha: float = 0.05
) -> Measured:
    """Share of pairs whose chosen side sinks, share that is healthy, mean cosine; and the finding."""
    sinks = share_clustered(found.sinks, clusters, name="entanglement", alpha=alpha)
    healthy = share_clustered(found.healthy, clusters, name="entanglement_healthy", alpha=alpha)
    cosine = mean_estimate(
        found.cosine, name="gradient_cosine", units="cosine", clusters=clusters, alpha=alpha
    )
    finding = check_entanglement(sinks, found, pairs)
    return Measured((sinks, healthy, cosine), (finding,) if finding else ())


def check_ches(found: Ches, pairs: Sequence[Pair]) -> Finding | None:
    """PB410 displacement by likeness: some pairs have an outlying length-normalised CHES score.

    Means: the hidden states of the two sides of these pairs are more alike than those of the set's other
    pairs (the score lies more than {FENCE:g} interquartile ranges above the upper quartile). CHES ranks
    pairs; its zero means nothing by itself.
    Why: lowering the rejected side of such a pair lowers what shares its states, the chosen side first.
    Do: drop them (`--export-trimmed` with `--trim-by ches`): removing the top of the ranking restored refusal
    rates that DPO had destroyed. Or anchor the chosen side (DPO + NLL, DPOP).
    Source: Razin et al. 2024, "Unintentional unalignment". Raw CHES follows the length gap, whose correlation
    with it is reported.
    """
    low, high = np.quantile(found.normalised, [0.25, 0.75])
    out = found.normalised > high + FENCE * (high - low)
    if high <= low or not out.any():
        return None
    text = f"{int(out.sum())} of {len(out)} pairs have an outlying length-normalised CHES score"
    remedy = "Drop them with --export-trimmed, or anchor the chosen side (DPO + NLL, DPOP)."
    return pointing(Finding("PB410", "info", text, remedy), found.normalised, pairs)


def check_entanglement(sinks: Estimate, found: Gradients, pairs: Sequence[Pair]) -> Finding | None:
    """PB420 entangled gradients: a DPO step on a pair lowers its own chosen response.

    Means: in more than {SINKING:.0%} of the sampled pairs (lower bound) ⟨g⁺, g⁻⟩ > ‖g⁺‖² on the parameters
    that would be trained, so that the first-order change of log π(chosen), ‖g⁺‖² − ⟨g⁺, g⁻⟩, is negative.
    Why: margins grow while both sides lose probability; where the two sides are nearly the same text and
    correctness hangs on a few tokens, the right answer itself becomes improbable.
    Do: DPOP, or DPO with an NLL term on the chosen side.
    Source: Yuan et al. 2024, "A common pitfall of margin-based language model alignment", condition 1; exact
    to first order for one pair.
    """
    if sinks.low is None or sinks.low <= SINKING:
        return None
    share = f"{sinks.value:.0%} of {sinks.n} sampled pairs"
    text = f"a training step on a pair makes its own chosen response less likely in {share}"
    finding = Finding("PB420", "warning", text, "Use DPOP, or DPO + NLL.", estimate=sinks)
    return pointing(finding, found.both - found.chosen, pairs)


def _spearman(name: str, values: Floats, others: Floats) -> Estimate:
    """Spearman's ρ without an interval; no value where one side does not vary."""
    rho: Any = None
    p: Any = None
    if len(values) > 2 and np.ptp(values) > 0 and np.ptp(others) > 0:
        rho, p = (float(x) for x in stats.spearmanr(values, others))
    return Estimate(
        name, rho, None, None, len(values), p, "Spearman, pairs taken as independent", "correlation"
    )
