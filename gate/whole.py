"""A whole gate, for the command and from Python: pairs, answers with a label each, or a saved run.

No torch at import.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import config
from ..errors import ProbeError
from ..number_format import some
from ..pairs.formats import is_still
from ..pairs.unpaired import refuse_for_answers
from ..probes.gated import GateRequest
from ..records import Finding, Run
from ..runs import read_from
from ..scoring.options import ModelOptions
from ..shared_limits import BOUND, SHIPPED_LEVEL
from ..training.saved import saved_run
from .beforehand import prepared
from .levers import levers_run, with_levers
from .measure import run_probes
from .restated import level_of
from .settings import GateOptions, judged
from .unpaired import ANSWER_LIMITS, judged_unpaired

if TYPE_CHECKING:
    from ..probes.unpaired.told import UnpairedOptions
    from ..scoring.model import LoadedModel
    from ..scoring.session import Session
    from ..scoring.source import Source

# What a saved run is judged by, of its options and of the config file's tables.
OWN_SETTINGS = ("inconclusive", "minimum_n", "goal", "one_stage", "full", "baseline", "levers")
OWN_TABLES = ("accept", "gate.limits", "gate.groups")
TRIAL_STEPS = 12  # of KTO, on unpaired answers
# Options that are for pairs, with their defaults.
GATES_PAIRS: Mapping[str, Any] = {
    "sides": None, "plan": False, "levers": None, "baseline": None, "budget": None, "device_memory": None,
    "off": frozenset(), "goal": "auto", "one_stage": False, "full": False, "bound": BOUND, "beta": 0.1,
    "trial_pairs": 128, "thorough": False,
}  # fmt: skip
TRIES_PAIRS: Mapping[str, Any] = {
    "sides": None, "methods": None, "pairs": 128, "samples": 2, "proxy": None, "export_trimmed": None,
    "learning_rate": None, "beta": None, "batch": None, "options": None,
}  # fmt: skip


def gate_pairs(
    request: GateRequest, judging: GateOptions, *, session: Session | None = None,
    budget: str | None = None, device_memory: str | None = None, levers: Path | None = None,
) -> tuple[Run, Iterable[Mapping[str, Any]] | None]:  # fmt: skip
    """The judged run on a file of pairs, and the rows of its `scores.jsonl`.

    `session` is one at hand; without it the model of `request.how` is loaded. Raises as `run_probes`.
    """
    check_named_groups(request.source, judging.groups)
    if judging.baseline is not None:
        saved_run(judging.baseline)  # what is no run is told before anything is measured
        if "bias" in request.off:
            raise ProbeError(
                "--baseline: compares the gaps of pairs, which --no-bias leaves out. Leave out one of them."
            )
    if levers is not None:
        levers_run(levers)
    known = prepared(request, budget, device_memory, session)
    measured, rows = run_probes(known.request, known.session, known.seconds)
    measured = replace(measured, findings=(*measured.findings, *known.findings))
    return judged(with_levers(measured, levers) if levers else measured, judging, date.today()), rows


def check_named_groups(source: Source, groups: Iterable[str]) -> None:
    """Raises `ProbeError` for a group that limits are set for and no pair of the file has."""
    if not (named := set(groups)):
        return
    found = {pair.group for pair in source.pairs() if pair.group is not None}
    _refuse_missing(f"{source.path} has no pair of this group", named, found)


def gate_answers(
    source: Source, how: ModelOptions, judging: GateOptions, given: Mapping[str, Any], *, seed: int,
    off: frozenset[str], loaded: LoadedModel | None = None,
) -> Run:  # fmt: skip
    """The judged run on answers with a label each, of whose probes the trial can be off.

    Raises `ProbeError` for an option of `given` that is for pairs.
    """
    from ..probes.unpaired.told import UnpairedOptions

    refuse_for_answers(source.path, {**given, "off": off - {"trial"}}, GATES_PAIRS)
    refuse_tables(source.path, judging)
    steps = 0 if "trial" in off else TRIAL_STEPS
    options = UnpairedOptions(alpha=judging.alpha, seed=seed, trial_steps=steps)
    return _judged_answers(answers_decided(source, how, options, loaded), judging)


def refuse_tables(path: Path, judging: GateOptions) -> None:
    """Raises `ProbeError` for the first table of the config that is for pairs alone."""
    tables = [f"[gate.groups.{name}]" for name in judging.groups]
    unknown = [name for name in judging.limits if name not in ANSWER_LIMITS]
    tables += [f"[gate.limits] {name.replace('_', '-')}" for name in unknown]
    tables += [f"[[accept]] {entry.code}" for entry in judging.accepted]
    if tables:
        raise ProbeError(
            f"{path}: answers with a label each, for which {tables[0]} of the config does nothing. "
            "Take it out, or gate them from a folder with a config of its own."
        )


def answers_tried(
    source: Source, how: ModelOptions, given: Mapping[str, Any], *, alpha: float, seed: int, steps: int,
    loaded: LoadedModel | None = None,
) -> Run:  # fmt: skip
    """A short KTO run on answers with a label each, with all that is measured before it.

    Raises `ProbeError` for an option of `given` that is for pairs, and for another method.
    """
    from ..probes.unpaired.told import UnpairedOptions

    if (method := given.get("method")) not in ("dpo", "kto"):
        raise ProbeError(
            f"{source.path}: answers with a label each, which a trial trains on by kto, and --method is "
            f"{method}. Leave it out, or make pairs: `probe unpaired FILE --to PAIRS`."
        )
    refuse_for_answers(source.path, given, TRIES_PAIRS)
    return answers_decided(source, how, UnpairedOptions(alpha=alpha, seed=seed, trial_steps=steps), loaded)


def answers_decided(
    source: Source, how: ModelOptions, options: UnpairedOptions, loaded: LoadedModel | None = None
) -> Run:
    """What `probe unpaired` measures of answers, with a decision and no verdict."""
    from ..probes.unpaired.run import measure_unpaired

    run = measure_unpaired(source, how, options, loaded)
    return replace(run, decision=judged_unpaired(run).decision)


def refuse_measuring(
    place: str, typed: Iterable[str], *, what: str = "a saved run, which is judged as it was measured",
    instead: str = "give the pair file",
) -> None:  # fmt: skip
    """Raises `ProbeError` for the first typed option that says how to measure, where nothing is measured."""
    if first := next(iter(typed), None):
        raise ProbeError(f"{place}: {what}: {first} does nothing. Leave it out, or {instead}.")


def gate_saved(path: Path, judging: GateOptions, levers: Path | None = None) -> Run:
    """A saved run, judged again without the model."""
    saved = with_changed_pairs(saved_run(path))
    with read_from(path):
        if saved.command == "unpaired":
            refuse_tables(path, judging)
            asked = {
                "baseline": judging.baseline, "levers": levers, "goal": judging.goal,
                "one_stage": judging.one_stage, "full": judging.full, "bound": judging.bound,
            }  # fmt: skip
            refuse_for_answers(path, asked, GATES_PAIRS)
            _refuse_other_level(path, level_of(saved), judging.alpha)
            return _judged_answers(saved, judging)
        _check_saved_groups(path, saved, judging.groups)
        _refuse_bound(path, judging)
        run = judged(with_levers(saved, levers) if levers else saved, judging, date.today())
        return _as_judged_now(run, judging.alpha)


def _as_judged_now(run: Run, alpha: float) -> Run:
    """The run with the settings and the command line that judged it in place of those that measured it.

    Its `config.alpha` stays: it is the level of its intervals. Where it is judged at another one, that is
    `details.judged_alpha`.
    """
    now = config.current()
    origins = now.pop("origins", {})
    names = [name for name in (*OWN_SETTINGS, *(key for key in now if key in OWN_TABLES)) if name in now]
    kept = {key: value for key, value in run.config.items() if key not in OWN_TABLES}
    told = {name: origins[name] for name in names if name in origins}
    merged = {**kept, **{name: now[name] for name in names}}
    merged["origins"] = {**(run.config.get("origins") or {}), **told}
    details = {key: value for key, value in run.details.items() if key != "judged_alpha"}
    details |= {} if alpha == level_of(run) else {"judged_alpha": alpha}
    run = replace(run, details=details)
    if not now:  # a program's own call
        return run
    return replace(run, config=merged, environment={**run.environment, "argv": ["probe", *sys.argv[1:]]})


def _refuse_bound(path: Path, judging: GateOptions) -> None:
    """Raises `ProbeError` for a typed bound that nothing is held against: it belongs to the measurement."""
    typed = config.current().get("origins", {}).get("bound") in config.TYPED
    if typed and judging.baseline is None:
        raise ProbeError(
            f"{path}: --bound {judging.bound:g} does nothing for a saved run without --baseline. "
            "Leave it out, or gate the pair file with it."
        )


def _refuse_other_level(path: Path, measured: float, asked: float) -> None:
    """Raises `ProbeError` for an alpha that is neither the shipped one nor that of the answers' intervals."""
    if asked not in (measured, SHIPPED_LEVEL):
        raise ProbeError(
            f"{path}: --alpha {asked:g} does nothing for measured answers, whose intervals are at "
            f"{measured:g}. Leave it out, or gate the file of answers at {asked:g}."
        )


