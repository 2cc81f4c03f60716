"""What happened when pairs became tokens, as findings: the same for a file's check and for a scored run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pairs.misread import AMISS, unread_prompt_names
from ..pairs.record import Pair
from ..records import Finding, Severity

if TYPE_CHECKING:
    from .encode import Encoder
    from .session import Session
    from .source import Survey

LONGEST_EXAMPLE = 60  # characters of an example's words


@dataclass(frozen=True, slots=True)
class FlagWording:
    """How a flag of the encoder is told: its code, how grave it is, what the pairs do, what helps."""

    code: str
    severity: Severity
    what: str
    remedy: str


FLAG_WORDINGS: Mapping[str, FlagWording] = {
    "prompt_fills": FlagWording(
        "PB344", "error", "have a prompt that fills --max-length", "Raise --max-length or cut the prompts."
    ),
    "typed_special": FlagWording(
        "PB345", "warning", "have a special token of this tokenizer typed inside a side",
        "Take the markers out of the sides; the template or the trainer writes its own.",
    ),
    "prompt_dropped": FlagWording(
        "PB337", "warning", "lose words or tools of the prompt to the chat template",
        "Use a template that writes them, or put them into the user's turn.",
    ),
    "template_dropped": FlagWording(
        "PB346", "warning", "lose words of a side to the chat template",
        "Use a template that keeps them, or take them out of the pairs.",
    ),
    "template_added": FlagWording(
        "PB347", "warning", "get words of the chat template's own at the start of a response",
        "Give chat_template_kwargs that leave them out, or mean to train them.",
    ),
    "template_changed": FlagWording(
        "PB348", "info", "have a side that the chat template trims or changes",
        "Write the sides as the template leaves them.",
    ),
    "same_under_template": FlagWording(
        "PB349", "error", "have different sides that the chat template makes the same",
        "Drop them, or use a template that keeps the difference.",
    ),
}  # fmt: skip


def encoded_findings(
    lines: Mapping[str, Sequence[int]], n: int, examples: Mapping[str, str]
) -> tuple[Finding, ...]:
    """A finding for each flag that pairs carry: `lines` by flag, of `n` pairs; `examples` say what and where.

    PB344 prompt fills the length: the prompt leaves no room for a response.

    Means: Prompt and template alone are as long as `--max-length` (or the model's own limit).
    Why: Nothing of either side is left to score or train; such pairs are left out, and a trainer that keeps
    them trains on nothing: their loss stays at 0.6931.
    Do: Raise `--max-length`, cut the prompts, or drop the pairs.
    Source: TRL issue 3339.

    PB345 typed special token: a side holds a special token of this tokenizer, typed out.

    Means: The text of a response has an end or turn marker in it, which becomes that very token.
    Why: A trainer sees a second end of turn, or a turn of the user, in the middle of a response; and the
    model learns to write it.
    Do: Take the markers out of the sides.
    Source: the tokenizer's own list of special tokens.

    PB337 prompt words dropped: the chat template leaves out words or tools of the prompt.

    Means: A system text, a message of an earlier turn, or the name of a tool that the row offers or that was
    called does not stand in the prompt as the template renders it alone, or before an answer (Mistral's
    writes the system text where the user has the last word). What a trainer trains on lacks it too. The
    reasoning of earlier turns does not count: templates leave it out on purpose.
    Why: Answers that follow the system text, or that call a tool, are then measured and trained without what
    they follow: the model learns to write them unasked.
    Do: Use a template that writes them (many base models come with one that knows no system turn or no
    tools), or put the words into the user's turn.
    Source: the rendered prompt.

    PB346 words dropped: the chat template leaves out words of a side.

    Means: Some words of a message do not stand in what the template renders, for instance a reasoning block
    of an earlier turn. What a trainer trains on lacks them too.
    Why: The preference may lie in just those words; scores and training then do not see it.
    Do: Use a template that keeps them, or take them out of the pairs.
    Source: TRL issue 6361, ms-swift issue 6763.

    PB347 words added: the chat template writes words of its own at the start of a response.

    Means: Before the first word of the response the template writes text that the file does not have, such
    as an empty reasoning block, and it is scored and trained as a part of the response.
    Why: Both sides share it, so it dilutes means per token, and it is learned.
    Do: Switch it off by `chat_template_kwargs` where the template allows it, or keep it if the model is to
    learn it.
    Source: alignment-handbook issue 171.

    PB348 words changed: the chat template trims or changes the words of a side.

    Means: The white space of a side, or its letters, differ between the rendered text and the file.
    Why: It is usually harmless; a preference that lies in the white space is lost.
    Do: Write the sides as the template leaves them.
    Source: the templates that transformers ships trim messages.

    PB349 same under the template: different sides become the same tokens under the chat template.

    Means: All that tells the sides apart is dropped or trimmed by the template.
    Why: As with identical sides the gradient is zero, and no look at the file shows it.
    Do: Use a template that keeps the difference, or drop the pairs.
    Source: by definition; TRL trains on them in silence.
    """
    return tuple(
        encoded_finding(flag, lines[flag], n, examples.get(flag, ""))
        for flag in FLAG_WORDINGS
        if lines.get(flag)
    )


def met_findings(session: Session) -> tuple[Finding, ...]:
    """What the template did to the pairs that this session encoded, and whether its adapter is another's."""
    from .saved_adapter import other_base

    lines = session.scorer.met.lines
    told = {flag: found[0] for flag, found in lines.items() if flag in FLAG_WORDINGS}
    known = {pair.line: pair for pair in (*session.survey.first, *session.survey.sample)}
    if missing := set(told.values()).difference(known):
        known |= {pair.line: pair for pair in session.source.pairs() if pair.line in missing}
    examples = {flag: example_of(flag, session.encoder, known[line]) for flag, line in told.items()}
    other = other_base(session.loaded.facts)
    encoded = encoded_findings(lines, session.scorer.met.n, examples)
    return (*filter(None, [other]), *misread_findings(session.survey), *encoded)


def misread_findings(survey: Survey) -> tuple[Finding, ...]:
    """Rows that are read as something else than was meant, among a uniform sample of the file's.

    `probe data` counts them in the whole file; whoever scores them says so too, since it scores other tokens.
    """
    from ..stats.statistics import share

    found = []
    for kind, told in AMISS.items():
        if lines := tuple(pair.line for pair in survey.sample if told.found(pair)):
            k, n = len(lines), len(survey.sample)
            drawn = f"{k:,} of {n:,} pairs{' looked at' * (n < survey.n)}"
            columns = f" ({', '.join(unread_prompt_names(survey.sample))})" * (kind == "unread_prompt")
            said = f"{drawn} {told.what}{columns}"
            estimate = share(k, n, name=kind)
            found.append(Finding(told.code, told.severity, said, told.remedy, lines=lines, estimate=estimate))
    return tuple(found)


def once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings of several probes on one file: equal ones once, what the encoder met once, of most pairs."""
    every: list[Finding] = []
    for finding in findings:
        if finding not in every:
            every.append(finding)
    most: dict[str, Finding] = {}
    for finding in every:
        if finding.code in _CODES and finding.estimate is not None:
            best = most.setdefault(finding.code, finding)
            if best.estimate is not None and finding.estimate.n > best.estimate.n:
                most[finding.code] = finding
    return tuple(f for f in every if most.get(f.code, f) is f)


_CODES = frozenset(told.code for told in FLAG_WORDINGS.values())


def encoded_finding(flag: str, lines: Sequence[int], n: int, example: str) -> Finding:
    """The finding for one flag; see `encoded_findings`."""
    from ..stats.statistics import share  # scipy, which `probe --help` must not load

    told, k = FLAG_WORDINGS[flag], len(lines)
    said = f"{k:,} of {n:,} pairs {told.what}{f' ({example})' if example else ''}"
    return Finding(
        told.code, told.severity, said, told.remedy, lines=tuple(lines), estimate=share(k, n, name=flag)
    )


def example_of(flag: str, encoder: Encoder, pair: Pair) -> str:
    """What the template did in one pair: the line, how many tokens, and the words; "" for other flags."""
    from .changes import changed

    if not flag.startswith(("template_", "prompt_dropped")):
        return ""
    found = [(side, c) for side, cs in changed(encoder, pair).items() for c in cs if c.flag == flag]
    if not found:
        return ""
    side, change = found[0]
    words = " ".join(change.words.split())
    cut = words if len(words) <= LONGEST_EXAMPLE else f"{words[: LONGEST_EXAMPLE - 1]}…"
    tokens = len(encoder.tokenise([change.words])[0][0])
    said = f'"{cut}"' if cut else "white space"
    return f"line {pair.line}, {side}: {tokens} token{'s' * (tokens != 1)}, {said}"
