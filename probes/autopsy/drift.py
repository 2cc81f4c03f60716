"""Tags of online runs whose policy went too far from its reference, or writes one text for each prompt."""

from __future__ import annotations

from statistics import median

from .case import Case, Sign
from .online import first_logged

FAR = 3.0  # nats per token: the reference gives the policy's tokens e⁻³, a twentieth, of its probability
ENTROPY_LEFT = 0.1  # of the entropy at the start
LOW_ENTROPY = 0.05  # nats per token
# Per token, TRL's name first, then verl's. PPO's objective/kl is a sum over the response and is not judged.
KL_NAMES = ("kl", "actor/kl_loss")
ENTROPY_NAMES = ("entropy", "actor/entropy", "actor/entropy_loss")


def kl_high(case: Case) -> Sign | None:
    """The tag of an online policy far from its reference, or None.

    PB878 far from the reference: the median KL of the last fifth is {FAR:g} nats per token or more.

    Means: the reference gives the tokens that the policy writes less than a twentieth of the policy's
    probability, one by one: no text of an ordinary length is likely to it any more. The limit is a
    convention; a median, since the estimator takes an exponential and single entries jump.
    Why: what the reference knew (language, format, refusals) is no longer held; a reward that still rises may
    be one that such text deceives.
    Do: read completions of the end; take a checkpoint from before the step given; raise β, lower the learning
    rate, clip gradients.
    Source: design rule; Gao et al. 2023 for reward against KL; TRL issue 3015, where the estimator overflows.
    """
    kl = first_logged(case, KL_NAMES)
    if case.method.family != "online" or len(kl) < 2 or kl.last_median(5) < FAR:
        return None
    since = kl.since(lambda v: v >= FAR, 5, median)
    end = f"{kl.last_median(5):.4g} nats per token (median of the last fifth)"
    text = f"{kl.name} {end}, {kl.values[0]:.4g} at first"
    return Sign("kl_high", "PB878", since, text, NEXT_FAR)


NEXT_FAR = (
    "Read completions of the end: is it still language, and is the answer right or the reward deceived? Take "
    "a checkpoint from before that place; repeat with a larger KL weight (beta) or a lower learning rate."
)


def entropy_collapse(case: Case) -> Sign | None:
    """The tag of an online policy that hardly varies its answers, or None.

    PB879 entropy collapse: the policy ended with hardly any choice left between its tokens.

    Means: in the last tenth the entropy is under {LOW_ENTROPY} nats per token and under {ENTROPY_LEFT:.0%} of
    what it was in the first. At an entropy H the likeliest next token has a probability of e⁻ᴴ or more, in
    the geometric mean, here 95%: completions of one prompt differ in few tokens.
    Why: a group of equal completions has no advantage, so that nothing more is learned; and what the policy
    does not sample it cannot find.
    Do: read several completions of one prompt; take an earlier checkpoint if they are one text; raise the
    upper clip (epsilon_high 0.28) or the temperature, or train on harder prompts.
    Source: Cui et al. 2025 (entropy mechanism: reward is bought with entropy and ends with it); Yu et al.
    2025 (DAPO), clip-higher. The limits are a convention.
    """
    entropy = first_logged(case, ENTROPY_NAMES)
    start, end = entropy.first(10), entropy.last(10)
    if case.method.family != "online" or len(entropy) < 5 or not 0.0 <= end < LOW_ENTROPY:
        return None
    if end >= ENTROPY_LEFT * start:
        return None
    since = entropy.since(lambda v: v < LOW_ENTROPY, 10)
    text = f"mean {entropy.name} {start:.3g} nats per token in the first tenth, {end:.3g} in the last"
    return Sign("entropy_collapse", "PB879", since, text, NEXT_FEW)


NEXT_FEW = (
    "Read several completions of one prompt: if they are one text, nothing more is learned from them. Raise "
    "epsilon_high or the temperature, or take harder prompts; an earlier checkpoint still varies."
)
