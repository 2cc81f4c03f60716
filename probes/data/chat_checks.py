"""Checks of how a row was meant: its prompt, its turns, its scores, and characters that nobody sees."""

from __future__ import annotations

import numpy as np

from ...pairs.misread import AMISS, SHARED_WORDS  # noqa: F401 (the words of PB359 read it)
from .limits import DataLimits
from .result import CheckResult, Data, counted_check
from .row_flags import MISREAD_FLAGS, Flag
from .said import LABEL, OURS


def _misread(kind: str, data: Data, limits: DataLimits, example: str = "") -> CheckResult:
    told = AMISS[kind]
    return counted_check(
        kind,
        data.columns.has(MISREAD_FLAGS[kind]),
        data.columns.lines,
        limits,
        severity=told.severity,
        what=told.what + example,
        remedy=told.remedy,
    )


def unread_prompt(data: Data, limits: DataLimits) -> CheckResult:
    """A column that looks like the prompt, or belongs to it, and is left out.

    PB350 prompt not read: a column that looks like a prompt, or a part of one, is not read.

    Means: The rows have a column such as `user_prompt`, `Question`, `messages`, `system`, `history`, `images`
    or `initial_reason_steps` that the reader did not take as (part of) the prompt, because a prompt stands
    beside it, the row has another form, or its name is another; or they have no prompt, and a column of any
    name holds a question. Images, video and sound are never read.
    Why: The pairs are then measured without what was asked, or without the system text that a trainer
    which knows the column would give.
    Do: Name it: `--fields prompt=COLUMN`, `--fields system=COLUMN`, `--fields input=COLUMN`; write earlier
    turns (`history`) as messages of the prompt; or drop it.
    Source: LLaMA-Factory issue 1913 and ms-swift issue 4335 report such columns lost in silence.
    """
    return _misread("unread_prompt", data, limits, f" ({', '.join(data.unread)})")


def rendered_prompts(data: Data, limits: DataLimits) -> CheckResult:
    """Prompts that a chat template has rendered already.

    PB351 rendered prompts: prompts are rendered by a chat template beforehand.

    Means: Text prompts hold the turn markers of a chat template (or, with a tokenizer at hand, its special
    tokens). They are taken raw: no template is put around them again.
    Why: Markers of another model than the one that is trained are plain text to it; a template around a
    rendered prompt nests one dialogue in another.
    Do: Give the prompt as chat messages, so that each model's own template is used.
    Source: TRL issue 2054.
    """
    rendered = data.columns.has(Flag.RENDERED)
    if data.tokens is not None:
        rendered = rendered | data.tokens.flagged["rendered"]
    return counted_check(
        "rendered_prompts",
        np.asarray(rendered),
        data.columns.lines,
        limits,
        severity="warning",
        what="have a prompt that is rendered already and is taken raw",
        remedy="Give chat messages, so that the model's own template is used.",
    )


def user_turns(data: Data, limits: DataLimits) -> CheckResult:
    """Users' turns among what is scored and trained.

    PB352 user turns inside: a response holds turns of the user.

    Means: The sides differ before their last turn, or a text response holds a user's turn marker, so turns of
    the user are a part of the response.
    Why: TRL's rule trains on all that follows the common beginning: the model learns the user's words too.
    Do: Cut each dialogue at the first turn in which the sides differ, or make a pair of each turn.
    Source: LLaMA-Factory issue 3364 and TRL issue 1115.
    """
    return _misread("user_turns", data, limits)


def template_marks(data: Data, limits: DataLimits) -> CheckResult:
    """Remains of a chat template in the responses.

    PB338 template marks inside: a response holds what a chat template writes around an answer.

    Means: A side holds `[/INST]`, `<|im_end|>`, `<|eot_id|>`, `</s>` at its end or another mark of a turn,
    and its prompt is not rendered. Marks of the user's turns are PB352; those that are tokens of the model at
    hand are PB345 as well.
    Why: The trainer's template writes its own marks around them. The model learns to write the typed ones
    too, and where one side alone has them they are a form that tells the sides apart.
    Do: Take them out of the sides.
    Source: TRL issue 4481 shows what a mark written twice trains on.
    """
    return _misread("template_marks", data, limits)


