"""The run behind `probe levers`: the same pairs under whatever could do the work of training for less."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import config
from ...errors import ProbeError
from ...number_format import count
from ...pairs.identity import cluster_key
from ...pairs.record import Pair
from ...records import Measured, Run, together
from ...runs import environment, now
from ...scoring.scores import PairScore
from ...scoring.session import ModelOptions, Session, Source
from ...scoring.told import met_findings
from ...stats.scripts import length_in_words
from ...stats.statistics import Floats
from ...training.neutral import neutral_pairs
from ..clusters import prompt_clusters
from ..contexts import added_tokens, place_of_system, with_passage, with_shots
from ..cost import added, clocked
from ..effects.run import none_whole, whole_everywhere
from ..negatives.triviality import sample_of
from .judge import Base, Lever, judge_levers


@dataclass(frozen=True, slots=True)
class LeversOptions:
    """What is tried. `trial`: LoRA steps on each half of the pairs, 0 for none."""

    system: str | None = None
    context: str | None = None
    context_field: str | None = None
    shots: int = 4
    draws: int = 3
    steering: bool = True
    strength: float = 2.0
    trial: int = 0
    most: int = 64
    alpha: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Texts:
    """A lever that changes prompts: its name, one or more readings of the pairs, the neutral ones, how."""

    name: str
    readings: tuple[list[Pair], ...]
    neutral: list[Pair]
    how: str


def text_of_option(value: str | None, option: str) -> str | None:
    """A text as it was typed, or the content of the file of that name. Raises `ProbeError` if it is empty."""
    if value is None:
        return None
    # A text is often too long for a file's name, which `Path.is_file` raises for; os.path says False.
    if os.path.isfile(value):  # noqa: PTH113
        try:
            value = Path(value).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            place = f"{option} {value[:60]}"
            raise ProbeError(f"{place}: not readable as UTF-8 text ({error}). Correct the file.") from error
    if not value.strip():
        raise ProbeError(f"{option}: the text is empty. Give a text or a file that has one.")
    return value.strip()


def measure_levers(source: Source, how: ModelOptions, options: LeversOptions) -> Run:
    """Everything that the options ask for. Raises `ProbeError` for bad input or where nothing is asked."""
    created = now()
    session = Session.open(source, how, options.seed)
    whole = levers_in(session, options)
    return Run(
        command="levers",
        created=created,
        estimates=whole.estimates,
        findings=(*whole.findings, *met_findings(session)),
        inputs=session.inputs(),
        config=config.current(),
        environment=environment(),
        details=whole.details,
    )


def levers_in(session: Session, options: LeversOptions) -> Measured:
    """The levers on at most `options.most` pairs of an open session; the cost is said first."""
    pairs = list(sample_of(list(session.source.pairs()), options.most, options.seed))
    texts = [lever for make in TEXTS if (lever := make(session, pairs, options)) is not None]
    if not (texts or options.steering or options.trial):
        raise ProbeError(
            "no lever to measure. Give --system, --context, --shots, --steering or --trial-steps."
        )
    what = _announced(session, pairs, texts, options)
    measured, seconds = clocked(lambda: _measured(session, pairs, texts, options))
    cost = {"probe": "levers", "what": what, "seconds": round(seconds, 2)}
    return together([measured, Measured(details={"costs": [cost]})])


def _measured(
    session: Session, pairs: Sequence[Pair], texts: Sequence[Texts], options: LeversOptions
) -> Measured:
    plain = session.scores_of(pairs, "as they are")
    read = {
        text.name: [session.scores_of(r, text.name, altered=True) for r in text.readings] for text in texts
    }
    whole = whole_everywhere([plain, *(scores for many in read.values() for scores in many)])
    kept = [pair for pair in pairs if pair.line in whole]
    if not kept:
        raise none_whole(session, pairs, "under every lever", "give less text")
    base = Base(
        _gaps(plain, whole),
        prompt_clusters(kept),
        _perplexity(session, neutral_pairs(session.encoder)),
    )
    levers = [_text_lever(session, pairs, text, read[text.name], whole) for text in texts]
    levers += [_steering(session, kept, base, options)] if options.steering else []
    levers += [_trial(session, kept, plain, base, options)] if options.trial else []
    facts = {"read": len(kept), "left_out": len(pairs) - len(kept)}
    return together([judge_levers(base, levers, options.alpha), Measured(details={"levers_on": facts})])


def _gaps(scores: Sequence[PairScore], whole: set[int]) -> Floats:
    return np.array([score.gap for score in scores if score.line in whole])


def _perplexity(session: Session, pairs: Sequence[Pair]) -> float:
    """Of the neutral answers, both sides together."""
    sides = [
        side for s in session.scores_of(pairs, "neutral", altered=True) for side in (s.chosen, s.rejected)
    ]
    return float(np.exp(-sum(side.logps for side in sides) / sum(side.tokens for side in sides)))


def _text_lever(
    session: Session,
    pairs: Sequence[Pair],
    text: Texts,
    scores: Sequence[Sequence[PairScore]],
    whole: set[int],
) -> Lever:
    gaps = np.mean([_gaps(one, whole) for one in scores], axis=0)
    tokens = float(np.mean([added_tokens(session.encoder, pairs, reading) for reading in text.readings]))
    return Lever(text.name, gaps, tokens, None, _perplexity(session, text.neutral), text.how)


# --- the levers that are texts ---------------------------------------------------------------------------


def system(session: Session, pairs: Sequence[Pair], options: LeversOptions) -> Texts | None:
    """`--system`: a text as the system turn, or before the prompt."""
    if options.system is None:
        return None
    text = options.system
    place, how = place_of_system(session.encoder, pairs)
    told = f"{count(round(length_in_words(text)), 'word')}, {how}"
    return Texts(
        "system",
        ([place(p, text) for p in pairs],),
        [place(p, text) for p in neutral_pairs(session.encoder)],
        told,
    )


def passage_texts(session: Session, pairs: Sequence[Pair], options: LeversOptions) -> Texts | None:
    """`--context` or `--context-field`: a passage before the prompt, one for all or each row's own."""
    if options.context is None and options.context_field is None:
        return None
    passages = [_passage(pair, options) for pair in pairs]
    words = round(sum(map(length_in_words, passages)) / max(len(passages), 1))
    changed = [with_passage(pair, text) for pair, text in zip(pairs, passages, strict=True)]
    plain = neutral_pairs(session.encoder)
    neutral = [with_passage(pair, passages[i % len(passages)]) for i, pair in enumerate(plain)]
    return Texts("context", (changed,), neutral, f"{count(words, 'word')} before the prompt")