def _check_saved_groups(path: Path, run: Run, groups: Iterable[str]) -> None:
    """Raises `ProbeError` for a group that limits are set for and nothing was measured in."""
    found = (
        {e.group for e in run.estimates} | {row.group for row in run.bias} | {f.group for f in run.findings}
    )
    _refuse_missing(f"{path} has nothing measured in this group", groups, found - {"all"})


def _refuse_missing(what: str, named: Iterable[str], found: set[str]) -> None:
    if missing := sorted(set(named) - found):
        told = f"its groups are {some(sorted(found))}" if found else "none of its pairs names a group"
        raise ProbeError(
            f"[gate.groups.{missing[0]}]: {what}; {told}. Correct the name, or take the table out."
        )


def with_changed_pairs(run: Run) -> Run:
    """The run with what `changed_pairs` finds of its file as it is now."""
    known = tuple(finding for finding in run.findings if finding.code != "PB708")
    return replace(run, findings=(*known, *filter(None, [changed_pairs(run.inputs.get("pairs") or {})])))


def changed_pairs(facts: Mapping[str, Any]) -> Finding | None:
    """PB708 pairs have changed: the file is not the one that was measured.

    Means: the file or folder of pairs or answers that the run names is there, and its content is another
    than then.
    Why: a saved run is judged by what was measured then. It says nothing of the file as it is now.
    Do: measure again: `probe gate PAIRS`.
    Source: SHA-256 of the file, or of a dataset folder's rows, then and now.
    """
    path, then = facts.get("path"), facts.get("sha256")
    if not isinstance(path, str) or not isinstance(then, str):
        return None
    if not Path(path).exists() or is_still(Path(path), then):
        return None
    text = f"{path} has changed since it was measured: this judges what it held then"
    return Finding("PB708", "warning", text, "Measure again: `probe gate PAIRS`.")


def _judged_answers(run: Run, judging: GateOptions) -> Run:
    return judged_unpaired(run, judging.inconclusive, judging.limits, judging.minimum_n)
