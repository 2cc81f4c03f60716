"""One reading of the model's states, and all that is read from it: signal, authorship, CHES, flip budget."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from ...pairs.identity import cluster_key
from ...pairs.record import Pair
from ...records import Measured, together
from ...scoring.readout import Readout
from ...scoring.scores import EncodedPair, PairScore
from ...scoring.service import side_score
from ...scoring.session import Session
from ..clusters import prompt_clusters
from ..cost import about_time
from .authorship import SideAuthorship, judge_authorship
from .classify import Clusters
from .displacement import ches, judge_ches
from .flip_budget import flip_budget
from .read import both, must_be_plain, read_own, read_sides, reading_pace
from .signal import Views, judge_signal, separate_views
from .triviality import surface
from .work import NegativesWork, token_count

Usable = Sequence[tuple[Pair, EncodedPair]]


def read_states(work: NegativesWork, session: Session, some: Usable, left_out: str = "") -> None:
    """Both contexts are read once; signal, authorship, CHES and flip budget are read from what came.

    `left_out` says why other pairs have no score. Fewer than two prompts are told, and not measured.
    """
    pairs = [pair for pair, _ in some]
    if len(set(map(cluster_key, pairs))) < 2:
        why = "all pairs that can be scored share one prompt, so nothing can be held out"
        why = why if pairs else "no pair can be scored"
        print(f"states: {why}{f' ({left_out})' if left_out else ''}; not measured.", file=sys.stderr)
        return
    options = work.options
    contexts = {"given the prompt": [codes for _, codes in some]}
    if options.alone and any(pair.prompt for pair in pairs):
        contexts["alone"] = session.encoder.many([session.encoder.neutral(pair) for pair in pairs])

    def measure() -> Measured:
        read = {
            name: read_sides(session.scorer, both(codes), name, plain=must_be_plain(session, codes))
            for name, codes in contexts.items()
        }
        for name, codes in contexts.items():
            session.scorer.keep(both(codes), [readout.logps for readout in read[name]])
        return _judged(work, session, some, read)

    work.timed("states", _forecast(work, session, contexts), measure)


def _forecast(work: NegativesWork, session: Session, contexts: Mapping[str, Sequence[EncodedPair]]) -> str:
    """The cost in words, with the seconds that a warm-up on the first pairs lets expect."""
    total = sum(map(token_count, contexts.values()))
    passes = 2 * sum(map(len, contexts.values()))
    first = contexts["given the prompt"]
    expected = about_time(reading_pace(session, first) * total)
    own = min(work.options.samples, len(first))
    written = f", and {2 * own} responses of the model's own, a token at a time" if own else ""
    return f"{passes:,} sequences ({total:,} tokens) forward, {expected}{written}"


def _judged(
    work: NegativesWork, session: Session, some: Usable, read: Mapping[str, list[Readout]]
) -> Measured:
    options, pairs = work.options, [pair for pair, _ in some]
    given, clusters = read["given the prompt"], prompt_clusters(pairs)
    own = read_own(session, pairs[: options.samples], given, options.seed) if options.samples else {}
    chosen, rejected = (_writing(given[k::2]) for k in (0, 1))
    work.score("chosen_excess", pairs, chosen.excess)
    work.score("rejected_excess", pairs, rejected.excess)
    parts = [
        _signal(work, pairs, clusters, read),
        judge_authorship(
            pairs,
            chosen,
            rejected,
            clusters,
            own={name: _writing(readouts) for name, readouts in own.items()},
            alpha=options.alpha,
        ),
        *([_ches(work, pairs, clusters, given)] if work.options.ches else []),
    ]
    if options.beta is not None:
        scores = _scores(some, given)
        budget = flip_budget(
            scores, beta=options.beta, alpha=options.alpha, clusters=clusters, seed=options.seed
        )
        parts.append(Measured(budget.estimates, budget.findings))
    return together(parts)


def _signal(
    work: NegativesWork, pairs: Sequence[Pair], clusters: Clusters, read: Mapping[str, list[Readout]]
) -> Measured:
    options = work.options
    seen = {name: _views(readouts) for name, readouts in read.items()}
    found = {
        name: (views, separate_views(views, clusters, permutations=options.permutations, seed=options.seed))
        for name, views in seen.items()
    }
    given = found["given the prompt"]
    work.score("gap", pairs, given[0].gaps)
    work.score("signal", pairs, given[1].margins)
    texts = surface(pairs, permutations=0, seed=options.seed).separations["surface"]
    return judge_signal(pairs, given, found.get("alone"), texts, alpha=options.alpha)


def _ches(
    work: NegativesWork, pairs: Sequence[Pair], clusters: Clusters, given: Sequence[Readout]
) -> Measured:
    sums = [[r.summed for r in given[k::2]] for k in (0, 1)]
    counts = [[len(r.logps) for r in given[k::2]] for k in (0, 1)]
    scores = ches(*sums, *counts)
    work.score("ches", pairs, scores.normalised)
    return judge_ches(pairs, scores, clusters, alpha=work.options.alpha)


def _views(readouts: Sequence[Readout]) -> Views:
    means = np.array([r.mean_logps for r in readouts])
    pooled = np.stack([r.pooled for r in readouts])
    return Views(pooled[::2], pooled[1::2], means[::2] - means[1::2])


def _writing(readouts: Sequence[Readout]) -> SideAuthorship:
    columns = (
        [r.mean_logps for r in readouts],
        [r.excess for r in readouts],
        [r.top.mean() for r in readouts],
    )
    return SideAuthorship(*(np.array(column, dtype=np.float64) for column in columns))


def _scores(some: Usable, given: Sequence[Readout]) -> list[PairScore]:
    """The pairs' scores as `probe bias` has them, from the same reading."""
    return [
        PairScore(
            pair.id,
            side_score(codes.chosen, chosen.logps),
            side_score(codes.rejected, rejected.logps),
            pair.group,
            pair.line,
        )
        for (pair, codes), chosen, rejected in zip(some, given[::2], given[1::2], strict=True)
    ]
