"""From a pair file and a model's name to scores: what every command that runs a model does first."""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderResult

from ..pairs.record import Pair, text_of
from ..progress import progress
from ..records import to_json
from .distance import distance
from .encode import Encoder, make_encoder
from .flags import (
    FLAGS,
    Met,
    describe,
    left_out,
)
from .model import LoadedModel, load_model
from .options import ModelOptions as ModelOptions
from .options import is_endpoint
from .rounding import Rounding, has_room
from .scores import EncodedPair, PairScore, SideScore
from .served import ServedScorer, served_model
from .service import Scorer, open_store
from .source import STABILITY_PAIRS as STABILITY_PAIRS
from .source import Source as Source
from .source import Survey as Survey
from .templates import special_texts

KEPT_PAIRS = 40  # worst and best pairs kept with their words


class ScoreDisplay(Protocol):
    """What is shown below the progress bar: it is drawn by rich and takes each pair's gap (nats/token)."""

    def add(self, group: str, gap: float) -> None:
        """Take the gap of a pair of `group`."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult: ...


def _loaded(options: ModelOptions) -> LoadedModel:
    return load_model(
        options.model,
        device=options.device,
        dtype=options.dtype,
        revision=options.revision,
        adapter=options.adapter,
        trust_remote_code=options.trust_remote_code,
        quantize=options.quantize,
    )


@dataclass
class HalfSession:
    """A session's copy in bfloat16, None where it is not taken; `rounding` says how far its gaps are off, and
    `forward` is its pace in seconds per distinct token."""

    session: Session | None = None
    rounding: Rounding | None = None
    forward: float = 0.0


@dataclass
class Session:
    """A loaded model with the encoder and store for one pair file.

    `exact`: no copy in bfloat16 is tried, since a dtype was asked for, the file comes with probe, or memory
    has no room for one; `half`: what came of the copy, once it was tried.
    """

    source: Source
    survey: Survey
    loaded: LoadedModel
    encoder: Encoder
    scorer: Scorer
    exact: bool = False
    half: HalfSession | None = None

    @classmethod
    def open(
        cls, source: Source, options: ModelOptions, seed: int = 0, loaded: LoadedModel | None = None,
        *, served: bool = False,
    ) -> Session:  # fmt: skip
        """Survey the file, load the model, settle the template. Raises `ProbeError` for bad input.

        `loaded` is a model at hand, which `options` then does not name; nothing measured on it is stored.
        `served`: log-probs are all that is asked for, so that the model may be a server's.
        """
        survey = source.survey(seed)
        given, remote = loaded is not None, served and is_endpoint(options.model)
        if options.tokenizer and not remote:
            print(
                f"probe: --tokenizer {options.tokenizer} is not used: it is for a server's model, and this "
                "one has its own.",
                file=sys.stderr,
            )  # a config file may name it for another model
        loaded = loaded or (served_model if remote else _loaded)(options)
        lengths = [n for n in (options.max_length, loaded.max_length) if n]
        encoder = make_encoder(
            loaded.tokenizer, survey.first, options.template, min(lengths) if lengths else None
        )
        if options.quantize and not given:
            plain = replace(options, quantize=None, dtype="bfloat16")
            far = distance(loaded, lambda: _loaded(plain), encoder, survey.first)
            loaded = replace(loaded, facts={**loaded.facts, "from_bfloat16": far})
        store = None if options.no_cache or given else open_store(loaded)
        kind = ServedScorer if remote else Scorer
        exact = options.dtype is not None or source.bundled or not has_room(loaded)
        return cls(source, survey, loaded, encoder, kind(loaded, encoder, store), exact)

    def scores(self, what: str = "scoring", tally: ScoreDisplay | None = None) -> Iterator[PairScore]:
        """The score of every pair of the file, with progress (and a `tally` of the groups) on stderr."""
        with progress(what, self.survey.n, below=tally) as advance:
            for score in self.scorer.scores(self.source.pairs(), advance):
                if tally is not None:
                    tally.add(score.group or "all", score.gap)
                yield score

    def encoded(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Some pairs of the file as token ids; what the encoder meets in them is noted."""
        codes = self.encoder.many(pairs)
        for pair, code in zip(pairs, codes, strict=True):
            self.scorer.met.note(pair.line, code.flags)
        usable = [code for code in codes if not left_out(code.flags)]
        if usable and not isinstance(self.scorer, ServedScorer):  # what they are for runs the model itself
            self.scorer.prove(max(len(s.ids) for code in usable for s in (code.chosen, code.rejected)))
        return codes

    def scores_of(
        self, pairs: Sequence[Pair], what: str, template: str | None = None, *, altered: bool = False
    ) -> list[PairScore]:
        """Scores of some pairs, under another template if given; counted with the session's own.

        `altered`: they are not as the file has them, so what the encoder meets in them is not noted.
        """
        encoder = (
            self.encoder
            if template is None
            else make_encoder(self.loaded.tokenizer, pairs, template, self.encoder.max_length)
        )
        met = Met() if altered or template is not None else self.scorer.met
        other = self.scorer.under(encoder, met)
        with progress(what, len(pairs)) as advance:
            scores = list(other.scores(pairs, advance))
        self.scorer.new += other.new
        self.scorer.cached += other.cached
        self.scorer.proof = other.proof or self.scorer.proof
        self.scorer.longest = max(self.scorer.longest, other.longest)
        return scores

    def let_half_go(self) -> None:
        """Free the copy's weights; its pairs stay counted as this session's."""
        if self.half and (copy := self.half.session):
            self.scorer.new += copy.scorer.new
            self.scorer.cached += copy.scorer.cached
            self.half.session = None

    def inputs(self) -> dict[str, Any]:
        """The `inputs` of `run.json`."""
        proof, met = self.scorer.proof, self.scorer.met
        excluded = met.excluded
        copy = self.half.session.scorer if self.half and self.half.session else None
        return {
            **({"arithmetic": self.half.rounding.facts()} if self.half and self.half.rounding else {}),
            "pairs": dict(self.survey.facts),
            "model": {
                **self.loaded.facts,
                "template": self.encoder.template,
                "special_tokens": special_texts(self.loaded.tokenizer),
                "kernel": self._kernel(),
            },
            "sides": list(self.source.sides),
            "scores": {
                "new": self.scorer.new + (copy.new if copy else 0),
                "stored": self.scorer.cached + (copy.cached if copy else 0),
                "excluded": [{"line": line, "why": why} for line, why in excluded[:100]],
                "excluded_lines": [line for line, _ in excluded],
                "excluded_count": len(excluded),
                "excluded_why": dict(Counter(FLAGS[why] for _, why in excluded)),
                "max_length": self.encoder.max_length,
                "flags": describe(met.counts),
                "self_proof": to_json(proof) if proof else None,
            },
        }

    def noise_floor(self) -> float:
        """Largest packed-to-plain difference seen on this model, nats/token; 0 if unproven."""
        return self.scorer.floor()

    def _kernel(self) -> str:
        if isinstance(self.scorer, ServedScorer):
            return "the server's own"
        plain = self.scorer.proof is not None and self.scorer.proof.plain
        return "one sequence at a time" if plain else "prefix tree"


