"""The run behind `probe bias`: scores, the same pairs in other templates and without prompt, the verdict."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import config
from ...errors import ProbeError
from ...pairs.identity import digest
from ...pairs.record import Pair
from ...progress import progress
from ...records import Run
from ...reports.tally import Tally
from ...runs import environment, now
from ...scoring.flags import FLAGS, remedy_left_out
from ...scoring.processes import rank
from ...scoring.scores import PairScore
from ...scoring.session import Extremes, ModelOptions, Session, Source, score_row
from ...scoring.table import ScoreTable
from ...scoring.templates import require_template
from ...scoring.told import met_findings
from ...shared_limits import BOUND
from ...stats.sequential import sign_sequence
from ..clusters import prompt_clusters
from .again import Again, measured_again, unshown_finding
from .early import cluster_gaps, early_result, early_verdict
from .judge import BiasResult, judge_bias
from .looks import look_settles as settled_look
from .looks import looked, sampled

LOOK_EVERY = 32  # prompts between two looks at the anytime-valid test


@dataclass(frozen=True, slots=True)
class BiasOptions:
    """How the scores are judged: see `probe bias --help`.

    `looks`: how many pairs are scored at most, look by look (none: all); `limit` on the gap, nats/token, is
    to be settled too.
    """

    alpha: float = 0.05
    bound: float = BOUND
    templates: str = "auto"
    corrected: bool = True
    stop_early: bool = False
    seed: int = 0
    looks: tuple[int, ...] = ()
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A finished run, the rows of its `scores.jsonl`, and the scores for whoever asks more of them.

    `alpha` is the level that they were judged at: a share of the one asked for where there were looks.
    """

    run: Run
    rows: Iterable[Mapping[str, Any]]
    scores: ScoreTable
    alpha: float


def measure_bias(source: Source, how: ModelOptions, options: BiasOptions) -> ScoredRun | None:
    """Score the file and judge it; None in all processes but the first.

    Raises `ProbeError` for bad input, `CannotMeasure` for bad numbers.
    """
    measured = measure_bias_in(Session.open(source, how, options.seed, served=True), options)
    return None if rank() else measured


def measure_bias_in(session: Session, options: BiasOptions) -> ScoredRun:
    """The same in an open session: `probe gate` runs its other probes in it too."""
    for name in () if options.templates in ("none", "auto") else options.templates.split(","):
        require_template(name, session.loaded.tokenizer, "--templates")
    created, extremes = now(), Extremes()
    made = (_look_by_look if options.looks else _whole)(session, options, extremes)
    scores, clusters, result = made.scores, made.clusters, made.result
    pairs = _with_digests(result.details["pairs"], session.source)
    run = Run(
        command="bias",
        created=created,
        bias=result.rows,
        estimates=result.estimates,
        findings=(*result.findings, *met_findings(session)),
        inputs=session.inputs(),
        config=config.current(),
        environment=environment(),
        details={**result.details, "pairs": pairs, **extremes.rows(session)},
    )
    rows = ({**score_row(score), "cluster": int(c)} for score, c in zip(scores, clusters, strict=True))
    return ScoredRun(run, rows, scores, made.alpha)


@dataclass(frozen=True, slots=True)
class _Made:
    """Scores, the label of each one's prompt, and what they were found to say at level `alpha`."""

    scores: ScoreTable
    clusters: npt.NDArray[np.int64]
    result: BiasResult
    alpha: float


def _whole(session: Session, options: BiasOptions, extremes: Extremes) -> _Made:
    """All pairs of the file, or in random order those that settle the question."""
    tally = Tally(session.source.sides)
    stream = shuffled_until_settled(session, options) if options.stop_early else session.scores(tally=tally)
    scores = _some(session, ScoreTable(extremes.watch(stream)))
    clusters = _clusters(session.source, scores)
    some = _among(scores, session.survey.sample)
    again = measured_again(session, some, options.templates, options.corrected)
    result = _judged(session, scores, clusters, options, again)
    return _Made(scores, clusters, result, options.alpha)