def _passage(pair: Pair, options: LeversOptions) -> str:
    if options.context is not None:
        return options.context
    value = pair.meta.get(options.context_field or "")
    if not isinstance(value, str) or not value.strip():
        raise ProbeError(
            f'line {pair.line}: no text in "{options.context_field}". Give the field that holds the passage.'
        )
    return value


def shots(session: Session, pairs: Sequence[Pair], options: LeversOptions) -> Texts | None:
    """`--shots K`: prompts and chosen sides of K other prompts before each pair, several draws."""
    if not options.shots:
        return None
    rng = np.random.default_rng(options.seed)
    drawn = [_draw(pairs, options.shots + 1, rng) for _ in range(options.draws)]
    template = session.encoder.template
    readings = tuple([with_shots(template, p, shots_for(p, some)) for p in pairs] for some in drawn)
    neutral = [with_shots(template, pair, drawn[0][:-1]) for pair in neutral_pairs(session.encoder)]
    told = f"{count(options.shots, 'chosen side')} of other prompts, mean of {count(options.draws, 'draw')}"
    return Texts("shots", readings, neutral, told)


def _draw(pairs: Sequence[Pair], wanted: int, rng: np.random.Generator) -> list[Pair]:
    """Pairs of so many different prompts. Raises `ProbeError` where the file has fewer."""
    by_prompt: dict[str, Pair] = {}
    for i in rng.permutation(len(pairs)):
        by_prompt.setdefault(cluster_key(pairs[i]), pairs[i])
    if len(by_prompt) < wanted:
        raise ProbeError(
            f"--shots {wanted - 1}: needs {wanted} different prompts, {len(by_prompt)} are there. "
            f"Use --shots {max(len(by_prompt) - 1, 0)}."
        )
    return list(by_prompt.values())[:wanted]


