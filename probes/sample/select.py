"""From sampled answers to rejected sides: cut to length, kept or dropped by stated rules, chosen. No model.

Codes PB911–PB913.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rapidfuzz.distance import Indel

from ...errors import ProbeError
from ...records import Estimate, Finding
from ...shared_limits import TRIVIAL
from ...stats.parted import parted_words
from ...stats.scripts import length_in_words

Pick = Literal["default", "worst", "all"]
# Why a candidate is dropped, beside the rules.
UNFINISHED, REPEATED, CHOSEN = "no finished sentence", "near-duplicate", "the chosen answer itself"
NEAR_CONTRAST = 0.1  # candidates of one prompt that differ in less of their words are near-duplicates
DEFAULT_RULES = ("contrast>=0.2", "length-ratio<=2")
SENTENCE_END = re.compile(r"""[.!?…]["'”’)\]]*(?=\s|$)|[。！？]["'”’)\]」』）]*|\n""")
MEASURES = {"contrast", "length-ratio", "gap"}
OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class SampledResponse:
    """One sampled answer to the prompt of pair `line`; `gap` in nats/token where it was asked for."""

    line: int
    text: str
    temperature: float
    draw: int
    seed: int
    ended: bool
    cut: bool = False
    gap: float | None = None


@dataclass(frozen=True, slots=True)
class SampleRule:
    """A condition that a candidate must meet, such as contrast>=0.2."""

    measure: str
    sign: str
    limit: float

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.measure}{self.sign}{self.limit:g}"

    def holds(self, candidate: SampledResponse, chosen: str) -> bool:
        """Whether the candidate meets it, beside the chosen answer to its prompt."""
        return OPERATORS[self.sign](candidate_measure(self.measure, candidate, chosen), self.limit)


def parse_rules(typed: Iterable[str]) -> tuple[SampleRule, ...]:
    """`contrast>=0.2` and the like. Raises `ProbeError` for what is no rule."""
    return tuple(_rule(text) for text in typed)


def _rule(text: str) -> SampleRule:
    match = re.fullmatch(r"\s*([a-z-]+)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)\s*", text)
    if match is None or match[1] not in MEASURES:
        known = ", ".join(sorted(MEASURES))
        raise ProbeError(f"--keep-if {text}: not a rule. Write one such as contrast>=0.2; measures: {known}.")
    return SampleRule(match[1], match[2], float(match[3]))


def contrast(one: str, other: str) -> float:
    """1 − the share of words that two texts have in common and in order: 0 for the same words, 1 for none."""
    return 1 - Indel.normalized_similarity(parted_words(one.casefold()), parted_words(other.casefold()))


def candidate_measure(measure: str, candidate: SampledResponse, chosen: str) -> float:
    """`contrast` to the chosen answer; `length-ratio`, longer over shorter in words; `gap` as scored."""
    if measure == "contrast":
        return contrast(candidate.text, chosen)
    if measure == "length-ratio":
        words = sorted(length_in_words(text) for text in (candidate.text, chosen))
        return words[1] / max(words[0], 1.0)
    if candidate.gap is None:
        raise ValueError("the candidate's gap was not measured")
    return candidate.gap


def cut_to(candidate: SampledResponse, words: float) -> SampledResponse:
    """The candidate up to the end of the sentence or line that brings it nearest to `words` words.

    Words are counted by `scripts.length_in_words`. An answer that was not ended by the model and has no such
    end comes back empty.
    """
    ends = [match.end() for match in SENTENCE_END.finditer(candidate.text)]
    ends += [len(candidate.text)] if candidate.ended else []
    best = min(ends, key=lambda end: abs(length_in_words(candidate.text[:end]) - words), default=0)
    text = candidate.text[:best].rstrip()
    return replace(candidate, text=text, cut=text != candidate.text.rstrip())


@dataclass(frozen=True, slots=True)
class Selection:
    """What became of the candidates: those kept, by line, and why the others were dropped."""

    by_line: Mapping[int, Sequence[SampledResponse]]
    dropped: Counter[str] = field(default_factory=Counter)


def keep(
    candidates: Iterable[SampledResponse], chosen: Mapping[int, str], rules: Sequence[SampleRule]
) -> Selection:
    """Candidates, in the order given, that are whole, not the chosen answer, meet all rules, and repeat no
    earlier one."""
    by_line: dict[int, list[SampledResponse]] = {}
    dropped: Counter[str] = Counter()
    for candidate in candidates:
        mine = by_line.setdefault(candidate.line, [])
        why = _why_not(candidate, chosen[candidate.line], rules, mine)
        if why:
            dropped[why] += 1
        else:
            mine.append(candidate)
    return Selection(by_line, dropped)


