"""Templates as findings: what one side has and the other lacks. Codes PB203, PB211–PB218."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...pairs.record import Pair, text_of
from ...records import Estimate, Finding
from ...shared_limits import TEMPLATE_LIMIT
from ...stats.statistics import share_clustered
from ..clusters import prompt_clusters
from .exchanged import is_answer
from .marks import LEAST_LETTERS as LEAST_LETTERS  # for the pages of findings
from .marks import find_marks
from .patterns import FILLED_SHARE as FILLED_SHARE  # for the pages of findings
from .patterns import TOGETHER_SHARE as TOGETHER_SHARE
from .patterns import Template, find_templates

WORST_OF_PATTERN = 10
QUOTED_CHARACTERS = 160  # characters of a template that a message quotes, half as many of each of several
QUOTED_TEMPLATES = 3  # of several templates that a message quotes
LEAST_GROUP = 5  # pairs of a group in which templates are looked for

Templates = Mapping[tuple[str, str], tuple[Template, ...]]  # by side and group, `all` first


def templates_of(pairs: Sequence[Pair], sides: tuple[str, str]) -> Templates:
    """The commonest openings, endings and frames of both sides, in the whole set and in each group."""
    chosen, rejected = [text_of(p.chosen) for p in pairs], [text_of(p.rejected) for p in pairs]
    return {
        (side, group): tuple(found)
        for group, rows in {"all": range(len(pairs)), **_groups(pairs)}.items()
        for side, found in zip(sides, _both(chosen, rejected, rows), strict=True)
    }


def telling(templates: Sequence[Template]) -> list[Template]:
    """The templates above the limit that the other side lacks: of a place the widest, of those the longest.

    A frame quotes its opening and ending.
    """
    over = [t for t in templates if t.share > TEMPLATE_LIMIT and 2 * t.other < len(t.rows)]
    widest_first = sorted(over, key=lambda t: (-len(t.rows), -len(t.text)))
    told = {t.where: t for t in reversed(widest_first)}
    return [told["frame"]] if "frame" in told else [t for t in over if told[t.where] is t]


# New negatives do not take a form out of the chosen side.
REJECTED_REMEDY = "Take the form out of that side, give it to both, or sample new negatives (`probe sample`)."
CHOSEN_REMEDY = "Take the form out of the chosen side, or give it to both."


def check_template(
    template: Template, sides: tuple[str, str], group: str, pairs: Sequence[Pair], alpha: float,
    *, on_chosen: bool = False,
) -> Finding:  # fmt: skip
    """PB211 shared opening: most responses of one side start with the same words.

    Means: at least half of the responses of that side open with the quoted text, and less than half as many
    of the other side do. Three words or more, or one or two that a sign sets off ("Certainly,") or nearly
    all open with; the latter two only where the other side has hardly any such opening, so that "Yes" against
    "No" is no form. Openings that cover {TOGETHER_SHARE:.0%} of the side each count together. Counted
    exactly, token by token.
    Why: the first tokens decide the comparison before the content begins, and the loss falls by them alone.
    Do: vary or cut the opening; where the rejected side has it, sampled negatives do that too.
    Source: exact count; starting limit one half.

    PB212 shared ending: most responses of one side end with the same words.

    Means: at least half of the responses of that side close with the quoted text, and less than half as many
    of the other side do; of one or two words, at most a tenth as many, and the other side closes alike in no
    way of its own. Counted exactly, token by token.
    Why: a fixed ending tells the side apart whatever stands before it.
    Do: vary or cut the ending; where the rejected side has it, sampled negatives do that too.
    Source: exact count; starting limit one half.

    PB213 filled template: most responses of one side are the other side's text in a fixed frame.

    Means: in at least half of the pairs, the longest piece copied from the same pair's other response is
    surrounded by the quoted frame, and both together hold at least {FILLED_SHARE:.0%} of the response's
    words. The piece may be a part of the other response: templates often quote only its beginning.
    Why: nothing but the frame differs, so nothing but the frame is taught: the model learns to avoid (or to
    use) those words, on every topic.
    Do: write or sample negatives that differ in substance; keep the chosen side for SFT.
    Source: exact alignment; the negatives of a published failed DPO run were made this way.

    PB214 shared phrase: most responses of one side contain the same four words in a row.

    Means: at least half of the responses of that side have the quoted words somewhere, and less than half as
    many of the other side do.
    Why: a stock phrase tells the side apart wherever it stands, and avoiding it is all that is learned.
    Do: vary or cut the phrase; where the rejected side has it, sampled negatives do that too.
    Source: exact count; starting limit one half.

    PB215 shared sign: most responses of one side contain a sign that the other side lacks.

    Means: at least half of the responses of that side have the sign (an exclamation mark, an asterisk, a
    dash, an emoji), and less than half as many of the other side do. Full stops and commas do not count.
    Why: one character decides the comparison, and the model learns to write or to avoid it.
    Do: use the same punctuation and markup on both sides.
    Source: exact count; starting limit one half.

    PB216 cut short: most responses of one side end without a closing sign.

    Means: at least half of the responses of that side end on something else than a closing sign of
    punctuation, and less than half as many of the other side do.
    Why: one side was cut at a length limit, or stripped: what is learned is where texts end.
    Do: make both sides end alike: raise the limit that cut them, or cut both.
    Source: exact count; a published failed run cut its rejected side at 512 tokens.

    PB217 letter case tells: most responses of one side are in capitals, or begin with a small letter.

    Means: at least half of the responses of that side have no small letter (of {LEAST_LETTERS} letters or
    more), or begin with one, and less than half as many of the other side do.
    Why: the first token then shows which side it is, whatever is said.
    Do: write both sides alike.
    Source: exact count; starting limit one half.

    PB218 layout tells: most responses of one side are laid out as the other side is not.

    Means: at least half of the responses of that side have a numbered list, several paragraphs or several
    lines, and less than half as many of the other side do. Bullets and headings are PB215.
    Why: the first line break or number shows which side it is, whatever is said; the model learns the layout.
    Do: lay both sides out alike, or compare answers from one source.
    Source: exact count; starting limit one half.

    PB203 white space tells: most responses of one side have white space that the other side lacks.

    Means: at least half of the responses of that side begin or end with white space, or have two spaces in a
    row, no-break spaces or carriage returns, and less than half as many of the other side do. Usually the
    two sides come from two sources or two export scripts.
    Why: the first or last token then shows which side it is (" The" and "The" are different tokens). This is
    an artefact of the file: it is learned at once, and it hides how hard the pairs really are.
    Do: write white space alike on both sides; strip both in the file where it stands at an end (`probe
    negatives --strip` measures as if that were done).
    Source: found in a public set in which human responses begin with a space and generated ones do not.
    """
    code, verb = {
        "start": ("PB211", "start with"),
        "end": ("PB212", "end with"),
        "frame": ("PB213", "are the other side's text in a frame:"),
        "inside": ("PB214", "contain"),
        "sign": ("PB215", "contain the sign"),
        "cut": ("PB216", "end on"),
        "space": ("PB203", template.text),
        "case": ("PB217", template.text),
        "layout": ("PB218", template.text),
    }[template.where]
    side, other = sides  # the one that has it, then the one that lacks it
    rows = [pairs[i] for i in template.rows[:WORST_OF_PATTERN]]
    place = "" if group == "all" else f" in {group}"
    return Finding(
        code,
        "warning",
        f"{_how_many(len(template.rows), template.n)} {side} responses{place} {verb}"
        f"{_quotes(template)} ({other}: {_how_many(template.other, template.n)})",
        _remedy(template, on_chosen),
        group=group,
        estimate=share_of(template, side, group, pairs, alpha),
        lines=tuple(pair.line for pair in rows if pair.line),
        worst_pairs=tuple(pair.id for pair in rows),
    )


def _remedy(template: Template, on_chosen: bool) -> str:
    if template.where == "space" and "with white space" in template.text:
        return "Strip both sides in the file; `probe negatives --strip` measures as if that were done."
    if template.where == "space":
        return "Write it alike on both sides of the file."
    return CHOSEN_REMEDY if on_chosen else REJECTED_REMEDY


def _how_many(n: int, of: int) -> str:
    """A count as words where it is all or none, else with its share: `85 of 115 (74%)`."""
    return f"all {n:,}" if n == of else f"{n:,} of {of:,} ({n / of:.0%})" if n else "none"


def share_of(template: Template, side: str, group: str, pairs: Sequence[Pair], alpha: float) -> Estimate:
    """The template's share of its side in that group, with an interval over prompts."""
    inside = np.array([group in ("all", pair.group) for pair in pairs])
    hits = np.zeros(len(pairs))
    hits[list(template.rows)] = 1
    clusters = prompt_clusters([pair for pair, here in zip(pairs, inside, strict=True) if here])
    made = share_clustered(hits[inside], clusters, name="template_share", alpha=alpha, group=group)
    return replace(made, method=f"exact count, {template.where} of {side}; {made.method}")


