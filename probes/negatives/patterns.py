"""Templates: responses that open alike, end alike, or carry the other side's text in a frame.

Exact counts on tokens (`features.split_tokens`); no model, no threshold on similarity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Literal, NamedTuple

from ...stats.scripts import words_in
from .features import split_tokens

Where = Literal["start", "end", "frame", "inside", "sign", "cut", "space", "case", "layout"]

# An opening or ending of fewer words must be that of most of one side, and of nearly none of the other.
LEAST_WORDS = 3
SHORT_LEAST = 10  # responses that must have an edge of fewer words
SHORT_SHARES = {"start": 0.9, "end": 0.5}  # share of the side that must have it: openings are alike by chance
KEPT_SHARE = 0.9  # a template grows while it keeps this share of its responses
COPIED_WORDS = 4  # words that must be copied in one piece for a slot
# Share of a response's words that frame and copied piece together must hold: the rest would be taught as
# well. No share of the other side's text is asked for: templates often quote no more than its beginning.
FILLED_SHARE = 0.9
SLOT = "⟨copied⟩"
TEMPLATES_TOGETHER = 8  # templates of one kind that may count together
TOGETHER_SHARE = 0.15  # share of a side that each of several must have
TOGETHER_LEAST = 5  # responses that each of several must have
ALIGNED_TOKENS = 400  # tokens of a response in which a copied piece must begin


@dataclass(frozen=True, slots=True)
class Template:
    """A text that many responses of one side share.

    `text` is quoted exactly, with `SLOT` where the other side's text stands; `rows` are the pairs that have
    it, of `n`; `other` counts the other side's responses with the same text. `texts` quotes each where
    several templates count together.
    """

    where: Where
    text: str
    rows: tuple[int, ...]
    other: int
    n: int
    texts: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of the side's responses that have the template."""
        return len(self.rows) / self.n if self.n else 0.0


def find_templates(side: Sequence[str], other: Sequence[str]) -> list[Template]:
    """The commonest opening, ending and frame of `side`, most widespread first, whatever their shares.

    A frame is what surrounds text copied from the same pair's `other` response. Where rules wrote a side,
    they often had several templates: those of one kind that are each common count together, too.
    """
    kinds = [_kinds(side, other, where) for where in ("frame", "start", "end")]
    found = [joined_templates(parts) if parts[1:] else parts[0] for parts in kinds if parts]
    return sorted(found, key=lambda template: -len(template.rows))


def _kinds(side: Sequence[str], other: Sequence[str], where: Where) -> list[Template]:
    """The commonest template of that place, and those of the responses without it, while they are common."""
    found: list[Template] = []
    left = list(range(len(side)))
    while len(found) < TEMPLATES_TOGETHER:
        rest = [side[i] for i in left]
        part = _template(rest, other, [other[i] for i in left], where, short=not found)
        common = part is not None and is_common(part, len(side))
        if part is None or (found and not common):
            break
        rows = tuple(left[i] for i in part.rows)
        found.append(replace(part, rows=rows, n=len(side)))
        if not common:
            break
        left = [i for i in left if i not in set(rows)]
    return found


def is_common(part: Template, n: int) -> bool:
    """Whether a template may count with others: common on its side, and nearly absent from the other."""
    return len(part.rows) >= max(TOGETHER_LEAST, TOGETHER_SHARE * n) and 10 * part.other <= len(part.rows)


def joined_templates(parts: Sequence[Template]) -> Template:
    """Several templates of one kind as one."""
    rows = tuple(sorted({i for part in parts for i in part.rows}))
    texts = tuple(part.text for part in parts)
    other = sum(part.other for part in parts)
    return Template(parts[0].where, " or ".join(texts), rows, other, parts[0].n, texts)


def _template(
    side: Sequence[str], others: Sequence[str], paired: Sequence[str], where: Where, *, short: bool
) -> Template | None:
    """The commonest template of that place; `others` are all of the other side, `paired` those of `side`.

    `short`: whether one or two words may be one.
    """
    if where == "frame":
        return _frame(side, paired)
    place: Literal["start", "end"] = "start" if where == "start" else "end"
    return (_short_edge(side, others, place) if short else None) or _edge(side, others, place)


