"""One audit from the options to a `Run`: draw the sample, ask what is open, judge the answers."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import current
from ..errors import Exit, ProbeError
from ..pairs.audit import AnswerLog, AuditSample, all_logs, log_path, questions, stratified_sample
from ..pairs.fields import parse_fields
from ..pairs.formats import fingerprint
from ..pairs.identity import content_digest, handed_options
from ..pairs.read import read_pairs
from ..probes.label.audit import Answers, audit, audit_row, reasoning
from ..probes.label.checks import judge_labels
from ..probes.label.file import answers_to
from ..records import MEASURED, Condition, Run, Status, Verdict
from ..runs import environment, now
from ..shell import file_word
from ..stats.power import share_above_trials


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """The options of `probe label` as they were given."""

    pairs: Path
    name: str
    n: int | None
    agreement: float
    expect: float
    fields: str | None
    skip_bad: bool
    alpha: float
    seed: int


@dataclass(frozen=True, slots=True)
class Audit:
    """The sample of a file, and the log of the labeller who is asked."""

    options: LabelOptions
    sample: AuditSample
    log: AnswerLog
    facts: dict[str, Any]  # of the file, for `inputs`

    @classmethod
    def begin(cls, options: LabelOptions) -> Audit:
        """Draw the sample and open the log. Raises `ProbeError` on a bad option, file or log."""
        log = AnswerLog.open(log_path(options.pairs, options.name))
        needed = options.n or share_above_trials(options.expect, options.agreement, alpha=options.alpha)
        if needed is None:
            raise ProbeError(
                f"--expect {options.expect:g} is not above --agreement {options.agreement:g} by enough to be "
                "shown. Expect more, or give --n."
            )
        reading = read_pairs(options.pairs, fields=parse_fields(options.fields), skip_bad=options.skip_bad)
        sample = stratified_sample(reading, needed, options.seed)
        facts = {
            "path": str(options.pairs),
            "sha256": fingerprint(options.pairs),
            "n": reading.n,
            "dropped": len(reading.bad),
        }
        return cls(options, sample, log, facts)

    def ask(self) -> bool:
        """Ask what is open, on the terminal; True when nothing is left. Says why so many pairs first."""
        from .label_screen import ask_all

        o, n = self.options, len(self.sample.pairs)
        _say(reasoning(n, self.sample.total, o.agreement, o.alpha, o.expect))
        asked = questions(self.sample.pairs, o.name, o.seed)
        ask_all(asked, self.log, o.seed)
        left = sum(question.digest not in self.log.answers for question in asked)
        if left:
            _say(
                f"{n - left} of {n} answers are saved in {self.log.path}; the same command goes on. "
                "--report shows what there is."
            )
        return not left

    def answers(self) -> Answers:
        """Every labeller's answers to the sampled pairs; those to other texts are left out."""
        wanted = {content_digest(pair) for pair in self.sample.pairs}
        logs = all_logs(self.options.pairs) | {self.options.name: self.log}
        return answers_to(wanted, logs)

    def run(self) -> Run:
        """The result, judged once some labeller has answered the whole sample.

        A look on the way decides nothing, or the level of the test would not hold. Raises `ProbeError` when
        there are no answers at all.
        """
        answers, o = self.answers(), self.options
        if not answers:
            command = f"probe label {file_word(o.pairs)}"
            raise ProbeError(f"{o.pairs}: nobody has labelled it yet. Run `{command}`.")
        measured, condition = judge_labels(self.sample.pairs, answers, limit=o.agreement, alpha=o.alpha)
        complete = any(len(given) == len(self.sample.pairs) for given in answers.values())
        return Run(
            command="label",
            created=now(),
            verdict=_verdict(condition) if complete else MEASURED,
            estimates=measured.estimates,
            findings=measured.findings,
            inputs={"pairs": self.facts, "labellers": sorted(answers)},
            config=current(),
            environment=environment(),
            details=dict(measured.details),
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """The audited pairs as the file has them, each with its `label` and the labellers' votes.

        What a pair hands to the chat template beside its texts is a part of it, and kept.
        """
        for audited in audit(self.sample.pairs, self.answers()):
            if audited.label is not None:
                pair = audited.pair
                texts = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
                yield {**audit_row(audited), **texts, **handed_options(pair.meta)}


def _verdict(condition: Condition) -> Verdict:
    status: Status = condition.result if condition.result in ("pass", "fail") else "inconclusive"
    return Verdict(status, Exit.OK if status == "pass" else Exit.FAILED, (condition,))


def _say(text: str) -> None:
    print(textwrap.fill(text, shutil.get_terminal_size((80, 24)).columns), file=sys.stderr)