def shots_for(pair: Pair, drawn: Sequence[Pair]) -> list[Pair]:
    """The shots of one pair: all drawn but the last, or but the one that has this pair's own prompt."""
    own = cluster_key(pair)
    kept = [shot for shot in drawn if shot.line != pair.line and cluster_key(shot) != own]
    return kept[: len(drawn) - 1]


TEXTS: tuple[Callable[[Session, Sequence[Pair], LeversOptions], Texts | None], ...] = (
    system,
    passage_texts,
    shots,
)


# --- the levers that change the model --------------------------------------------------------------------


def _steering(session: Session, pairs: Sequence[Pair], base: Base, options: LeversOptions) -> Lever:
    from .steer import steered_gaps

    codes = session.encoder.many(pairs)
    plain = session.encoder.many(neutral_pairs(session.encoder))
    neutral = [side for c in plain for side in (c.chosen, c.rejected)]
    made, seconds = clocked(
        lambda: steered_gaps(
            session, codes, neutral, base.clusters, strength=options.strength, seed=options.seed
        )
    )
    layers = ", ".join(str(layer) for layer in sorted(set(made.layers)))
    told = f"strength {options.strength:g}, after block {layers}, {len(made.layers)} folds"
    return Lever("steering", made.gaps, 0.0, seconds, float(np.exp(-made.neutral)), told)


def _trial(
    session: Session, pairs: Sequence[Pair], plain: Sequence[PairScore], base: Base, options: LeversOptions
) -> Lever:
    """LoRA steps on each half, scored on the other: what the gaps of unseen pairs come to."""
    from ...training.data import examples
    from ..trial.options import TrialOptions
    from ..trial.run import run_trial

    lines = {pair.line for pair in pairs}
    items = examples(pairs, session.encoder, [score for score in plain if score.line in lines])
    asked = TrialOptions(steps=options.trial, alpha=options.alpha, seed=options.seed, samples=0)
    (made, _), seconds = clocked(
        lambda: run_trial(
            session.loaded, items, ("dpo",), asked, session.survey.n, plain=session.scorer.plain()
        )
    )
    moved = dict(zip(made.halves.lines, made.halves.token_margins, strict=True))
    gaps = base.gaps + np.array([moved[pair.line] for pair in pairs])
    told = f"{count(options.trial, 'DPO step')} in LoRA on either half, measured on the other"
    return Lever("trial", gaps, 0.0, seconds, None, told)


def _announced(
    session: Session, pairs: Sequence[Pair], texts: Sequence[Texts], options: LeversOptions
) -> str:
    """Say on stderr what will be spent."""
    readings = [reading for text in texts for reading in text.readings]
    steering = [list(pairs)] * 6 if options.steering else []  # states, inner halves, the pass itself
    parts = [f"{count(1 + len(readings), 'scoring pass')}".replace("passs", "passes")]
    parts += ["a steering vector in 3 folds"] if options.steering else []
    parts += [f"{options.trial} LoRA steps on each half (seconds not counted)"] if options.trial else []
    told = added(session, [list(pairs), *readings, *steering])
    what = f"{', '.join(parts)} over {count(len(pairs), 'pair')}: {told}"
    print(f"levers: {what}", file=sys.stderr)
    return what
