"""The run behind `probe bias`: scores, the same pairs in other templates and without prompt, the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import config
from ..errors import ProbeError
from ..pairs.record import Pair
from ..probes.bias import bias, prompt_clusters
from ..records import Run
from ..runs import environment, now
from .records import PairScore
from .session import Extremes, ModelOptions, Session, Source, score_row
from .table import ScoreTable

OTHER_TEMPLATES = {
    # What else a prompt could look like to this model; the resolved template itself comes first.
    "chat": ("qa", "{prompt}\n"),
    "qa": ("{prompt}\n", "Q: {prompt}\nA: "),
    "raw": ("chat", "qa"),
}


@dataclass(frozen=True, slots=True)
class BiasOptions:
    """How the scores are judged: see `probe bias --help`."""

    alpha: float = 0.05
    bound: float = 0.1
    templates: str = "auto"
    corrected: bool = True
    stop_early: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished run and the rows of its `scores.jsonl`."""

    run: Run
    rows: Iterable[Mapping[str, Any]]


def measure_bias(source: Source, how: ModelOptions, options: BiasOptions) -> Measured | None:
    """Score the file and judge it. Raises `ProbeError` for bad input, `CannotMeasure` for bad numbers."""
    created = now()
    session = Session.open(source, how, options.seed)
    extremes = Extremes()
    scores = ScoreTable(extremes.watch(session.scores()))
    if not scores:
        raise ProbeError(
            f"{source.path}: none of its {session.survey.n} pairs can be scored "
            f"({_excluded(session)}). Look at the file with `probe data`."
        )
    scored = set(scores.lines)
    again = [pair for pair in session.survey.sample if pair.line in scored]
    result = bias(
        scores,
        sides=source.sides,
        alpha=options.alpha,
        bound=options.bound,
        clusters=prompt_clusters(pair.prompt for pair in source.pairs() if pair.line in scored),
        by_template=_by_template(session, again, options.templates),
        neutral=_neutral(session, again) if options.corrected else None,
        noise_floor=session.noise_floor(),
        seed=options.seed,
    )
    run = Run(
        command="bias",
        created=created,
        bias=result.rows,
        estimates=result.estimates,
        findings=result.findings,
        inputs=session.inputs(),
        config=config.current(),
        environment=environment(),
        details={**result.details, **extremes.rows(session)},
    )
    return Measured(run, map(score_row, scores))


def _by_template(session: Session, pairs: Sequence[Pair], asked: str) -> dict[str, list[PairScore]]:
    """The pairs scored in each other template; none where there is no prompt to put into one."""
    if asked == "none" or not any(pair.prompt for pair in pairs):
        return {}
    own = session.encoder.template
    if asked == "auto":
        names: Sequence[str] = OTHER_TEMPLATES.get(own, ("qa", "{prompt}\n"))
        if not session.loaded.tokenizer.chat_template:
            names = [name for name in (*names, "{prompt}\n", "Q: {prompt}\nA: ") if name != "chat"][:2]
    else:
        names = asked.split(",")
    others = dict.fromkeys(name for name in names if name != own)
    return {name: session.scores_of(pairs, f"template {name!r}", name) for name in others}


def _neutral(session: Session, pairs: Sequence[Pair]) -> list[PairScore] | None:
    """The pairs under an empty prompt (Holtzman et al. 2021, domain-conditional PMI)."""
    if not any(pair.prompt for pair in pairs):
        return None
    empty = [session.encoder.neutral(pair) for pair in pairs]
    return session.scores_of(empty, "without prompt", session.encoder.template)


def _excluded(session: Session) -> str:
    return ", ".join(sorted({why.replace("_", " ") for _, why in session.scorer.excluded}))
