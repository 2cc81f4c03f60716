"""What truncation and tokenisation do to the pairs; run when `--model` names a tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...records import Finding
from ...scoring.told import FLAG_WORDINGS, encoded_finding
from ...stats.statistics import share
from .limits import DataLimits
from .result import CheckResult, Data, counted_check
from .row_flags import Flag
from .tokens import TokenColumns


def _tokens(data: Data) -> TokenColumns:
    assert data.tokens is not None
    return data.tokens


def identical_after_truncation(data: Data, limits: DataLimits) -> CheckResult:
    """Different sides that become the same tokens.

    PB340 identical after truncation: the sides differ only after the cut.

    Means: Cut at `--max-length`, chosen and rejected are the same tokens.
    Why: As with identical sides the gradient is zero, and no look at the file's texts shows it.
    Do: Raise `--max-length`, shorten the prompts, or drop the pairs.
    Source: TRL issue 5662 reports a run in which everything was cut away.
    """
    flagged = _tokens(data).flagged
    other = data.columns.has(Flag.IDENTICAL) | flagged["same_under_template"] | flagged["prompt_fills"]
    same = flagged["identical"] & ~other
    return counted_check(
        "identical_after_truncation",
        np.asarray(same),
        data.columns.lines,
        limits,
        severity="error",
        what="are the same tokens after truncation",
        remedy="Raise --max-length or drop the pairs.",
    )


def truncated(data: Data, limits: DataLimits) -> CheckResult:
    """Responses that are cut.

    PB341 truncated: responses are cut at the maximal length.

    Means: Prompt and response together are longer than `--max-length`, so the response loses its end.
    Why: The end often decides which response is better, and the end token is not learned.
    Do: Raise `--max-length` or drop the longest pairs.
    Source: convention; more than one pair in twenty is worth a warning.
    """
    tokens = _tokens(data)
    return counted_check(
        "truncated",
        (tokens.flagged["truncated_chosen"] | tokens.flagged["truncated_rejected"]),
        data.columns.lines,
        limits,
        severity="warning",
        what=f"are cut at {tokens.max_length} tokens",
        remedy="Raise --max-length or drop the longest pairs.",
    )


def unequal_truncation(data: Data, limits: DataLimits) -> CheckResult:
    """One side that is cut more often than the other.

    PB342 unequal truncation: one side is cut more often than the other.

    Means: Among pairs of which just one side is cut, it is significantly more often the same side.
    Why: Cut responses lack an end; if they are mostly rejected ones, the model learns to prefer endings.
    Do: Raise `--max-length` until neither side is cut, or drop the pairs that are.
    Source: McNemar's exact test on the pairs cut on one side only.
    """
    tokens = _tokens(data)
    cut_chosen, cut_rejected = tokens.flagged["truncated_chosen"], tokens.flagged["truncated_rejected"]
    chosen, rejected = cut_chosen & ~cut_rejected, cut_rejected & ~cut_chosen
    k, n = int(rejected.sum()), int(chosen.sum() + rejected.sum())
    estimate = share(k, n, name="unequal_truncation")
    finding = None
    if estimate.p is not None and estimate.p <= limits["unequal_truncation"]:
        more, less = ("rejected", "chosen") if 2 * k > n else ("chosen", "rejected")
        finding = Finding(
            "PB342",
            "warning",
            f"the {more} side alone is cut in {max(k, n - k):,} pairs, the {less} side alone in "
            f"{min(k, n - k):,} (p = {estimate.p:.2g})",
            "Raise --max-length until neither side is cut.",
            lines=tuple(data.columns.lines[chosen | rejected].tolist()),
            estimate=estimate,
        )
    return CheckResult("unequal_truncation", n, limits["unequal_truncation"], (estimate,), finding)


def merged_boundary(data: Data, limits: DataLimits) -> CheckResult:
    """Tokens that join the end of the prompt and the start of the response.

    PB343 merged boundary: a token belongs to both the prompt and the response.

    Means: Tokenised together, the last characters of the prompt and the first of the response are one
    token in these pairs.
    Why: Trainers differ in which side such a token counts for, so scores and training may disagree.
    Do: Separate prompt and response by white space or a template.
    Source: TRL's comment on `common_prefix_length`; docs/commands/data.md.
    """
    return counted_check(
        "merged_boundary",
        _tokens(data).flagged["merged"],
        data.columns.lines,
        limits,
        severity="warning",
        what="have a token across the boundary of prompt and response",
        remedy="Part prompt and response by white space or a template.",
    )


def flagged(flag: str) -> Callable[[Data, DataLimits], CheckResult]:
    """The check of one flag of the encoder; `scoring.told` explains its finding."""

    def check(data: Data, limits: DataLimits) -> CheckResult:
        tokens = _tokens(data)
        lines = data.columns.lines[tokens.flagged[flag]].tolist()
        estimate = share(len(lines), data.n, name=flag)
        beyond = len(lines) > limits[flag] * data.n
        finding = encoded_finding(flag, lines, data.n, tokens.examples.get(flag, "")) if beyond else None
        return CheckResult(flag, len(lines), limits[flag], (estimate,), finding)

    return check


TOKEN_CHECKS = (
    identical_after_truncation,
    truncated,
    unequal_truncation,
    merged_boundary,
    *map(flagged, FLAG_WORDINGS),
)