def mixed_forms(data: Data, limits: DataLimits) -> CheckResult:
    """Text rows and chat rows in one file.

    PB353 text and chat mixed: some rows are texts, others chat messages.

    Means: Rows of both forms stand in the file. Each is rendered as what it is: chat rows by the chat
    template, text rows as `--template` says.
    Why: TRL decides by the first row for all of them and fails, or renders the others wrongly; and the same
    text in the two forms gives different token sequences.
    Do: Write all rows in one form.
    Source: TRL issue 2020.
    """
    chat = data.columns.has(Flag.CHAT)
    few = chat if 2 * int(chat.sum()) <= data.n else ~chat
    return counted_check(
        "mixed_forms",
        np.asarray(few),
        data.columns.lines,
        limits,
        severity="warning",
        what=f"are {'chat messages' if few is chat else 'texts'}, and the others are not",
        remedy="Write all rows as texts, or all as chat messages.",
    )


def unseen_marks(data: Data, limits: DataLimits) -> CheckResult:
    """Zero-width and direction marks that give a side away.

    PB354 unseen marks: zero-width or direction marks stand on one side only.

    Means: One side holds zero-width characters or marks of writing direction, the other none. Joiners inside
    words of other scripts and inside emoji do not count.
    Why: Nobody sees them, a model does: they are rare tokens that tell the sides apart by themselves.
    Do: Remove them from the texts.
    Source: the Unicode standard, general category Cf; Boucher et al. 2022, "Bad characters".
    """
    return counted_check(
        "unseen_marks",
        data.columns.has(Flag.UNSEEN),
        data.columns.lines,
        limits,
        severity="warning",
        what="have zero-width or direction marks on one side only",
        remedy="Remove the marks.",
    )


def swapped_scores(data: Data, limits: DataLimits) -> CheckResult:
    """Scores that contradict the labels.

    PB355 scores contradict: by its own scores the rejected side is the better one.

    Means: A score, rating, reward or grade of the chosen side (`score_chosen`, `chosen-rating`, `"scores":
    {"chosen": 1, "rejected": 5}`) is below that of the rejected side, its rank (1 is the best) is behind, or
    a column `margin` or `score_diff` is negative; or a column such as `preference`, `winner` or `better` says
    `rejected` (`label`, where it says `chosen` or `rejected` in all rows). Of sides that were mapped by
    `--fields` from two responses (`response_0`, `response_1`), a column such as `better_response_id` or
    `overall_preference` may say so, too. Scores of several aspects that contradict one another do not count;
    of toxicity, harm, error, perplexity, loss and the like less is better; letter grades go from A to F.
    Why: Labels and scores usually come from the same judge, so one of them was probably mixed up on the way.
    Do: Find out which of them is right; swap the sides or drop the pairs. Where the first rank is the worst,
    or less of a score is better and its name does not say so, rename the column.
    Source: by definition; the columns are those of UltraFeedback's binarized sets.
    """
    hits = data.columns.has(Flag.SCORES_SWAPPED)
    if {value.strip().casefold() for value in data.categories.get(LABEL, ())} == set(OURS):
        hits = hits | data.columns.has(Flag.LABEL_REJECTED)
    return counted_check(
        "swapped_scores",
        hits,
        data.columns.lines,
        limits,
        severity="warning",
        what="have a score, a rank or a label by which the rejected side is the better one",
        remedy="Swap the sides, or drop the pairs.",
    )


