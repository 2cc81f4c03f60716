"""From a measured `Run` to a judged one: conditions, verdict, decision. Pure, and torch-free.

A verdict is `fail` when a condition that gates fails, else `inconclusive` when one is, else `pass`. An error
finding that no condition speaks for fails the gate as well, so that nothing grave passes by omission.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from ..errors import Exit, ProbeError
from ..records import Condition, ConditionResult, Estimate, Run, Verdict, to_json
from . import accept
from .accept import Accepted
from .baseline import Compared, excused
from .conditions import (
    CONDITIONS,
    against,
    beside_others,
    code_found,
    facing,
    good_side,
    holm_rejects,
    not_followed,
    p_against,
    pairs_to_settle,
    rests_on,
)  # fmt: skip
from .more import prompts_asked, would_settle
from .registry import Rule
from .restated import followed, level_of, restates
from .states import may_be_none, not_measured, probes_run, reads, states

# Codes that a condition measures.
ESTIMATED_CODES = {rule.code for rule in CONDITIONS if rule.sense != "clean"}


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How to judge. `limits` and `groups` override the table's limits; False leaves a condition out.

    `minimum_n`: below it an interval is not relied on (coverage falls short under 20, validity-appendix.md).
    `states`, `level`, `reads` and `asked` are the judge's own: what became of each probe, the alpha of the
    run's intervals, the most pairs that a probe would read of a larger file, and the prompts asked.
    """

    alpha: float = 0.05
    minimum_n: int = 20
    inconclusive: Literal["fail", "warn"] = "fail"
    limits: Mapping[str, float | bool] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, float | bool]] = field(default_factory=dict)
    accepted: Sequence[Accepted] = ()
    today: date = date.max
    states: Mapping[str, str] = field(default_factory=dict)
    level: float = 0.05
    reads: Mapping[str, int] = field(default_factory=dict)
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """One estimate to be held against one limit."""

    rule: Rule
    group: str
    limit: float
    estimate: Estimate | None
    code: str
    alternatives: int = 1
    passed_over: Estimate | None = None  # shows the same, and does not count beside a decisive estimate


def judge(run: Run, settings: JudgeSettings, compared: Compared | None = None) -> Run:
    """`run` with its conditions and verdict; judging a judged run again changes nothing.

    `compared` is what a baseline adds. Raises `ProbeError` for a limit under the scores' own noise.
    """
    compared = compared or Compared()
    own, rows = followed(run, settings)
    found = (*(f for f in own if not f.code.startswith("PB70")), *compared.findings)
    run = dataclasses.replace(run, findings=found)
    active = [entry for entry in settings.accepted if not entry.lapsed(settings.today)]
    settings = dataclasses.replace(
        settings, states=states(run), level=level_of(run), reads=reads(run), asked=prompts_asked(run)
    )
    claims = list(_claims(run, settings))
    _check_noise(claims, run)
    conditions, used = _conditions(run, claims, settings, active)
    changes, excuses = excused(compared.conditions, active)
    conditions, used = [*conditions, *changes], list(dict.fromkeys([*used, *excuses]))
    open_ = accept.unused(active, used, [*found, *conditions])
    notes = [*accept.lapsed(settings.accepted, settings.today), *open_]
    verdict = verdict_of(conditions, settings.inconclusive)
    stale = {"followed", *(["differences"] if run.command == "gate" else [])}
    details = {k: v for k, v in run.details.items() if k not in stale}
    details |= {"followed": rows} if rows else {}
    details |= {"accepted": to_json([entry.row() for entry in used])}
    details |= {"differences": list(compared.rows)} if compared.rows else {}
    return dataclasses.replace(run, verdict=verdict, findings=(*found, *notes), details=details)


def verdict_of(conditions: Sequence[Condition], inconclusive: Literal["fail", "warn"]) -> Verdict:
    """The verdict over `conditions` and its exit code; without any that gates nothing has been shown."""
    results = {c.result for c in conditions if c.gates}
    if "fail" in results:
        return Verdict("fail", Exit.FAILED, tuple(conditions))
    if "inconclusive" in results or not results:
        code = Exit.FAILED if inconclusive == "fail" or not results else Exit.OK
        return Verdict("inconclusive", code, tuple(conditions))
    return Verdict("pass", Exit.OK, tuple(conditions))


def _claims(run: Run, settings: JudgeSettings) -> Iterator[Claim]:
    for rule in CONDITIONS:
        if rule.sense != "clean" and (claim := _claim(rule, "all", settings.limits, run)):
            yield claim
    for group, limits in settings.groups.items():
        for rule in CONDITIONS:
            if rule.name in limits and (claim := _claim(rule, group, limits, run)):
                yield claim