def _why_not(
    candidate: SampledResponse, chosen: str, rules: Sequence[SampleRule], earlier: Sequence[SampledResponse]
) -> str:
    if not candidate.text.strip():
        return UNFINISHED
    if failed := next((rule for rule in rules if not rule.holds(candidate, chosen)), None):
        return f"not {failed}"
    if candidate.text.strip() == chosen.strip():
        return CHOSEN
    if any(contrast(candidate.text, other.text) < NEAR_CONTRAST for other in earlier):
        return REPEATED
    return ""


def picked(kept: Sequence[SampledResponse], chosen: str, pick: Pick) -> list[SampledResponse]:
    """The rejected sides for one prompt: the `default`, of the lowest temperature drawn first; the `worst`,
    with the fewest words in common with the chosen answer; or `all`."""
    if not kept or pick == "all":
        return list(kept)
    if pick == "worst":
        return [max(kept, key=lambda candidate: contrast(candidate.text, chosen))]
    return [min(kept, key=lambda candidate: (candidate.temperature, candidate.draw))]


def advice_on(dropped: Mapping[str, int]) -> str:
    """What lets more candidates through, by the reason that dropped most; "" where none was dropped."""
    why = max(dropped, key=lambda name: dropped[name], default="")
    if why == UNFINISHED:
        return "Raise --tokens: most were dropped before a sentence ended."
    if why == REPEATED:
        return "Raise --temperatures: most repeat another answer."
    if why == CHOSEN:
        return "Raise --temperatures: most are the chosen answer word for word."
    return f"Loosen --keep-if {why.removeprefix('not ')!r}, which drops the most." if why else ""


def without_pair(
    lines: Sequence[int], asked: int, dropped: Mapping[str, int] | None = None
) -> Finding | None:
    """PB911 prompts without a pair: no candidate of these prompts was kept.

    Means: every sampled answer was dropped by the rules of --keep-if, as a near-duplicate, as unfinished, or
    as the chosen answer itself.
    Why: these prompts are not in the file that was written. Which prompts are missing is not random: for them
    the model answers like the chosen side, or at another length.
    Do: what the finding advises, by the reason that dropped most; sample more (--n), or leave them out.
    Source: counts of this run.
    """
    if not lines:
        return None
    return Finding(
        "PB911",
        "warning",
        f"{len(lines)} of {asked} prompts have no candidate that was kept; their pairs are left out",
        advice_on(dropped or {}) or "Sample more answers (--n).",
        lines=tuple(lines),
    )


def mostly_dropped(kept: Selection) -> Finding | None:
    """PB912 most candidates dropped: fewer than half of the sampled answers can be used.

    Means: the rules, near-duplicates and unfinished answers took more than half of what was drawn.
    Why: what is left is a selection; at low temperatures it may be the same answer many times.
    Do: look at the counts by reason; raise --tokens for unfinished answers, the temperature for duplicates.
    Source: counts of this run.
    """
    lost = kept.dropped.total()
    total = lost + sum(map(len, kept.by_line.values()))
    if 2 * lost <= total:
        return None
    reasons = ", ".join(f"{n} {why}" for why, n in kept.dropped.most_common())
    return Finding(
        "PB912",
        "warning",
        f"{lost} of {total} candidates were dropped: {reasons}",
        advice_on(kept.dropped),
    )


def still_trivial(after: Estimate) -> Finding | None:
    """PB913 still trivial: the sampled negatives can be recognised by their text alone.

    Means: a classifier of the text without its prompt tells chosen from sampled in more pairs than the limit,
    by the lower bound of its interval.
    Why: sampled text has the style of the model that wrote it. Where the chosen side is by another author,
    the two styles can be as easy to tell apart as a template.
    Do: look at what makes them recognisable; write the chosen side in the model's style (let it rewrite
    them), or take both sides from samples and label them.
    Source: as PB202.
    """
    if after.low is None or after.low <= TRIVIAL:
        return None
    return Finding(
        "PB913",
        "warning",
        f"the sampled side can still be told from the other by its text alone in {after.value:.0%} of "
        f"{after.n} pairs",
        "Take both sides from one author: sample both, and label them.",
        estimate=after,
    )
