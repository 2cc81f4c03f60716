"""The gate's settings from options and config file, and the whole judgement of a saved run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, get_args

from .. import config
from ..config import check_types
from ..errors import ProbeError
from ..ranges import check, check_limit
from ..records import Run
from ..shared_limits import BOUND
from ..training.saved import saved_run
from ..training.shipped import Tuning
from . import accept
from .baseline import Compared, compare_with_baseline
from .conditions import LIMIT_KEYS
from .decide import decide
from .judge import JudgeSettings, judge
from .leniency import no_harsher, with_past
from .run_facts import Goal
from .unanswered import unanswered


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How `probe gate` judges, as typed. `baseline`: an earlier run to compare with, pair by pair.

    Raises `ProbeError` for a wrong word.
    """

    alpha: float = 0.05
    bound: float = BOUND
    minimum_n: int = 20
    inconclusive: str = "fail"
    goal: str = "auto"
    one_stage: bool = False
    full: bool = False
    baseline: Path | None = None
    limits: Mapping[str, float | bool] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, float | bool]] = field(default_factory=dict)
    accepted: tuple[accept.Accepted, ...] = ()

    def __post_init__(self) -> None:
        one_of("--inconclusive", self.inconclusive, ("fail", "warn"))
        one_of("--goal", self.goal, get_args(Goal))


def is_run(path: Path) -> bool:
    """Whether `path` is a saved run (or its directory) and not a pair file; a file must open like one."""
    if path.is_dir():
        return (path / "run.json").exists()
    if path.suffix != ".json" or not path.exists():
        return path.name == "run.json"
    with path.open(encoding="utf-8", errors="replace") as file:
        return '"schema_version"' in file.read(200)


def from_config(**options: Any) -> GateOptions:
    """The typed options together with the config file's tables. Raises `ProbeError` for a wrong word."""
    return GateOptions(
        **options,
        limits=_underscored(config.section("gate.limits")),
        groups={g: _underscored(limits) for g, limits in config.section("gate.groups").items()},
        accepted=accept.parse(config.section("accept") or ()),
    )


def check_limits(table: Any, where: str) -> None:
    """Raises `ProbeError` unless these are limits by condition: a number, or `false` to leave it out."""
    if not isinstance(table, Mapping):
        raise ProbeError(f"{where}: not a table. Write one condition = limit per line.")
    check_types(table, LIMIT_KEYS, where)
    if wrong := [key for key, value in table.items() if value is True]:
        raise ProbeError(f'{where}: "{wrong[0]}" is true. Give a number, or false to leave it out.')
    for key, value in table.items():
        check_limit(key, value, where)


def named_limits(limits: Mapping[str, Any] | None) -> dict[str, Any]:
    """Limits as a program hands them over, spelled as in a config file or with underscores. Raises
    `ProbeError` as for a file."""
    if not isinstance(limits, Mapping | None):
        raise ProbeError(f"limits={limits!r}: has no names. Give a dict, such as {{'gap': 0.2}}.")
    spelled = {str(key).replace("_", "-"): value for key, value in (limits or {}).items()}
    check_limits(spelled, "limits")
    return _underscored(spelled)


def judged(run: Run, options: GateOptions, today: date) -> Run:
    """`run` with verdict, decision and gate findings: a pure function but for reading the baseline."""
    for name in ("alpha", "bound", "minimum_n"):
        check(name, getattr(options, name))
    settings = JudgeSettings(
        options.alpha,
        options.minimum_n,
        "warn" if options.inconclusive == "warn" else "fail",
        options.limits,
        options.groups,
        options.accepted,
        today,
    )
    compared = None
    if options.baseline is not None:
        compared = compare_with_baseline(
            run, saved_run(options.baseline), bound=options.bound, alpha=options.alpha
        )
    tuning: Tuning = "full" if options.full else "lora"
    goal: Goal = next(g for g in get_args(Goal) if g == options.goal)
    decided = _decided(run, settings, compared, goal=goal, one_stage=options.one_stage, tuning=tuning)
    open_ = [condition.name for condition in unanswered(decided)]
    return dataclasses.replace(decided, details={**decided.details, "unanswered": open_})


def _decided(run: Run, settings: JudgeSettings, compared: Compared | None, **wanted: Any) -> Run:
    """Judged and decided on; what the settings accept or leave out makes neither worse."""

    def judge_by(own: JudgeSettings) -> Run:
        return decide(judge(run, own, compared), own, **wanted)

    return with_past(no_harsher(judge_by(settings), settings, judge_by), settings.accepted, settings.today)


def one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises `ProbeError` unless the flag's value is one of those allowed."""
    if value not in allowed:
        raise ProbeError(f'{flag} "{value}": not one of the choices. Use {", ".join(allowed)}.')


def _underscored(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}