def _claim(rule: Rule, group: str, limits: Mapping[str, float | bool], run: Run) -> Claim | None:
    """The claim of one rule, or None where it is off, or optional and there is none of what it measures."""
    limit = limits.get(rule.name, rule.limit)
    if limit is None or limit is False:
        return None
    if rule.name in limits:  # whoever sets a limit wants it held, also where the shipped one only describes
        rule = dataclasses.replace(rule, gates=True)
    estimate = run.estimate(rule.name, group)
    if estimate is None and rule.optional and rule.name not in limits and may_be_none(rule, run):
        return None
    others = [e for name in rule.also if (e := run.estimate(name, group)) and e.value is not None]
    if estimate is None or not others:
        return Claim(rule, group, float(limit), estimate, code_found(rule, estimate, run))
    bound, level = float(limit), level_of(run)
    decisive = next((e for e in others if e.name == rule.decisive), None)
    if decisive is not None:
        return Claim(rule, group, bound, decisive, rule.code, passed_over=estimate)
    best = min((estimate, *others), key=lambda e: against(rule, e, bound, level))
    return Claim(rule, group, bound, best, rule.code, 1 + len(others))


def _check_noise(claims: Sequence[Claim], run: Run) -> None:
    noise = ((run.inputs.get("scores") or {}).get("self_proof") or {}).get("difference")
    for claim in claims:
        if noise and claim.estimate and claim.estimate.units == "nats/token" and claim.limit < noise:
            raise ProbeError(
                f"gate.limits: {claim.rule.name} = {claim.limit:g} lies under the scores' own noise of "
                f"{noise:.2g} nats/token. Set a wider limit, or measure in float32."
            )


def _conditions(
    run: Run, claims: Sequence[Claim], settings: JudgeSettings, active: Sequence[Accepted]
) -> tuple[list[Condition], list[Accepted]]:
    """Every condition of the run, and the accepted entries that speak of something in it."""
    ps = [_p(claim, settings) for claim in claims]
    families = [_family(claim.rule) for claim in claims]
    shown = [_shown(ps, families, alpha) for alpha in (settings.alpha, settings.level)]
    tests = [max(1, sum(p is not None for p in _members(ps, families, own))) for own in families]
    judged = [
        _judged(claim, sure, at_level, settings, n)
        for claim, sure, at_level, n in zip(claims, *shown, tests, strict=True)
    ]
    told = [_excused(c, claim, settings, active, run) for c, claim in zip(judged, claims, strict=True)]
    spoken = [e for e in active if any(accept.tolerates(e, f) for f in run.findings)]
    used = dict.fromkeys([*spoken, *(entry for _, entry in told if entry)])
    estimated = [condition for condition, _ in told]
    clean = [_clean(rule, run, active) for rule in CONDITIONS if rule.sense == "clean"]
    return [*clean, *estimated, *_others(run, estimated, active)], list(used)


def _family(rule: Rule) -> str:
    """Conditions that have to be shown, those that forbid where shown, and those that only describe.

    A false pass and a false alarm are different errors: each of the first two families has its own alpha.
    """
    return "describes" if not rule.gates else "forbids" if rule.forbids else "requires"


def _members(ps: Sequence[float | None], families: Sequence[str], own: str) -> list[float | None]:
    return [p if family == own else None for p, family in zip(ps, families, strict=True)]


def _shown(ps: Sequence[float | None], families: Sequence[str], alpha: float) -> list[bool]:
    """Which claims' tests reject at `alpha`: by Holm within a family that gates, each alone else."""
    alone = [own == "describes" and p is not None and p <= alpha for p, own in zip(ps, families, strict=True)]
    found = [holm_rejects(_members(ps, families, own), alpha) for own in ("requires", "forbids")]
    return [any(one) for one in zip(alone, *found, strict=True)]


def _others(run: Run, estimated: Sequence[Condition], active: Sequence[Accepted]) -> list[Condition]:
    """A condition for every error code that no other condition has answered for.

    One that judges the same estimate has, whatever its result; else only one that does not let it pass.
    """
    answered = {c.code for c in estimated if c.gates and c.result in ("fail", "accepted")}
    judged = {(c.code, c.group) for c in estimated}
    prefixes = tuple(rule.code for rule in CONDITIONS if rule.sense == "clean")
    left = [f for f in run.findings if not (restates(f) and (f.code, f.group) in judged)]
    errors = {f.code for f in left if f.severity == "error"}
    codes = {code for code in errors if code in ESTIMATED_CODES or not code.startswith(prefixes)}
    rules = (Rule(f"no {c}", "clean", None, c, run.command, "", "") for c in sorted(codes - answered))
    return [_clean(rule, run, active) for rule in rules]


