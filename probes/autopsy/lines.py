"""Lines of "key: value", "key=value" and "Key value": mlx-lm, torchtune, DeepSpeed-Chat, own loops."""

from __future__ import annotations

import re
from typing import Any

from ...records import JsonRow
from .names import MEASUREMENT_NAME, canonical
from .numerals import DOTTED_COUNT, WITH_COMMA, read_alike
from .rows import WRITTEN_COUNT, as_number, unparted, whole
from .wrapped import unwrapped

# Numbers that are not finite as C of Windows prints them come first.
NUMBER = (
    rf"[-+]?(?:\d\.#(?:INF|IND|[QS]NAN)\d*|nan\(\w*\)|{WITH_COMMA}|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan"
    r"|inf(?:inity)?)"
)
NUMBERS = re.compile(rf"(?<![\w.+-]){NUMBER}(?=$|[\s,;|)\]}}%]|[.:]\s|[.:]$|[a-z]+\b)", re.IGNORECASE)
# The words before a number, back to the last separator: nothing of a name is searched for twice.
WORDS_BEFORE = re.compile(r"([A-Za-z_][\w./() -]{0,60}?)\s*[:=]?\s*[\[(]?$")
STEP_COUNT = rf"(?:{DOTTED_COUNT}(?!\.?\d)|{WRITTEN_COUNT})"
STEP_FIELD = re.compile(
    rf"\b(?:global[_ ]?)?(?:step|iter|iteration|update|batch)s?\b\s*[:=#\[( ]*\s*({STEP_COUNT})"
    rf"(?![\d.]*%)(?:\s*/\s*({STEP_COUNT}))?",
    re.IGNORECASE,
)
EPOCH_AND_STEP = re.compile(
    rf"\bepoch\b\W{{0,3}}(\d+)(?:\s*/\s*(\d+))?\W{{1,4}}({WRITTEN_COUNT})\s*/\s*({WRITTEN_COUNT})\s*[\])]",
    re.IGNORECASE,
)
EPOCH = re.compile(r"\bepoch\b\s*[:=#\[( ]*\s*(\d+(?:[.,]\d+)?)", re.IGNORECASE)
EPOCH_ALONE = re.compile(r"\W*epoch\W{0,3}(\d+)(?:\s*/\s*\d+)?\W*", re.IGNORECASE)
STEP_ALONE = re.compile(
    r"\W*(?:epoch\W{0,3}[\d.]+(?:\s*/\s*\d+)?\W{1,4})?"
    rf"(?:global[_ ]?)?(?:step|iter|iteration|update|batch)s?\W{{0,3}}"
    rf"{WRITTEN_COUNT}(?:\s*/\s*{WRITTEN_COUNT})?\W*",
    re.IGNORECASE,
)
BAR = re.compile(r"(?<![\d/])(\d+)\s*/\s*(\d+)\s*\[\s*\d+:\d")
RANK_FIELD = re.compile(r"\brank\b\s*[:=]?\s*(\d+)", re.IGNORECASE)
# A line about an evaluation as a whole: "validation loss at iteration 80 | lm loss value: 1.2", "[EVAL] …".
HELD_OUT_LINE = re.compile(
    r"\W*(?:validation|evaluation|eval|val|valid)(?:\b[\w ]*\b(?:at|after|of|on)\b|\s*[\]:|])", re.IGNORECASE
)
# Columns that may stand on a line without a measured one.
BY_THEMSELVES = ("learning_rate", "eval_rewards/accuracies")
# Columns beside the measured ones that a rule reads.
FURTHER = re.compile(
    r"(frac_)?reward(_zero)?_std|completions/\w+|critic/(rewards|score)/(max|min)|log_odds_\w+|nll_loss"
    r"|response_length/\w+|(actor/)?entropy(_loss)?"
)
# verl's lines have 3,000 characters; far longer ones are dumps of something else.
LONGEST_LINE = 20_000
HOLDS_A_METRIC = re.compile(r"(?:loss|reward|rewards/\w+|score/mean)\s*[:=]\s*[-+]?[\d.]", re.IGNORECASE)
STAMP = re.compile(r"^\W*\d{4}-\d\d-\d\d[ T][\d:.,]+\S*\s*")