def common_edge(
    texts: Sequence[str], where: Literal["start", "end"], least: int = LEAST_WORDS
) -> tuple[str, tuple[int, ...]]:
    """The longest opening (or ending) of the commonest `least` words, and which texts have it.

    It grows token by token to the commonest continuation while at least `KEPT_SHARE` of the texts
    that share the first words still share it. ("", ()) when no two texts agree.
    """
    step = 1 if where == "start" else -1
    sides = [split_tokens(text)[::step] for text in texts]
    known = [_head(side, least) for side in sides]
    heads = Counter(head for head in known if head)
    if not heads or heads.most_common(1)[0][1] < 2:
        return "", ()
    best, count = heads.most_common(1)[0]
    rows = [i for i, head in enumerate(known) if head == best]
    edge = list(best)
    while longer := Counter(sides[i][len(edge)] for i in rows if len(sides[i]) > len(edge)):
        token, have = longer.most_common(1)[0]
        if have < KEPT_SHARE * count:
            break
        rows = [i for i in rows if len(sides[i]) > len(edge) and sides[i][len(edge)] == token]
        edge.append(token)
    return "".join(edge[::step]), tuple(rows)


def _head(side: Sequence[str], least: int) -> tuple[str, ...] | None:
    """The tokens up to and with that many words, or None for a shorter response."""
    words = 0.0
    for position, token in enumerate(side):
        words += words_in(token)
        if words >= least:
            return tuple(side[: position + 1])
    return None


def _short_edge(side: Sequence[str], other: Sequence[str], where: Literal["start", "end"]) -> Template | None:
    """The widest edge of one or two words, where three words are those of fewer responses.

    Natural answers often open or close on the same word: it counts only where most of one side have it and
    nearly none of the other, and where the other side has no such edge of its own ("Yes" against "No"). Edges
    that share their outermost word are no answers but name the sides ("Response A:" against "Response B:").
    """
    parts = [_edge(side, other, where, least) for least in range(LEAST_WORDS, 0, -1)]
    best = max((part for part in parts if part), key=lambda part: len(part.rows), default=None)
    if best is None or best is parts[0]:
        return None
    enough = len(best.rows) >= max(SHORT_LEAST, SHORT_SHARES[where] * len(side))
    edges = (common_edge(other, where, least) for least in range(1, LEAST_WORDS))
    mine = _outermost(best.text, where)
    own = max((len(rows) for text, rows in edges if not mine or _outermost(text, where) != mine), default=0)
    return best if enough and 10 * best.other <= len(best.rows) and 2 * own < len(other) else None


def _outermost(edge: str, where: Literal["start", "end"]) -> str:
    """The first word of an opening, the last of an ending; "" where there is none."""
    words = [token for token in split_tokens(edge) if words_in(token)]
    return words[0 if where == "start" else -1] if words[1:] else ""


def _edge(
    side: Sequence[str], other: Sequence[str], where: Literal["start", "end"], least: int = LEAST_WORDS
) -> Template | None:
    text, rows = common_edge(side, where, least)
    if not rows:
        return None
    has = str.startswith if where == "start" else str.endswith
    return Template(where, text, rows, sum(has(response, text) for response in other), len(side))


def _frame(side: Sequence[str], other: Sequence[str]) -> Template | None:
    """The commonest surroundings of text copied from the other side of the same pair.

    A response counts where frame and copied text are nearly all of it. The copied texts must differ from pair
    to pair: a sentence that both sides of every pair share is no slot.
    """
    slots = {i: slot for i, pair in enumerate(zip(side, other, strict=True)) if (slot := _slot(*pair))}
    copied = list(slots)
    before, opens = common_edge([slots[i].before for i in copied], "start")
    after, ends = common_edge([slots[i].after for i in copied], "end")
    if not before and not after:
        return None
    framed = set(opens if before else ends) & set(ends if after else opens)
    rows = tuple(copied[i] for i in sorted(framed) if slots[copied[i]].filled(before + after))
    if 2 * len({slots[i].copied for i in rows}) <= len(rows):
        return None
    return Template("frame", f"{before}{SLOT}{after}", rows, 0, len(side))


class _Slot(NamedTuple):
    before: str
    copied: str
    after: str

    def filled(self, frame: str) -> bool:
        """Whether `frame` and the copied piece are nearly all of the response, by their words."""
        whole = sum(map(_words, self))
        return _words(frame) + _words(self.copied) >= FILLED_SHARE * whole


def _words(text: str) -> float:
    return sum(map(words_in, split_tokens(text)))


def _slot(text: str, source: str) -> _Slot | None:
    """`text` around the longest piece copied from `source`; None when there is none, or nothing around it."""
    a, b = split_tokens(text), split_tokens(source)
    start, other, size = SequenceMatcher(
        None, a[:ALIGNED_TOKENS], b[:ALIGNED_TOKENS], autojunk=False
    ).find_longest_match()
    further = zip(a[start + size :], b[other + size :], strict=False)
    end = start + size + sum(1 for _ in takewhile(lambda both: both[0] == both[1], further))
    piece = "".join(a[start:end])
    if _words(piece) < COPIED_WORDS:
        return None
    before, after = "".join(a[:start]), "".join(a[end:])
    return _Slot(before, piece, after) if before.strip() or after.strip() else None
