"""Checks of single pairs: what is broken in a row whatever the other rows say."""

from __future__ import annotations

import numpy as np

from ...records import Finding
from ...stats.statistics import share
from .columns import ECHO_WORDS
from .limits import DataLimits
from .result import CheckResult, Data, counted_check
from .row_flags import Flag
from .words import repeats


def malformed_lines(data: Data, limits: DataLimits) -> CheckResult:
    """The lines that the reader left out.

    PB300 malformed lines: lines of the file hold no pair.

    Means: The lines are no JSON, lack a field, or hold something else than text or chat messages.
    Why: A trainer stops at such a line, or drops it silently and trains on fewer pairs than you think.
    Do: Correct the lines listed; `--fix out.jsonl` writes the file without them.
    Source: the reader's own rules, docs/commands/data.md.
    """
    k = len(data.bad)
    estimate = share(k, k + data.n, name="malformed_lines")
    if k <= limits["malformed_lines"] * (k + data.n):
        return CheckResult("malformed_lines", k, limits["malformed_lines"], (estimate,))
    first = data.bad[0]
    finding = Finding(
        "PB300",
        "error",
        f"{k:,} of {k + data.n:,} lines hold no pair; line {first.line}: {first.reason.rstrip('.')}",
        "Correct these lines, or write the file without them with --fix.",
        lines=tuple(bad.line for bad in data.bad),
        estimate=estimate,
    )
    return CheckResult("malformed_lines", k, limits["malformed_lines"], (estimate,), finding)


def empty_sides(data: Data, limits: DataLimits) -> CheckResult:
    """Sides without a word.

    PB301 empty side: a response holds nothing but white space.

    Means: One or both responses of the pair have no word in them.
    Why: There is nothing to score; training raises or lowers the end token alone, and divisions by the
    length of the response give NaN.
    Do: Fill the response in, or drop the pair with `--fix`.
    Source: by definition of a preference pair.
    """
    return counted_check(
        "empty_sides",
        (data.columns.words[:, 1:] == 0).any(axis=1),
        data.columns.lines,
        limits,
        severity="error",
        what="have an empty side",
        remedy="Fill the side in, or drop the pairs with --fix.",
    )


def identical_sides(data: Data, limits: DataLimits) -> CheckResult:
    """Sides that are the same, character by character.

    PB302 identical sides: chosen and rejected are the same text.

    Means: The pair prefers a response to itself.
    Why: Its gradient is exactly zero under DPO and its loss stays at ln 2, so it only dilutes the others.
    Do: Find out why the rejected side was copied; drop the pairs with `--fix`.
    Source: OpenRLHF issue 364 and TRL issue 1627 report losses stuck at 0.6931 from such pairs.
    """
    return counted_check(
        "identical_sides",
        data.columns.has(Flag.IDENTICAL) & (data.columns.words[:, 1] > 0),
        data.columns.lines,
        limits,
        severity="error",
        what="have identical sides",
        remedy="Drop them with --fix, and find out why a side was copied.",
    )


def same_words(data: Data, limits: DataLimits) -> CheckResult:
    """Sides that differ in nothing but case, character width and white space.

    PB303 same words: the sides differ only in case, width or white space.

    Means: After Unicode's NFKC form, case folding and one space between words, both sides are equal.
    Why: If that is not the preference you mean to teach, the pair teaches formatting.
    Do: Read the pairs listed; drop them unless formatting is the point.
    Source: convention.
    """
    keys = data.columns.keys
    same = (keys[:, 1] == keys[:, 2]) & (data.columns.words[:, 1] > 0) & ~data.columns.has(Flag.IDENTICAL)
    return counted_check(
        "same_words",
        same,
        data.columns.lines,
        limits,
        severity="warning",
        what="differ only in case, width or white space",
        remedy="Drop them unless formatting is what the pairs are to teach.",
    )


def odd_turns(data: Data, limits: DataLimits) -> CheckResult:
    """Chats that no chat template expects.

    PB304 odd turns: a chat has unknown roles or turns out of order.

    Means: A role is unknown, a system message comes late, two turns of one role follow each other, a
    response does not begin and end with the assistant, or a text response begins with a user's turn.
    Why: Chat templates raise on such rows or render them into something that no user will ever send.
    Do: Correct the rows; put everything before the answers into the prompt.
    Source: the roles and order of the chat templates that transformers ships.
    """
    return counted_check(
        "odd_turns",
        data.columns.has(Flag.ODD_TURNS),
        data.columns.lines,
        limits,
        severity="warning",
        what="have unknown roles or turns out of order",
        remedy="Correct the roles; responses begin and end with the assistant.",
    )