@dataclass
class Extremes:
    """Keeps the pairs with the lowest and the highest gaps of a stream, with their words and tokens."""

    kept: int = KEPT_PAIRS
    _low: list[tuple[float, int, PairScore]] = field(default_factory=list)
    _high: list[tuple[float, int, PairScore]] = field(default_factory=list)

    def watch(self, scores: Iterable[PairScore]) -> Iterator[PairScore]:
        """Pass a stream through, remembering its ends."""
        for score in scores:
            self._keep(self._low, (-score.gap, score.line, score))
            self._keep(self._high, (score.gap, score.line, score))
            yield score

    def _keep(self, heap: list[tuple[float, int, PairScore]], entry: tuple[float, int, PairScore]) -> None:
        if len(heap) < self.kept:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)

    def rows(self, session: Session) -> dict[str, list[dict[str, Any]]]:
        """The `worst` and `best` sections of a run, worst and best first; no pair is in both."""
        worst = [s for _, _, s in sorted(self._low, reverse=True) if s.gap < 0]
        best = [s for _, _, s in sorted(self._high, reverse=True) if s.gap > 0]
        wanted = {score.line for score in (*worst, *best)}
        words = {pair.line: pair for pair in session.source.pairs() if pair.line in wanted}
        return {
            "worst": [pair_row(session.encoder, words[score.line], score) for score in worst],
            "best": [pair_row(session.encoder, words[score.line], score) for score in best],
        }


def pair_row(encoder: Encoder, pair: Pair, score: PairScore) -> dict[str, Any]:
    """One pair with its words and per-token log-probs, as reports show it."""
    codes = encoder(pair)
    return {
        "id": pair.id,
        "line": pair.line,
        "group": pair.group,
        "gap": score.gap,
        "prompt": text_of(pair.prompt),
        "chosen": _side_row(
            encoder, text_of(pair.chosen), codes.chosen.ids[codes.chosen.start :], score.chosen
        ),
        "rejected": _side_row(
            encoder, text_of(pair.rejected), codes.rejected.ids[codes.rejected.start :], score.rejected
        ),
    }


def _side_row(encoder: Encoder, text: str, ids: Sequence[int], score: SideScore) -> dict[str, Any]:
    tokens = zip(ids, score.token_logps.tolist(), strict=False)  # the end token has no place in the text
    pieces = [[encoder.tokenizer.decode([i]), round(logp, 4)] for i, logp in tokens]
    return {"text": text, "tokens": pieces, "mean_logps": score.mean_logps}


def score_row(score: PairScore) -> dict[str, Any]:
    """One row of `scores.jsonl`."""
    return {
        "id": score.id,
        "line": score.line,
        "group": score.group,
        "chosen": _totals(score.chosen),
        "rejected": _totals(score.rejected),
        "flags": list(score.flags),
    }


def _totals(side: SideScore) -> dict[str, Any]:
    return {
        "logps": side.logps,
        "mean_logps": side.mean_logps,
        "tokens": side.tokens,
        "bytes": side.bytes,
        "end_logp": side.end_logp,
    }
