"""Neutral questions with ordinary answers: what a lever must not make unlikely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ProbeError
from ..pairs.prompts import in_parts
from ..pairs.record import Pair

if TYPE_CHECKING:
    from ..scoring.encode import Encoder

_TEXTS = (
    (
        "How is bread made?",
        "Flour, water, salt and yeast are kneaded to a dough. It rests until it has doubled, is shaped, "
        "rests again and is baked in a hot oven for about forty minutes.",
        "You mix flour with water, add yeast and a little salt, and let the dough rise in a warm place. Then "
        "it goes into the oven until the crust is brown.",
    ),
    (
        "Why do leaves change colour in autumn?",
        "In autumn trees take the green pigment back into their wood. Yellow and orange pigments, which were "
        "in the leaf all the time, can then be seen.",
        "When days become shorter, a leaf stops making chlorophyll. As the green fades, other colours of the "
        "leaf appear, and later it falls to the ground.",
    ),
    (
        "What does a library do?",
        "A library collects books and other media, keeps them in order and lends them to people, who bring "
        "them back after a few weeks.",
        "It buys books, puts them on shelves by subject, and lets its readers borrow them. Many libraries "
        "also offer rooms to read in and courses.",
    ),
    (
        "How do I change a bicycle tyre?",
        "Take the wheel out, let the air out of the tube and lift the tyre over the rim with two levers. Put "
        "the new tube in, press the tyre back and pump it up.",
        "First remove the wheel. Then pull the old tyre and the tube off the rim, fit the new ones, check "
        "that nothing is caught, and add air.",
    ),
)
# Both sides are neutral: neither is better.
NEUTRAL_PAIRS = tuple(Pair(f"neutral-{i}", *texts, line=i) for i, texts in enumerate(_TEXTS, 1))


def neutral_pairs(encoder: Encoder) -> tuple[Pair, ...]:
    """The neutral pairs in the form that this template reads: as text, or as content parts."""
    try:
        encoder.many(NEUTRAL_PAIRS)
    except ProbeError:  # it drops the words of texts
        return tuple(map(in_parts, NEUTRAL_PAIRS))
    return NEUTRAL_PAIRS