def boundary_space(data: Data, limits: DataLimits) -> CheckResult:
    """White space between prompt and response that is there in most rows and not in all.

    PB305 boundary space: some rows lack the white space before the response that the others have.

    Means: Prompt and response are texts; most rows separate them by white space, and these rows do not, or do
    so for one response only.
    Why: Joined texts are tokenised across the boundary ("sky?It"), so these rows are learned as other
    tokens than the rest; and a space on one side only tells the sides apart by itself.
    Do: Write the same boundary in every row. Where no row has white space there, this is not reported: the
    template `auto` then separates prompt and response.
    Source: TRL issue 5213; docs/commands/data.md.
    """
    columns = data.columns
    spaced, half = columns.has(Flag.SPACED), columns.has(Flag.HALF_SPACED)
    texts = ~columns.has(Flag.NO_PROMPT | Flag.CHAT) & (columns.words[:, 1:] > 0).all(axis=1)
    lacking = texts & ~spaced & ~half & (2 * spaced.sum() > texts.sum())
    return counted_check(
        "boundary_space",
        np.asarray((half & texts) | lacking),
        columns.lines,
        limits,
        severity="warning",
        what="are not parted from the prompt as the other side or most rows are",
        remedy="Write the same boundary between prompt and response in every row.",
    )


def control_characters(data: Data, limits: DataLimits) -> CheckResult:
    """Characters that no reader sees.

    PB306 control characters: texts hold control characters.

    Means: A text holds a character below U+0020 other than tab and line ends, U+007F, or a stray U+FEFF.
    Why: They come from broken exports, become rare tokens, and often stand on one side only.
    Do: Remove them from the texts.
    Source: the Unicode standard, general category Cc.
    """
    return counted_check(
        "control_characters",
        data.columns.has(Flag.CONTROL),
        data.columns.lines,
        limits,
        severity="warning",
        what="hold control characters",
        remedy="Remove the characters.",
    )


def mojibake(data: Data, limits: DataLimits) -> CheckResult:
    """Text that went through the wrong encoding.

    PB307 mojibake: texts were decoded with the wrong encoding.

    Means: A text holds UTF-8 read as Windows-1252 or Latin-1, U+FFFD, or a C1 control character.
    Why: The model learns to write the broken characters, above all where they stand on the chosen side.
    Do: Decode the source again as UTF-8; files of mixed encodings must be decoded row by row.
    Source: byte patterns of UTF-8; each suspected run is decoded back before it counts.
    """
    return counted_check(
        "mojibake",
        data.columns.has(Flag.MOJIBAKE),
        data.columns.lines,
        limits,
        severity="warning",
        what="hold wrongly decoded text",
        remedy="Decode the source again as UTF-8.",
    )


def echoed_prompt(data: Data, limits: DataLimits) -> CheckResult:
    """Responses that open with the whole prompt.

    PB308 echoed prompt: responses repeat the prompt before they answer.

    Means: A response's first words are all the words of a prompt of {ECHO_WORDS} words or more; pairs with a
    shorter prompt, which may open an answer by chance, are not counted.
    Why: Usually prompt and response were joined before export, so the prompt is learned as an answer;
    and repeated tokens dilute the mean over the response.
    Do: Cut the prompt off the responses, or read shared turns as the prompt with `--fields prompt=`.
    Source: TRL's `maybe_extract_prompt` describes data sets of that form.
    """
    looked = data.columns.words[:, 0] >= ECHO_WORDS
    return counted_check(
        "echoed_prompt",
        data.columns.echo[looked],
        data.columns.lines[looked],
        limits,
        severity="warning",
        what=f"with a prompt of {ECHO_WORDS} words or more have a response that opens with it",
        remedy="Cut the prompt off the responses.",
    )


def repeated_ids(data: Data, limits: DataLimits) -> CheckResult:
    """Ids that do not name one pair.

    PB309 repeated ids: pairs have the id of an earlier pair.

    Means: The field "id" holds the same value in several rows, or a row's id is another row's number.
    Why: Results are stored, compared and re-labelled by id, so the other commands stop at such a file.
    Do: Give each pair its own id, or read the file without ids by `--fields id=`. Where the field names a
    prompt or a source, that is what to do.
    Source: the reader's own rule.
    """
    return counted_check(
        "repeated_ids",
        repeats(data.columns.ids),
        data.columns.lines,
        limits,
        severity="error",
        what="have the id of an earlier pair",
        remedy="Give each pair its own id, or ignore them with --fields id=.",
    )


ROW_CHECKS = (
    malformed_lines,
    empty_sides,
    identical_sides,
    same_words,
    odd_turns,
    boundary_space,
    control_characters,
    mojibake,
    echoed_prompt,
    repeated_ids,
)