def check_templates(found: Templates, counted: Sequence[Pair], alpha: float) -> Iterator[Finding]:
    """Templates of the whole set, and those of a group that the set's own do not tell already."""
    first, second = dict.fromkeys(side for side, _ in found)
    other = {first: second, second: first}
    for (side, group), these in found.items():
        known = () if group == "all" else telling(found[side, "all"])
        told = [t for t in telling(these) if not any(_covers(other, t) for other in known)]
        yield from (
            check_template(t, (side, other[side]), group, counted, alpha, on_chosen=side == first)
            for t in told
        )


def _covers(wide: Template, narrow: Template) -> bool:
    """Whether most pairs of one template have the other too, at the same place; a frame is at both ends."""
    shared = len(set(wide.rows).intersection(narrow.rows))
    return wide.where in ("frame", narrow.where) and 2 * shared >= len(narrow.rows)


def widest(found: Templates, counted: Sequence[Pair], alpha: float) -> Iterator[Estimate]:
    """The most widespread template that one side has and the other lacks, in the whole set and each group; of
    a whole set without one a share of 0."""
    for wanted in dict.fromkeys(group for _, group in found):
        told = [
            (t, side)
            for (side, group), these in found.items()
            for t in these
            if group == wanted and 2 * t.other < len(t.rows)
        ]
        if told:
            template, side = max(told, key=lambda item: len(item[0].rows))
            yield share_of(template, side, wanted, counted, alpha)
        elif wanted == "all":
            yield _no_form("either", counted, alpha)


