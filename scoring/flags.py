"""What the encoder may meet in a pair, and what it says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..pairs.record import Pair
from .scores import EncodedPair, EncodedSide

# What the encoder may meet, as it stands in reports.
FLAGS = {
    "merged": "a token joins the end of the prompt and the start of the response",
    "truncated_chosen": "the chosen response is cut at the maximal length",
    "truncated_rejected": "the rejected response is cut at the maximal length",
    "prompt_fills": "the prompt fills --max-length",
    "nothing_left": "no response token is left, or there was none",
    "identical": "both sides are the same tokens",
    "first_token_unscored": "no prompt and no BOS token: the first token has nothing to be predicted from",
    "rendered": "the prompt is rendered by a chat template already and is taken raw",
    "typed_special": "a special token is typed inside a side",
    "prompt_dropped": "the chat template leaves out words or tools of the prompt",
    "template_dropped": "the chat template leaves out words of a side",
    "template_added": "the chat template writes words of its own at the start of a response",
    "template_changed": "the chat template trims or changes the words of a side",
    "not_as_text": "the server takes text alone, and reads this text as other tokens",
    "same_under_template": "different sides become the same tokens under the chat template",
}
# Nothing can be learned or measured from such a pair.
EXCLUDING = frozenset({"prompt_fills", "nothing_left", "identical", "not_as_text"})
SKIP_REASONS = (
    "prompt_fills",
    "nothing_left",
    "same_under_template",
    "identical",
    "not_as_text",
)  # the first that holds is told


def left_out(flags: Iterable[str]) -> str | None:
    """The flag that says why a pair with these flags has no score; None for one that has."""
    met = set(flags)
    return next((flag for flag in SKIP_REASONS if flag in met), None) if EXCLUDING & met else None


def reasons_left_out(codes: Iterable[EncodedPair]) -> str:
    """Why pairs of these have no score, in words with the number of each reason; "" where all have one."""
    counts = Counter(why for pair in codes if (why := left_out(pair.flags)))
    return "; ".join(f"{FLAGS[why]} ({n:,})" for why, n in counts.most_common())


def remedy_left_out(reasons: Iterable[str | None]) -> str:
    """What helps where pairs are left out for these flags: more length, or else a look at the file."""
    long = {"prompt_fills", "nothing_left"}.intersection(reason for reason in reasons if reason)
    return "Raise --max-length" if long else "Look at the file with `probe data`"


@dataclass
class Met:
    """What the encoder met in the pairs of a file, each line once, however often it is encoded.

    `by_line` has the flags of the pairs that carry any.
    """

    by_line: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _seen: bytearray = field(default_factory=bytearray)  # a byte a line

    def note(self, line: int, flags: tuple[str, ...]) -> None:
        """Take a pair's flags; what it met before stays."""
        if line >= len(self._seen):
            self._seen.extend(bytes(max(line + 1 - len(self._seen), len(self._seen))))
        self._seen[line] = 1
        if flags:
            self.by_line[line] = tuple(dict.fromkeys((*self.by_line.get(line, ()), *flags)))

    @property
    def n(self) -> int:
        """Lines that were encoded."""
        return self._seen.count(1)

    @property
    def counts(self) -> Counter[str]:
        """Pairs by flag."""
        return Counter(flag for flags in self.by_line.values() for flag in flags)

    @property
    def lines(self) -> dict[str, list[int]]:
        """The lines that carry each flag, in order."""
        found: dict[str, list[int]] = {}
        for line, flags in sorted(self.by_line.items()):
            for flag in flags:
                found.setdefault(flag, []).append(line)
        return found

    @property
    def excluded(self) -> list[tuple[int, str]]:
        """Lines of pairs that have no score, with the flag that says why."""
        whys = ((line, left_out(flags)) for line, flags in sorted(self.by_line.items()))
        return [(line, why) for line, why in whys if why]


def shared_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two sequences share at their beginning."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:  # as a prompt and what follows it mostly do
        return n
    return next((i for i in range(n) if a[i] != b[i]), n)


def joined_pair(
    pair: Pair, chosen: tuple[EncodedSide, set[str]], rejected: tuple[EncodedSide, set[str]]
) -> EncodedPair:
    """Both sides as a pair, with the flags of both in the order of `FLAGS`."""
    sides: Mapping[str, tuple[EncodedSide, set[str]]] = {"chosen": chosen, "rejected": rejected}
    flags: set[str] = set()
    for name, (_, met) in sides.items():
        flags |= {f"truncated_{name}" if flag == "truncated" else flag for flag in met}
    if chosen[0].ids == rejected[0].ids and chosen[0].start == rejected[0].start:
        flags.add("identical")
    return EncodedPair(pair.id, chosen[0], rejected[0], tuple(flag for flag in FLAGS if flag in flags))


def describe(flag_counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Counted flags as report rows."""
    return [{"flag": flag, "count": n, "meaning": FLAGS[flag]} for flag, n in flag_counts.items() if n]
