"""One reading of the model's states, and all that is read from it: signal, authorship, CHES."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from ..pairs.record import Pair
from ..probes.authorship import Writing, judge_authorship
from ..probes.displacement import ches, judge_ches
from ..probes.measured import Measured, together
from ..probes.signal import Views, judge_signal, separate_views
from ..probes.template_findings import prompt_clusters
from ..probes.triviality import surface
from ..progress import progress
from .engine import causal_lm
from .model import LoadedModel
from .negatives_work import Work
from .proof import prove
from .readout import Readout, depths, read_out
from .records import EncodedPair, EncodedSide
from .session import Session

WARM_UP = 2  # pairs read to estimate the seconds
CHUNK = 32  # sides read between two steps of the progress bar

Usable = Sequence[tuple[Pair, EncodedPair]]


def states(work: Work, session: Session, some: Usable) -> None:
    """Both contexts are read once; signal, authorship and CHES are read from what came."""
    options = work.options
    pairs = [pair for pair, _ in some]
    if len(set(map(str, (pair.prompt for pair in pairs)))) < 2 and any(pair.prompt for pair in pairs):
        print(
            "states: all pairs share one prompt, so nothing can be held out; not measured.", file=sys.stderr
        )
        return
    contexts = {"given the prompt": [codes for _, codes in some]}
    if options.alone and any(pair.prompt for pair in pairs):
        contexts["alone"] = session.encoder.many([session.encoder.neutral(pair) for pair in pairs])
    read: dict[str, list[Readout]] = {}

    def measure() -> Measured:
        for name, codes in contexts.items():
            read[name] = _read(session, codes, name)
        return _judged(work, session, pairs, read)

    work.timed("states", _forecast(session, contexts), measure)


def _forecast(session: Session, contexts: Mapping[str, Sequence[EncodedPair]]) -> str:
    """The cost in words, with the seconds that a warm-up on the first pairs lets expect."""
    first = next(iter(contexts.values()))
    sample = [side for codes in first[:WARM_UP] for side in (codes.chosen, codes.rejected)]
    start = time.perf_counter()
    list(
        read_out(
            session.loaded.model, sample, depths(session.loaded.model), plain=must_be_plain(session, first)
        )
    )
    pace = (time.perf_counter() - start) / max(_tokens(first[:WARM_UP]), 1)
    total = sum(_tokens(codes) for codes in contexts.values())
    passes = 2 * sum(map(len, contexts.values()))
    return f"{passes:,} sequences ({total:,} tokens) forward, about {pace * total:.0f} s"


def _tokens(codes: Sequence[EncodedPair]) -> int:
    """Tokens to be computed: the shared prompt once."""
    return sum(len(c.chosen.ids) + len(c.rejected.ids) - c.rejected.start for c in codes)


def _read(session: Session, codes: Sequence[EncodedPair], name: str) -> list[Readout]:
    sides = [side for pair in codes for side in (pair.chosen, pair.rejected)]
    return read_sides(session.loaded, sides, name, plain=must_be_plain(session, codes))


def read_sides(
    loaded: LoadedModel, sides: Sequence[EncodedSide], name: str, *, plain: bool = False
) -> list[Readout]:
    """The readouts of all sides in their order, with progress on stderr."""
    layers, result = depths(loaded.model), []
    with progress(f"reading {name}", len(sides), "responses") as advance:
        for first in range(0, len(sides), CHUNK):
            some = sides[first : first + CHUNK]
            read = dict(read_out(loaded.model, some, layers, plain=plain))
            result += [read[i] for i in range(len(some))]
            advance(len(some))
    return result


def _judged(
    work: Work, session: Session, pairs: Sequence[Pair], read: Mapping[str, list[Readout]]
) -> Measured:
    options, clusters = work.options, prompt_clusters(pairs)
    given = read["given the prompt"]
    seen = {name: _views(readouts) for name, readouts in read.items()}
    found = {
        name: (v, separate_views(v, clusters, permutations=options.permutations, seed=options.seed))
        for name, v in seen.items()
    }
    texts = surface(pairs, permutations=0, seed=options.seed).separations["surface"]
    first = found["given the prompt"]
    chosen, rejected = (_writing(given[k::2]) for k in (0, 1))
    scores = ches(
        [r.summed for r in given[::2]],
        [r.summed for r in given[1::2]],
        [len(r.logps) for r in given[::2]],
        [len(r.logps) for r in given[1::2]],
    )
    for name, values in {
        "gap": first[0].gaps,
        "signal": first[1].margins,
        "ches": scores.normalised,
        "chosen_excess": chosen.excess,
        "rejected_excess": rejected.excess,
    }.items():
        work.score(name, pairs, values)
    own = _own(work, session, pairs, given) if options.samples else None
    return together(
        [
            judge_signal(pairs, first, found.get("alone"), texts, alpha=options.alpha),
            judge_authorship(pairs, chosen, rejected, clusters, own=own, alpha=options.alpha),
            judge_ches(pairs, scores, clusters, alpha=options.alpha),
        ]
    )


def _views(readouts: Sequence[Readout]) -> Views:
    means = np.array([r.mean_logps for r in readouts])
    pooled = np.stack([r.pooled for r in readouts])
    return Views(pooled[::2], pooled[1::2], means[::2] - means[1::2])


def _writing(readouts: Sequence[Readout]) -> Writing:
    columns = (
        [r.mean_logps for r in readouts],
        [r.excess for r in readouts],
        [r.top.mean() for r in readouts],
    )
    return Writing(*(np.array(column, dtype=np.float64) for column in columns))


def _own(work: Work, session: Session, pairs: Sequence[Pair], given: Sequence[Readout]) -> dict[str, Writing]:
    """The model's own responses to the first prompts, as long as the file's: sampled, and greedy."""
    from .generate import generate

    codes = session.encoder.many(pairs[: work.options.samples])
    contexts = [c.chosen.ids[: c.chosen.start] for c in codes]
    tokens = int(np.median([len(r.logps) for r in given]))
    writings = {}
    for name, temperature in (("sample", 1.0), ("greedy", 0.0)):
        with progress(f"generating {name}", len(contexts), "responses") as advance:
            sides = generate(
                session.loaded,
                contexts,
                temperature=temperature,
                tokens=tokens,
                seed=work.options.seed,
                advance=advance,
            )
        writings[name] = _writing(
            read_sides(session.loaded, sides, name, plain=must_be_plain(session, codes))
        )
    return writings


def must_be_plain(session: Session, codes: Sequence[EncodedPair]) -> bool:
    """Whether this model must be run one sequence at a time; the self-proof is made once a session."""
    scorer = session.scorer
    if scorer.proof is None:
        longest = max((len(s.ids) for c in codes for s in (c.chosen, c.rejected)), default=1)
        scorer.proof = prove(causal_lm(session.loaded.model), session.loaded.dtype, longest)
    return scorer.proof.plain