def tied_scores(data: Data, limits: DataLimits) -> CheckResult:
    """Scores that prefer neither side.

    PB336 tied scores: by its own scores neither side of a pair is the better one.

    Means: All scores and ranks of the two sides are equal, or a column such as `preference` or `winner` says
    that it is a tie. A margin of 0 is not counted, since it may stand for one that was never measured.
    Why: Which side is called chosen was then decided by something else, mostly by the order of the rows. A
    tie teaches no preference, and training takes its label for one.
    Do: Drop the pairs, or score them by a judge that can tell the sides apart.
    Source: by definition; starting value of the limit.
    """
    return counted_check(
        "tied_scores",
        data.columns.has(Flag.TIED),
        data.columns.lines,
        limits,
        severity="warning",
        what="have sides of equal scores, so that nothing says which of them is the better one",
        remedy="Drop the pairs, or score them so that the sides differ.",
    )


def written_out(data: Data, limits: DataLimits) -> CheckResult:
    """Messages that became text.

    PB356 messages as text: a side or the prompt is a list of messages written out as text.

    Means: A side begins like a list of messages but is text that is no JSON, such as Python's spelling; or
    the prompt does, beside sides that are plain texts; or both sides are one message in that form, or prompt
    and sides are lists of texts as JSON (the arena's). Lists of messages as JSON text in both sides are read
    as messages and are no finding.
    Why: Roles and braces are then scored and trained as words of the answer.
    Do: Write lists of messages as JSON, by `json.dumps`, and a list of texts as messages.
    Source: diatool-dpo issue 2.
    """
    return _misread("written_out", data, limits)


def missing_prompts(data: Data, limits: DataLimits) -> CheckResult:
    """Rows without a prompt among rows with one.

    PB357 prompt missing: some pairs have a prompt and others none.

    Means: The prompt is empty, null or not there in some rows and is there in others.
    Why: A response without what it answers is another task. Both kinds are scored and trained as one set, and
    an export that lost cells looks like this.
    Do: Fill the prompts in, or take these rows out.
    Source: by definition.
    """
    without = data.columns.has(Flag.NO_PROMPT)
    return counted_check(
        "missing_prompts",
        without & (not without.all()),
        data.columns.lines,
        limits,
        severity="warning",
        what="have no prompt, and the others have one",
        remedy="Fill the prompts in, or take these rows out.",
    )


def shared_beginnings(data: Data, limits: DataLimits) -> CheckResult:
    """Texts without a prompt that begin with the same question.

    PB359 prompt inside: what both sides of a pair without a prompt begin with looks like its prompt.

    Means: There is no prompt, and both texts begin with the same {SHARED_WORDS} words or more, up to a line
    break, a question mark, a word with a colon (`A:`) or the end of a mark (`<bot>`), none of them a turn
    that the reader knows.
    Why: What both begin with is then scored and trained as a part of each response. Its tokens are alike on
    both sides, so every mean per token is drawn to 0, and with it the gap and the verdict.
    Do: Give it as the prompt, or the whole as chat messages. Dialogues with marks such as `Human:`, `USER:`
    or `<|user|>` are cut at their last shared turn without that.
    Source: TRL's `extract_prompt` cuts such texts where their characters first differ.
    """
    return _misread("shared_beginnings", data, limits)


def missing_values(data: Data, limits: DataLimits) -> CheckResult:
    """Sides that name a missing value.

    PB358 missing value as text: a side is `None`, `nan`, `null` or the like.

    Means: The whole of a side is the name by which Python, pandas or a database prints a missing value.
    Why: Such a side was lost on the way, and its name is scored and trained as an answer.
    Do: Take these rows out, or read the answers from their source again.
    Source: the spellings of Python, NumPy, pandas, JSON and SQL.
    """
    return counted_check(
        "missing_values",
        data.columns.has(Flag.NO_VALUE),
        data.columns.lines,
        limits,
        severity="warning",
        what="have a side that is the name of a missing value (None, nan, null)",
        remedy="Take these rows out, or read the answers from their source again.",
    )


CHAT_CHECKS = (
    missing_prompts,
    missing_values,
    shared_beginnings,
    unread_prompt,
    rendered_prompts,
    user_turns,
    template_marks,
    mixed_forms,
    unseen_marks,
    swapped_scores,
    tied_scores,
    written_out,
)