def _look_by_look(session: Session, options: BiasOptions, extremes: Extremes) -> _Made:
    """Pairs of the file until its verdict is settled."""
    tried: dict[tuple[int, ...], Again] = {}  # looks mostly ask for the same pairs again
    for look in looked(session, options.looks, options.alpha, options.seed):
        scores = _some(session, ScoreTable(look.scores))
        clusters = _clusters(session.source, scores)
        own = replace(options, alpha=look.alpha)
        some = _among(scores, look.again)
        lines = tuple(pair.line for pair in some)
        if lines not in tried:
            tried[lines] = measured_again(session, some, options.templates, options.corrected)
        result = _judged(session, scores, clusters, own, tried[lines])
        if look.last or settled_look(result, options.limit):
            break
    for _ in extremes.watch(look.scores):
        pass
    told = sampled(result, len(look.scores), session.survey.n, look.alpha, look.read)
    result = replace(result, findings=(*result.findings, *([told] if told else ())))
    return _Made(scores, clusters, result, look.alpha)


def _some(session: Session, scores: ScoreTable) -> ScoreTable:
    """The scores, of which there must be some. Raises `ProbeError`."""
    if scores:
        return scores
    raise ProbeError(
        f"{session.source.path}: none of its {session.survey.n} pairs can be scored "
        f"({_excluded(session)}). {remedy_left_out(why for _, why in session.scorer.met.excluded)}."
    )


def _among(scores: ScoreTable, sample: Sequence[Pair]) -> list[Pair]:
    """The pairs of `sample` that have a score."""
    scored = set(scores.lines)
    return [pair for pair in sample if pair.line in scored]


def _judged(
    session: Session, scores: ScoreTable, clusters: npt.NDArray[np.int64], options: BiasOptions, again: Again
) -> BiasResult:
    """The verdict on these scores, beside those of some pairs in other templates and without prompt."""
    source = session.source
    result = judge_bias(
        scores,
        sides=source.sides,
        alpha=options.alpha,
        bound=options.bound,
        clusters=clusters,
        by_template=again.by_template,
        neutral=again.neutral,
        noise_floor=session.noise_floor(),
        seed=options.seed,
    )
    if told := unshown_finding(again):
        result = replace(result, findings=(*result.findings, told))
    if not options.stop_early:
        return result
    gaps = cluster_gaps(scores, clusters.tolist(), session.noise_floor())
    return early_result(result, gaps, len(scores), session.survey.n, source.sides, options.alpha)


def _with_digests(rows: Iterable[Mapping[str, Any]], source: Source) -> list[dict[str, Any]]:
    """The rows of the pairs, each with the digest of its pair: a later run knows which have not changed."""
    by_line = {row["line"]: dict(row) for row in rows}
    for pair in source.pairs():
        if pair.line in by_line:
            by_line[pair.line]["text"] = digest(pair)
    return list(by_line.values())


def _clusters(source: Source, scores: ScoreTable) -> npt.NDArray[np.int64]:
    """A label per score: equal for pairs that share a prompt."""
    scored = set(scores.lines)
    lines = [pair.line for pair in source.pairs() if pair.line in scored]
    labels = prompt_clusters(pair for pair in source.pairs() if pair.line in scored)
    by_line = dict(zip(lines, labels.tolist(), strict=True))
    return np.array([by_line[line] for line in scores.lines], dtype=np.int64)


def shuffled_until_settled(session: Session, options: BiasOptions) -> Iterator[PairScore]:
    """Scores in random order, prompt by prompt, until the anytime-valid test has settled the question.

    The order is that of the seed, so the answer can be repeated. All pairs are held in memory.
    """
    prompts: dict[int, list[Pair]] = {}
    pairs = list(session.source.pairs())
    for pair, label in zip(pairs, prompt_clusters(pairs).tolist(), strict=True):
        prompts.setdefault(label, []).append(pair)
    order = list(prompts.values())
    random.Random(options.seed).shuffle(order)
    gaps: list[float] = []
    with progress("scoring until settled", len(pairs)) as advance:
        for start in range(0, len(order), LOOK_EVERY):
            for group in _batch_gaps(session, order[start : start + LOOK_EVERY]):
                yield from group
                gaps.append(sum(score.gap for score in group))
            advance(sum(map(len, order[start : start + LOOK_EVERY])))
            if gaps and early_verdict(sign_sequence(gaps, options.alpha), options.alpha):
                return


def _batch_gaps(session: Session, prompts: Sequence[Sequence[Pair]]) -> Iterator[list[PairScore]]:
    """The scores of each prompt's pairs, from one packed pass over all of them."""
    scores = {score.line: score for score in session.scorer.scores([p for group in prompts for p in group])}
    for group in prompts:
        if found := [scores[pair.line] for pair in group if pair.line in scores]:
            yield found


def _excluded(session: Session) -> str:
    return ", ".join(sorted({FLAGS[why] for _, why in session.scorer.met.excluded}))
