"""Effects that `[gate.limits]` bounds, as a part of the gate: nothing else is measured.

A limit on an attribute bounds the mean of chosen − rejected in the attribute's own units, either way; one on
a trait bounds its weight beyond the controls, nats/token, from above. What is intended has no limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ... import config
from ...number_format import count
from ...records import Measured, together
from ..gated import Cost, Effort, GateRequest, Work
from .attributes import ATTRIBUTES, Attribute, estimate_name
from .traits import TRAITS, Trait, controls, words_of_trait

BOUNDED: dict[str, Attribute | Trait] = {
    **{estimate_name("attribute", a.name): a for a in ATTRIBUTES},
    **{estimate_name("effect", t.name): t for t in TRAITS},
}  # what a limit can name


def idle(request: GateRequest) -> str:
    """Why nothing is measured: no limit names an effect; "" where one does."""
    return "" if bounded(request.limits) else "no limit names an effect"


def bounded(limits: Mapping[str, float | bool]) -> dict[str, Attribute | Trait]:
    """The effects that limits name, by the name of their estimate."""
    names = [name.replace("-", "_") for name, limit in limits.items() if limit is not False]
    return {name: BOUNDED[name] for name in names if name in BOUNDED}


def cost(n: int, effort: Effort, trial_pairs: int) -> Cost:
    """A scoring pass for each trait that the config file bounds and each control, and one without."""
    limits = config.section("gate.limits")
    named = bounded(limits)
    if not named:
        return Cost("effects", 0, 0, "nothing: no limit names an effect")
    traits = _traits(named.values())
    told = f"{count(len(named) - len(traits), 'attribute')}, {count(len(traits), 'trait')} by system text"
    return Cost("effects", forwards(n, limits), 0, told)


def forwards(n: int, limits: Mapping[str, float | bool]) -> int:
    """Pairs' ways through the model: one without a system text, one under each trait and each control."""
    from .run import EffectsOptions

    traits = _traits(bounded(limits).values())
    passes = 1 + len(traits) + len({c.text for t in traits for c in controls(words_of_trait(t.text))})
    return passes * min(n, EffectsOptions().most) if traits else 0


def measure(work: Work) -> Measured:
    """The bounded attributes over the whole file, the bounded traits over a sample of it."""
    from .run import EffectsOptions, traits_in

    asked, named = work.request, bounded(work.request.limits)
    traits = _traits(named.values())
    options = EffectsOptions(traits, alpha=asked.alpha, seed=asked.seed)
    parts = [_attributes(work, {name for name, one in named.items() if isinstance(one, Attribute)})]
    parts += [traits_in(work.scoring, options)] if traits else []
    whole = together(parts)
    return replace(whole, estimates=tuple(e for e in whole.estimates if e.name in named))


def _attributes(work: Work, names: set[str]) -> Measured:
    from .differ import check_attributes, count_attributes, judge_attributes

    if not names:
        return Measured()
    asked = work.request
    found = judge_attributes(count_attributes(asked.source.pairs()), alpha=asked.alpha, seed=asked.seed)
    rows = [r for r in found.details["attributes"] if estimate_name("attribute", r["attribute"]) in names]
    told = check_attributes(rows, asked.alpha)
    return Measured(found.estimates, (told,) if told else (), {"attributes": rows})


def _traits(named: Iterable[Attribute | Trait]) -> tuple[Trait, ...]:
    return tuple(one for one in named if isinstance(one, Trait))
