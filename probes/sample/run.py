"""The run behind `probe sample`: draw candidates into a journal, keep, pick, write pairs, measure them.

Every answer is in the journal as soon as its batch is drawn; the same command goes on from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ... import __version__, config
from ...errors import CannotMeasure, ProbeError
from ...pairs.formats import fingerprint, is_still
from ...pairs.prompts import in_form_of, read_prompts
from ...pairs.record import Pair, text_of
from ...progress import progress
from ...records import Finding, Measured, Run
from ...runs import environment, now
from ...scoring.encode import Encoder, make_encoder
from ...scoring.generate import with_room
from ...scoring.identity import identity
from ...scoring.model import LoadedModel, load_model
from ...scoring.sampling import Draw, draw_samples
from ...scoring.service import Scorer, open_store
from ...scoring.session import ModelOptions
from ...stats.scripts import length_in_words
from ..negatives.triviality import judge_surface, surface
from .journal import append, read_journal
from .output import ladder_rows, outcome_counts, rows_of_pair, write_new
from .select import (
    Pick,
    SampledResponse,
    SampleRule,
    Selection,
    cut_to,
    keep,
    mostly_dropped,
    picked,
    still_trivial,
    without_pair,
)

ANSWER_ROOM = 1.5  # answers may be so much longer than the longest chosen one, for a sentence end to fall in
LONGEST_ANSWER = 256  # tokens of an answer where there is no chosen one to go by
TRIVIALITY = ("PB201", "PB202", "PB204", *(f"PB21{k}" for k in range(1, 9)))


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What is drawn and what is kept of it: see `probe sample --help`."""

    target: Path
    temperatures: tuple[float, ...] = (0.1, 0.4, 0.7, 1.0)
    n: int = 1
    top_p: float = 1.0
    tokens: int | None = None
    rules: tuple[SampleRule, ...] = ()
    pick: Pick = "default"
    match_length: bool = True
    replace_trivial: Run | None = None
    alpha: float = 0.05
    seed: int = 0

    @property
    def journal(self) -> Path:
        """Where the candidates are kept."""
        return self.target.with_suffix(".candidates.jsonl")


def sample_run(path: Path, fields: Mapping[str, str], how: ModelOptions, options: SampleOptions) -> Run:
    """Sample, write the pairs to `options.target`, and say what was kept. Nothing that exists is overwritten.

    Without chosen answers in the file only the journal is written. Raises `ProbeError` for bad input and a
    journal of other settings, `CannotMeasure` for numbers or disks that fail.
    """
    created = now()
    if options.target.exists() and not options.journal.exists():
        raise ProbeError(
            f"{options.target}: exists, and nothing is overwritten. Choose another name with --to."
        )
    pairs = read_prompts(path, fields)
    before, lines = _trivial(path, pairs, options)
    asked = [pair for pair in pairs if pair.line in lines]
    loaded = load_model(
        how.model, device=how.device, dtype=how.dtype, revision=how.revision, adapter=how.adapter,
        trust_remote_code=how.trust_remote_code, quantize=how.quantize,
    )  # fmt: skip
    encoder = make_encoder(loaded.tokenizer, pairs, how.template, loaded.max_length)
    tokens = options.tokens or _room(encoder, asked)
    head = _head(path, loaded, encoder, options, tokens)
    candidates = _drawn(loaded, encoder, asked, options, tokens, head)
    kept, picks = _paired(loaded, encoder, pairs, asked, candidates, options, how, head)
    after = _surface(read_prompts(options.target), options) if any(picks.values()) else Measured()
    missing = [line for line, found in picks.items() if not found]
    return Run(
        command="sample",
        created=created,
        estimates=after.estimates,
        findings=tuple(_findings(missing, len(asked), kept, after)),
        inputs={
            "pairs": {"path": str(path), "sha256": fingerprint(path), "n": len(pairs), "dropped": 0},
            "model": {**loaded.facts, "template": encoder.template},
        },
        config=config.current(),
        environment=environment(),
        details={
            "data": outcome_counts(candidates, kept, picks, len(asked)),
            "ladder": [
                *ladder_rows(before, "before"),
                *ladder_rows(after, "after" if before.estimates else ""),
            ],
            "giveaways": after.details.get("giveaways", []),
            "sampled": {
                **head,
                "candidates": str(options.journal),
                "pairs": str(options.target) if picks else None,
                "written": sum(map(len, picks.values())),
            },
        },
    )