def on_chosen(found: Templates, counted: Sequence[Pair], alpha: float) -> Estimate:
    """`template_share_chosen`: the most widespread template of the chosen side that the rejected one lacks, 0
    where there is none. SFT would learn it, and learns nothing of the other side's."""
    chosen = next(iter(found))[0]
    told = [t for t in found[chosen, "all"] if 2 * t.other < len(t.rows)]
    widest = max(told, key=lambda t: len(t.rows), default=None)
    share = share_of(widest, chosen, "all", counted, alpha) if widest else _no_form(chosen, counted, alpha)
    return replace(share, name="template_share_chosen")


def _no_form(side: str, counted: Sequence[Pair], alpha: float) -> Estimate:
    none = share_of(Template("inside", "", (), 0, len(counted)), side, "all", counted, alpha)
    return replace(none, method="exact count, no text that one side alone shares")


def _groups(pairs: Sequence[Pair]) -> dict[str, list[int]]:
    """Row numbers by group; groups of fewer than `LEAST_GROUP` pairs have no templates to speak of."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, pair in enumerate(pairs):
        if pair.group:
            rows[pair.group].append(i)
    return {group: these for group, these in sorted(rows.items()) if len(these) >= LEAST_GROUP}


def _both(
    chosen: Sequence[str], rejected: Sequence[str], rows: Sequence[int]
) -> tuple[list[Template], list[Template]]:
    """Templates of either side among those rows, numbered as in the whole."""
    a, b = [chosen[i] for i in rows], [rejected[i] for i in rows]
    placed = [
        [
            replace(t, rows=tuple(rows[i] for i in t.rows))
            for t in (*find_templates(*map(_bare, sides)), *find_marks(*sides))
            if not is_answer(t, *sides)
        ]
        for sides in ((a, b), (b, a))
    ]
    return placed[0], placed[1]


def _bare(texts: Sequence[str]) -> list[str]:
    """Without the white space around them, which is a form of its own and hides none."""
    return [text.strip() for text in texts]


def _quotes(template: Template) -> str:
    """The template's text in quotes behind a space, or each of several; what the verb says is not quoted."""
    if template.where in ("space", "case", "layout"):
        return ""
    if not template.texts:
        return f' "{_quoted(template.text, QUOTED_CHARACTERS)}"'
    shown = [f'"{_quoted(text, QUOTED_CHARACTERS // 2)}"' for text in template.texts[:QUOTED_TEMPLATES]]
    more = len(template.texts) - len(shown)
    return " " + " or ".join(shown) + (f" or {more} more" if more else "")


def _quoted(text: str, most: int) -> str:
    text = text.replace("\n", "\\n")
    return text if len(text) <= most else f"{text[: most * 2 // 3]} … {text[-most // 4 :]}"
