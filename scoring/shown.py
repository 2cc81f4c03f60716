"""What a model reads of a pair, exactly: token ids with their text, context and scored tokens apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..errors import ProbeError
from ..pairs.record import Pair
from .changes import changed
from .embedded import EMBEDDED_NAME
from .encode import AUTO_SAMPLE, Encoder, make_encoder
from .flags import FLAGS, left_out
from .scores import EncodedSide
from .session import ModelOptions, Source
from .templates import special_ids
from .tokenizer import load_tokenizer, model_length

BEFORE = 8  # tokens that a token is decoded after, so that its white space and its bytes are right


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows of `probe show` as reports take them, and what they were made with."""

    rows: list[dict[str, Any]]
    encoder: Encoder
    n: int


def show_pairs(source: Source, how: ModelOptions, lines: Sequence[int], first: bool = True) -> Shown:
    """The pairs on these lines as the model reads them; without lines the first pair, or all of them.

    Only the tokenizer is loaded. Raises `ProbeError` for a line that holds no pair, and as the encoder does.
    """
    options = (how.revision, how.trust_remote_code)
    tokenizer = load_tokenizer(how.model, *options)
    lengths = [n for n in (how.max_length, model_length(how.model, *options)) if n]
    return shown_by(tokenizer, source, how.template, min(lengths) if lengths else None, lines, first)


def shown_by(
    tokenizer: PreTrainedTokenizerBase,
    source: Source,
    template: str,
    max_length: int | None,
    lines: Sequence[int],
    first: bool = True,
) -> Shown:
    """As `show_pairs`, with a tokenizer at hand."""
    sample = list(islice(source.pairs(), AUTO_SAMPLE))
    encoder = make_encoder(tokenizer, sample, template, max_length)
    pairs, n = _wanted(source, lines, first)
    return Shown([shown_row(encoder, pair) for pair in pairs], encoder, n)


def _wanted(source: Source, lines: Sequence[int], first: bool) -> tuple[list[Pair], int]:
    """The pairs that are asked for, in the order of the file, and how many the file has."""
    reading = source.pairs()
    reading.skip_bad = True  # a bad line is told where it is the one that is asked for
    found = [pair for i, pair in enumerate(reading) if (pair.line in lines if lines else not (first and i))]
    missing = sorted(set(lines) - {pair.line for pair in found})
    if missing:
        why = {bad.line: bad.reason for bad in reading.bad}
        raise ProbeError(
            f"{source.path}:{missing[0]}: {why.get(missing[0], 'no pair stands on this line. Name another.')}"
        )
    return found, reading.n


def shown_row(encoder: Encoder, pair: Pair) -> dict[str, Any]:
    """One pair: ids and the text of each token, what the template changed, flags and whether it is scored."""
    codes = encoder(pair)
    sides = {"chosen": codes.chosen, "rejected": codes.rejected}
    return {
        "line": pair.line,
        "id": pair.id,
        "ids": ids_of(pair.line, sides, codes.flags),
        "sides": {name: _side(encoder.tokenizer, side) for name, side in sides.items()},
        "flags": {flag: FLAGS[flag] for flag in codes.flags},
        "excluded": left_out(codes.flags),
        "changes": _changes(encoder, pair) if any(f.startswith("template_") for f in codes.flags) else [],
    }


def ids_of(line: int, sides: dict[str, EncodedSide], flags: Iterable[str]) -> dict[str, Any]:
    """A pair as `--format json` has it: context, scored ids, and the end token apart."""
    stops = {name: len(side.ids) - side.ends for name, side in sides.items()}
    return {
        "line": line,
        "context": {name: list(side.ids[: side.start]) for name, side in sides.items()},
        **{name: list(side.ids[side.start : stops[name]]) for name, side in sides.items()},
        "end": {name: list(side.ids[stops[name] :]) for name, side in sides.items()},
        "flags": list(flags),
    }


def _side(tokenizer: PreTrainedTokenizerBase, side: EncodedSide) -> dict[str, Any]:
    """Each token as `[text, whether it is special]`: those of the context, those scored, the end token."""
    pieces = pieces_of(tokenizer, side.ids)
    stop = len(pieces) - side.ends
    return {
        "context": pieces[: side.start],
        "tokens": pieces[side.start : stop],
        "end": pieces[stop:],
        "bytes": side.bytes,
    }


def pieces_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[list[Any]]:
    """The text that each token adds, and whether it is special; parts of a character as vocabularies do."""
    special, pieces = special_ids(tokenizer), []
    for i, token in enumerate(ids):
        before = list(ids[max(0, i - BEFORE) : i])
        head, whole = _decoded(tokenizer, before), _decoded(tokenizer, [*before, token])
        text = whole[len(head) :] if whole.startswith(head) else ""
        if token in special or not text or "\ufffd" in text or "\ufffd" in head[-1:]:
            text = str(tokenizer.convert_ids_to_tokens(token))
        pieces.append([text, token in special])
    return pieces


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _changes(encoder: Encoder, pair: Pair) -> list[dict[str, Any]]:
    """What the template made of the words: side, flag, how many tokens, the words."""
    return [
        {"side": side, "flag": c.flag, "words": c.words, "tokens": _count(encoder, c.words)}
        for side, found in changed(encoder, pair).items()
        for c in found
    ]


def _count(encoder: Encoder, words: str) -> int:
    return len(encoder.tokenise([words])[0][0])


def inputs_of(shown: Shown, source: Source, how: ModelOptions) -> dict[str, Any]:
    """The `inputs` of a run that shows pairs."""
    name = how.model or f"{EMBEDDED_NAME} (embedded)"
    return {
        "pairs": {"path": str(source.path), "n": shown.n},
        "model": {"name": name, "template": shown.encoder.template},
        "sides": list(source.sides),
        "scores": {"max_length": shown.encoder.max_length},
    }
