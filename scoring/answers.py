"""A loaded model with its encoder and store for unpaired answers: what reads or trains on them does first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..pairs.unpaired import UnpairedAnswer, as_pair
from .encode import Encoder, make_encoder
from .model import LoadedModel, load_model
from .options import ModelOptions
from .scores import EncodedSide
from .service import Scorer, open_store


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Answers as token sequences and their log-probs."""

    loaded: LoadedModel
    encoder: Encoder
    scorer: Scorer

    @classmethod
    def open(
        cls, answers: Sequence[UnpairedAnswer], how: ModelOptions, loaded: LoadedModel | None = None
    ) -> AnswerReader:
        """Load the model and settle the template. Raises `ProbeError` for bad input.

        `loaded` is a model at hand, which `how` then does not name; nothing measured on it is stored.
        """
        given = loaded is not None
        loaded = loaded or load_model(
            how.model, device=how.device, dtype=how.dtype, revision=how.revision, adapter=how.adapter,
            trust_remote_code=how.trust_remote_code, quantize=how.quantize,
        )  # fmt: skip
        lengths = [n for n in (how.max_length, loaded.max_length) if n]
        sample = [as_pair(answer) for answer in answers[:256]]
        encoder = make_encoder(loaded.tokenizer, sample, how.template, min(lengths) if lengths else None)
        store = None if how.no_cache or given else open_store(loaded)
        return cls(loaded, encoder, Scorer(loaded, encoder, store))

    def sides(
        self, answers: Sequence[UnpairedAnswer], said: Sequence[UnpairedAnswer] | None = None
    ) -> list[EncodedSide]:
        """Each answer under its prompt; `said`: the answers whose completions stand there instead."""
        texts = said or answers
        pairs = [as_pair(replace(a, completion=t.completion)) for a, t in zip(answers, texts, strict=True)]
        return [code.chosen for code in self.encoder.many(pairs)]


def has_words(side: EncodedSide) -> bool:
    """Whether a token of the answer itself is scored."""
    return len(side.ids) - side.ends > side.start