def _paired(
    loaded: LoadedModel,
    encoder: Encoder,
    pairs: Sequence[Pair],
    asked: Sequence[Pair],
    candidates: Sequence[SampledResponse],
    options: SampleOptions,
    how: ModelOptions,
    head: Mapping[str, Any],
) -> tuple[Selection, dict[int, list[SampledResponse]]]:
    """What was kept, and what was picked by line, written; nothing where no prompt has a chosen answer."""
    chosen = {pair.line: text_of(pair.chosen) for pair in asked}
    if not any(chosen.values()):
        return Selection({}), {}
    kept = _kept(loaded, encoder, asked, candidates, options, how)
    picks = {line: picked(kept.by_line.get(line, ()), chosen[line], options.pick) for line in chosen}
    ids = {pair.id for pair in pairs}
    rows = [row for pair in pairs for row in rows_of_pair(pair, picks.get(pair.line), head, ids)]
    write_new(rows, options.target)
    return kept, picks


def _trivial(path: Path, pairs: Sequence[Pair], options: SampleOptions) -> tuple[Measured, set[int]]:
    """The triviality of the file as it is, and the lines to be sampled for: all, or those told apart by text.

    Raises `ProbeError` where the run to go by is of another file, or calls nothing trivial.
    """
    run = options.replace_trivial
    if run is None:
        return Measured(), {pair.line for pair in pairs}
    if not is_still(path, (run.inputs.get("pairs") or {}).get("sha256")):
        raise ProbeError(f"{path}: not the file that the run measured. Run `probe negatives` on it again.")
    if not any(finding.code in TRIVIALITY for finding in run.findings):
        raise ProbeError(f"{path}: the run calls no negatives trivial ({', '.join(TRIVIALITY)}). Keep them.")
    found = surface(pairs, alpha=options.alpha, seed=options.seed)
    margins = found.separations["surface"].margins
    told = {pair.line for pair, margin in zip(found.pairs, margins, strict=True) if margin > 0}
    named = {line for f in run.findings if f.code in TRIVIALITY for line in f.lines}
    return judge_surface(found, alpha=options.alpha), told | named


def _surface(pairs: Sequence[Pair], options: SampleOptions) -> Measured:
    """How trivial the pairs written are; nothing where they cannot be classified."""
    try:
        return judge_surface(surface(pairs, alpha=options.alpha, seed=options.seed), alpha=options.alpha)
    except CannotMeasure:
        return Measured()


def _room(encoder: Encoder, asked: Sequence[Pair]) -> int:
    """Tokens that an answer may have: room for a sentence end past the longest chosen one."""
    full = [pair for pair in asked if text_of(pair.chosen)]
    lengths = [len(codes.chosen.ids) - codes.chosen.start for codes in encoder.many(full)]
    return int(ANSWER_ROOM * max(lengths)) if lengths else LONGEST_ANSWER


def _head(
    path: Path, loaded: LoadedModel, encoder: Encoder, options: SampleOptions, tokens: int
) -> dict[str, Any]:
    """What the candidates were drawn from and how: the journal's first line."""
    known = identity(loaded, encoder)
    return {
        "model": loaded.facts.get("name"),
        **known["model"],
        "template": encoder.template,
        "encoding": known["encoding"],
        "prompts_sha256": fingerprint(path),
        "temperatures": list(options.temperatures),
        "n": options.n,
        "top_p": options.top_p,
        "tokens": tokens,
        "seed": options.seed,
        "probe": __version__,
    }


# --- drawing --------------------------------------------------------------------------------------------