def of_key_values(text: str, name: str = "") -> list[JsonRow]:
    """The entries of lines that hold a metric; a line without a step of its own belongs to the one before.

    It does until a metric comes a second time or a heading, `Epoch 2` or `Step 10`, begins another entry.
    """
    found: list[dict[str, Any]] = []
    epoch: str | None = None
    begun = True
    for line in re.split(r"[\r\n]+", unparted(unwrapped(text))):
        entry = _entry(line) if len(line) <= LONGEST_LINE else None
        if heading := EPOCH_ALONE.fullmatch(line):
            epoch, begun = heading.group(1), True
        if not entry and STEP_ALONE.fullmatch(body := STAMP.sub("", line)):
            entry, begun = _place(body), True
        if not entry:
            continue
        if epoch is not None and "step" not in entry:
            entry.setdefault("epoch", epoch)
        if not begun and _goes_on(found[-1], entry):
            found[-1] |= entry
        else:
            found.append(entry)
        begun = False
    return read_alike([e for e in found if any(MEASUREMENT_NAME.search(k) for k in _names(e))])


def overlong_lines(text: str) -> int:
    """How many lines that seem to hold a metric `of_key_values` leaves out for their length."""
    long = (line for line in re.split(r"[\r\n]+", text) if len(line) > LONGEST_LINE)
    return sum(bool(HOLDS_A_METRIC.search(line)) for line in long)


def _goes_on(before: JsonRow, entry: JsonRow) -> bool:
    """Whether a line is one more of the entry before it: of no other place, and with other metrics."""
    places = (name for name in ("step", "epoch") if name in entry)
    placed = all(_same(entry[name], before.get(name)) for name in places)
    return placed and not _names(entry) & _names(before)


def _same(one: Any, other: Any) -> bool:
    number = as_number(one)
    return one == other or (number is not None and number == as_number(other))


def _names(entry: JsonRow) -> set[str]:
    return {canonical(k).name for k in entry} - {"epoch", "step"}


def _entry(line: str) -> dict[str, Any] | None:
    body = STAMP.sub("", line)
    pairs: dict[str, Any] = {}
    at = 0
    for match in NUMBERS.finditer(body):
        words = WORDS_BEFORE.search(re.split(r"[,;|]", body[max(at, match.start() - 80) : match.start()])[-1])
        known = _known(words.group(1)) if words else None
        at = match.end()
        if known and known not in pairs:
            pairs[known] = match.group()
    if not any(MEASUREMENT_NAME.search(n := canonical(k).name) or n in BY_THEMSELVES for k in pairs):
        return None
    if HELD_OUT_LINE.match(body):
        pairs = {k if canonical(k).name.startswith("eval_") else f"eval {k}": v for k, v in pairs.items()}
    rank = RANK_FIELD.search(body)
    if rank and int(rank.group(1)) > 0:
        return None
    return pairs | _place(body)


def _known(name: str) -> str | None:
    """The shortest ending of a run of words that names a metric: `INFO train loss` is `train loss`."""
    words = [
        w
        for w in re.split(r"[\s]+", re.sub(r"\([^()]*\)", "", name).strip(" .-()").removesuffix(" value"))
        if w
    ]
    found = None
    for at in range(len(words) - 1, max(-1, len(words) - 5), -1):
        part = " ".join(words[at:])
        if (
            canonical(part).distance < 9
            or MEASUREMENT_NAME.search(canonical(part).name)
            or FURTHER.fullmatch(part)
        ):
            found = part
    return None if found is None or canonical(found).name in ("step", "epoch") else found


def _place(line: str) -> dict[str, Any]:
    """The step (and the number of steps) and the epoch that a line names."""
    place: dict[str, Any] = {}
    both = EPOCH_AND_STEP.search(line)
    if both:
        per_epoch = whole(both.group(4))
        done = whole(both.group(3)) / max(1, per_epoch)
        return {"epoch": int(both.group(1)) - 1 + done, "step": both.group(3)}
    if epoch := EPOCH.search(line):
        place["epoch"] = epoch.group(1)
    step = STEP_FIELD.search(line) or BAR.search(line)
    if step:
        place["step"] = step.group(1)
        if step.group(2):
            place["max_steps"] = step.group(2)
    return place
