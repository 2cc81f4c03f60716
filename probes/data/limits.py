"""The checks' limits, each with its code and default; `[tool.probe.data.limits]` changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...errors import ProbeError
from ...number_format import number


@dataclass(frozen=True, slots=True)
class Limit:
    """A check's limit: a finding is raised beyond `default`. `help` says of what, `sense` on which side.

    `either`: by as much on the other side of one half. `units` as those of an `Estimate`.
    """

    code: str
    default: float
    help: str
    sense: Literal["most", "least", "either"] = "most"
    units: str = "share"

    def asked(self, value: float) -> str:
        """What is asked of the file: `≤ 10%`, `≥ 200`, `35% to 65%`."""
        if self.sense == "either":
            return f"{number(1 - value, self.units)} to {number(value, self.units)}"
        if value == 0 and self.sense == "most":
            return "none"
        return f"{'≥' if self.sense == 'least' else '≤'} {number(value, self.units)}"


LEAST_ALIKE = 0.5  # below it the likeness of two sides is not measured exactly

DATA_LIMITS: Mapping[str, Limit] = {
    "malformed_lines": Limit("PB300", 0.0, "share of lines that hold no pair"),
    "empty_sides": Limit("PB301", 0.0, "share of pairs with a side without words"),
    "identical_sides": Limit("PB302", 0.0, "share of pairs whose sides are the same"),
    "same_words": Limit("PB303", 0.0, "share of pairs whose sides differ in case, width or spacing only"),
    "odd_turns": Limit("PB304", 0.0, "share of chats with unknown roles or turns out of order"),
    "boundary_space": Limit("PB305", 0.0, "share of pairs without the white space that the others have"),
    "control_characters": Limit("PB306", 0.0, "share of pairs with control characters"),
    "mojibake": Limit("PB307", 0.0, "share of pairs with wrongly decoded text"),
    "echoed_prompt": Limit(
        "PB308", 0.01, "share of pairs with a prompt of 5 words or more that a response opens with"
    ),
    "repeated_ids": Limit("PB309", 0.0, "share of pairs with the id of another pair"),
    "contradicting_labels": Limit("PB320", 0.0, "share of pairs that another pair says the other way round"),
    "duplicates": Limit("PB321", 0.0, "share of pairs that repeat an earlier one"),
    "near_duplicates": Limit("PB322", 0.01, "share of pairs nearly like an earlier one"),
    "leaked": Limit("PB323", 0.0, "share of pairs whose prompt stands in the --against file"),
    "near_leaked": Limit("PB324", 0.01, "share of pairs nearly like one of the --against file"),
    "effective_prompts": Limit(
        "PB325", 0.1, "least effective number of prompts, as a share of the pairs", "least"
    ),
    "largest_prompt": Limit("PB325", 0.1, "largest share of pairs with one and the same prompt"),
    "group_ratio": Limit("PB326", 10.0, "largest group over smallest", units="ratio"),
    "too_few_pairs": Limit("PB327", 200.0, "least number of independent pairs", "least", "pairs"),
    "length_ratio": Limit("PB330", 1.5, "mean length ratio of the sides in words, either way", units="ratio"),
    "longer_wins": Limit("PB330", 0.65, "accuracy of choosing by length alone, lower bound", "either"),
    "too_alike": Limit("PB331", 0.1, "share of pairs whose sides agree in `alike` of their words"),
    "alike": Limit("PB331", 0.9, "agreement of two sides, 2·LCS/(n + m) of their words"),
    "hardly_related": Limit(
        "PB332", 0.6, "least share of pairs whose sides are more alike than strangers, upper bound", "least"
    ),
    "conditional": Limit(
        "PB333", 0.1, "least share of the rarer direction in a conditional set, lower bound", "least"
    ),
    "one_sided": Limit("PB334", 0.9, "largest share of one direction, lower bound"),
    "prefix_sides": Limit("PB335", 0.01, "share of pairs in which one side begins with all of the other"),
    "unread_prompt": Limit("PB350", 0.0, "share of pairs with a column like a prompt that is not read"),
    "rendered_prompts": Limit("PB351", 0.0, "share of pairs whose prompt is rendered already"),
    "user_turns": Limit("PB352", 0.0, "share of pairs with turns of the user inside a response"),
    "template_marks": Limit("PB338", 0.0, "share of pairs with a chat template's marks inside a response"),
    "mixed_forms": Limit("PB353", 0.0, "share of the rarer form, text or chat messages"),
    "unseen_marks": Limit("PB354", 0.0, "share of pairs with zero-width or direction marks on one side"),
    "swapped_scores": Limit("PB355", 0.0, "share of pairs whose chosen side has the lower score or rank"),
    "tied_scores": Limit("PB336", 0.1, "share of pairs whose sides have equal scores"),
    "missing_prompts": Limit("PB357", 0.0, "share of pairs without a prompt where others have one"),
    "missing_values": Limit("PB358", 0.0, "share of pairs with a side that names a missing value"),
    "shared_beginnings": Limit("PB359", 0.0, "share of pairs without a prompt whose sides begin alike"),
    "written_out": Limit("PB356", 0.0, "share of pairs with messages written out as text"),
    "prompt_fills": Limit("PB344", 0.0, "share of pairs whose prompt fills --max-length"),
    "typed_special": Limit("PB345", 0.0, "share of pairs with a special token typed inside a side"),
    "prompt_dropped": Limit("PB337", 0.0, "share of pairs of whose prompt the template leaves words out"),
    "template_dropped": Limit("PB346", 0.0, "share of pairs of which the template leaves words out"),
    "template_added": Limit("PB347", 0.0, "share of pairs to which the template adds words"),
    "template_changed": Limit("PB348", 0.0, "share of pairs whose words the template changes"),
    "same_under_template": Limit("PB349", 0.0, "share of pairs whose sides the template makes the same"),
    "identical_after_truncation": Limit("PB340", 0.0, "share of pairs the same after truncation"),
    "truncated": Limit("PB341", 0.05, "share of pairs with a side cut at --max-length"),
    "unequal_truncation": Limit(
        "PB342", 0.05, "p of the test that both sides are cut equally often", "least", "p"
    ),
    "merged_boundary": Limit("PB343", 0.05, "share of pairs with a token across prompt and response"),
}

DataLimits = Mapping[str, float]


def data_limits(changed: Mapping[str, object] | None = None) -> DataLimits:
    """The defaults with `changed` over them. Raises `ProbeError` for an unknown name or no number."""
    values = {name: limit.default for name, limit in DATA_LIMITS.items()}
    for key, value in (changed or {}).items():
        name = key.replace("-", "_")
        if name not in DATA_LIMITS:
            raise ProbeError(f'data.limits: no limit "{key}". docs/commands/data.md lists them.')
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ProbeError(f'data.limits: "{key}" is {value!r}. Give a number.')
        values[name] = float(value)
    if values["alike"] < LEAST_ALIKE:
        raise ProbeError(
            f'data.limits: "alike" is under {LEAST_ALIKE}. Sides less alike are not compared exactly.'
        )
    return values