def _p(claim: Claim, settings: JudgeSettings) -> float | None:
    estimate = claim.estimate
    if claim.rule.exact or estimate is None or estimate.value is None or estimate.n < settings.minimum_n:
        return None
    p = p_against(estimate, facing(claim.rule, estimate.value, claim.limit), settings.level)
    return None if p is None else min(1.0, claim.alternatives * p)


def _judged(claim: Claim, sure: bool, at_level: bool, settings: JudgeSettings, tests: int) -> Condition:
    """A condition from whether its test rejects at alpha, and at the level that it was measured at.

    What forbids passes where enough was read and the level of the measurement shows nothing, whatever alpha
    is: a stricter alpha may leave it open, and never makes it pass.
    """
    rule, estimate = claim.rule, claim.estimate
    result: ConditionResult = "inconclusive"
    if estimate is not None and estimate.value is not None:
        good = good_side(rule, estimate.value, claim.limit)
        if rule.forbids:
            enough = rests_on(estimate, settings.minimum_n, settings.level)
            result = "pass" if enough and (good or not at_level) else "fail" if sure and at_level else result
        elif sure or (rule.exact and estimate.n >= settings.minimum_n):
            result = "pass" if good else "fail"
    message = _message(claim, result, settings, tests)
    if result == "inconclusive" and _only_passed_over(claim, settings) and estimate is not None:
        message = f"{not_followed(estimate)}; {message}"
    return Condition(
        rule.name, claim.group, estimate, claim.limit, result, claim.code, message, rule.gates, rule.sense
    )


def _only_passed_over(claim: Claim, settings: JudgeSettings) -> bool:
    """Whether the estimate that does not count is shown to lie on the good side."""
    other = claim.passed_over
    return other is not None and against(claim.rule, other, claim.limit, settings.level) <= settings.alpha


def _message(claim: Claim, result: ConditionResult, settings: JudgeSettings, tests: int) -> str:
    estimate, rule = claim.estimate, claim.rule
    if estimate is None or estimate.value is None:
        return not_measured(rule, settings.states, claim.group)
    if result != "inconclusive":
        if result == "pass" and rule.forbids and not good_side(rule, estimate.value, claim.limit):
            return "not shown to lie past the limit"
        return f"limit: {rule.source}" if result == "fail" and claim.limit == rule.limit else ""
    if estimate.n < settings.minimum_n:
        return f"{estimate.n} of the {settings.minimum_n} pairs that an answer needs"
    if rule.forbids and not rests_on(estimate, settings.minimum_n, settings.level):
        return f"its prompts are too few: they say less than {settings.minimum_n} pairs of different prompts"
    edge = facing(rule, estimate.value, claim.limit)
    more = pairs_to_settle(estimate, edge, settings.alpha, tests, settings.level)
    only = beside_others(_p(claim, settings), settings.alpha, tests)
    if not more:
        return "the measured value lies on the limit, or has no interval; more pairs, or another limit"
    return only + would_settle(estimate, rule, more, settings.asked, settings.reads)


def _excused(
    condition: Condition, claim: Claim, settings: JudgeSettings, active: Sequence[Accepted], run: Run
) -> tuple[Condition, Accepted | None]:
    """`condition` as accepted, where entries cover it and its limit, if it has one, is shown to hold."""
    codes, left = accept.codes_of(claim.rule, condition, run.findings, active)
    entry = next((e for e in active if any(e.covers(code, condition.group) for code in codes)), None)
    if condition.result == "pass" or claim.estimate is None or entry is None:
        return condition, None
    if left:
        return dataclasses.replace(condition, message=f"not accepted: {', '.join(left)}"), None
    if entry.limit is not None:
        p = _p(wider := dataclasses.replace(claim, limit=entry.limit), settings)
        known = [p is not None and p <= alpha for alpha in (settings.alpha, settings.level)]
        if _judged(wider, known[0], known[1], settings, 1).result != "pass":
            return condition, None
    return dataclasses.replace(condition, result="accepted", message=f"accepted: {entry.reason}"), entry


def _clean(rule: Rule, run: Run, active: Sequence[Accepted]) -> Condition:
    """Whether the run has no error finding of the rule's codes that is not accepted."""
    errors = [f for f in run.findings if f.severity == "error" and _speaks(rule, f.code)]
    left = [f for f in errors if not any(accept.tolerates(entry, f) for entry in active)]
    done = rule.probe in probes_run(run)
    result: ConditionResult = "fail" if left else "accepted" if errors else "pass" if done else "inconclusive"
    message = left[0].message if left else "" if done or errors else not_measured(rule, states(run))
    code = left[0].code if left else rule.code
    return Condition(rule.name, "all", None, None, result, code, message, rule.gates, rule.sense)


def _speaks(rule: Rule, code: str) -> bool:
    """Whether the rule answers for a code: a prefix leaves out what a condition measures."""
    return code == rule.code or (code.startswith(rule.code) and code not in ESTIMATED_CODES)