def _drawn(
    loaded: LoadedModel,
    encoder: Encoder,
    asked: Sequence[Pair],
    options: SampleOptions,
    tokens: int,
    head: Mapping[str, Any],
) -> list[SampledResponse]:
    """All candidates, those of the journal and new ones, by line, temperature and draw."""
    known = {(c.line, c.temperature, c.draw): c for c in read_journal(options.journal, head)}
    contexts = _contexts(loaded, encoder, asked)
    keys = [(line, t, k) for line in contexts for t in options.temperatures for k in range(options.n)]
    todo = [key for key in keys if key not in known]
    draws = [Draw(contexts[line], t, _seed(options.seed, contexts[line], t, k)) for line, t, k in todo]
    with progress("sampling", len(draws), "answers") as advance:
        for part in draw_samples(loaded, draws, tokens=tokens, top_p=options.top_p):
            found = []
            for i, answer in part.items():
                line, temperature, k = todo[i]
                text = loaded.tokenizer.decode(answer.ids, skip_special_tokens=True)
                found.append(SampledResponse(line, text, temperature, k, draws[i].seed, answer.ended))
            known |= {(c.line, c.temperature, c.draw): c for c in found}
            append(options.journal, found, head)
            advance(len(part))
    return [known[key] for key in keys]


def _contexts(loaded: LoadedModel, encoder: Encoder, pairs: Sequence[Pair]) -> dict[int, tuple[int, ...]]:
    """The token ids that an answer goes on from, by line; prompts without room for one are left out."""
    contexts = encoder.contexts(pairs)
    return {pairs[i].line: contexts[i] for i in with_room(loaded, contexts)}


def _seed(seed: int, context: Sequence[int], temperature: float, k: int) -> int:
    """The row's own seed: of the prompt, temperature and number of the draw, whatever else is sampled."""
    text = json.dumps([seed, list(context), temperature, k])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


# --- keeping --------------------------------------------------------------------------------------------


def _kept(
    loaded: LoadedModel,
    encoder: Encoder,
    asked: Sequence[Pair],
    candidates: Sequence[SampledResponse],
    options: SampleOptions,
    how: ModelOptions,
) -> Selection:
    by_line = {pair.line: pair for pair in asked}
    chosen = {line: text_of(pair.chosen) for line, pair in by_line.items()}
    ready = [c for c in candidates if chosen[c.line].strip()]
    if options.match_length:
        ready = [cut_to(c, length_in_words(chosen[c.line])) for c in ready]
    else:
        ready = [c if c.ended else replace(c, text="") for c in ready]
    if any(rule.measure == "gap" for rule in options.rules):
        ready = _with_gaps(loaded, encoder, by_line, ready, how)
    return keep(ready, chosen, options.rules)


def _with_gaps(
    loaded: LoadedModel,
    encoder: Encoder,
    by_line: Mapping[int, Pair],
    candidates: Sequence[SampledResponse],
    how: ModelOptions,
) -> list[SampledResponse]:
    """The candidates with their gaps under the sampling model; those without a word have none."""
    scorer = Scorer(loaded, encoder, None if how.no_cache else open_store(loaded))
    full = {i: c for i, c in enumerate(candidates) if c.text.strip()}
    pairs = [
        replace(by_line[c.line], rejected=_content(by_line[c.line], c.text), line=i) for i, c in full.items()
    ]
    with progress("scoring candidates", len(pairs)) as advance:
        gaps = {score.line: score.gap for score in scorer.scores(pairs, advance)}
    # The chosen side's own words have no score: their gap is 0.
    return [replace(c, gap=gaps.get(i, 0.0)) for i, c in enumerate(candidates)]


def _content(pair: Pair, text: str) -> Any:
    form = in_form_of(pair.chosen, text)
    return form if isinstance(form, str) else tuple(form)


def _findings(missing: Sequence[int], asked: int, kept: Selection, after: Measured) -> Iterable[Finding]:
    whole = next((e for e in after.estimates if e.name == "surface_accuracy" and e.group == "all"), None)
    lost = [without_pair(missing, asked, kept.dropped), mostly_dropped(kept)]
    checks = [*lost, still_trivial(whole) if whole else None]
    return [finding for finding in checks if finding]
