"""The one command to run after a run: a rule per command, over its findings and its decision."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import PurePath

from ..number_format import count
from ..records import Condition, Estimate, Finding, Run
from ..shared_limits import TRIVIAL_CODES
from ..shell import file_argument
from .command_line import GATED, WEIGHTS, command_line, served
from .sentences import mostly_misread
from .view import sides, unaccepted

# Codes of rows that `probe data --fix` leaves out.
FIXABLE = ("PB300", "PB301", "PB302", "PB320", "PB321")  # what `probe data --fix` leaves out
LEAST_TO_JUDGE = (
    6  # pairs: fewer cannot show a preference at all (stats/power.py), and nothing is measured on them
)
UNREADABLE = ("PB300", "PB301", "PB302")  # of these, what is wrong with rows that hold no answer
FORM_CODES = ("PB203", "PB21")  # what one side has and the other lacks
IN_HALF = ("PB001", "PB002", "PB003", "PB009")  # faults of the arithmetic, which float32 mends
WHOLE_CODE = re.compile(r"PB\d{3}")  # a condition may stand for all codes that begin alike
# What no second gate of the same file and model measures either.
UNMEASURABLE = re.compile(r"not measured.*(could not measure|needs the weights|numerics failed)")


def errors_told(findings: Iterable[Finding]) -> str:
    """`12 errors, 9 fixable with --fix`: an error a line of the file; "" where there is none."""
    errors = [(f.code, len(f.lines) or 1) for f in findings if f.severity == "error"]
    n, fixable = sum(k for _, k in errors), sum(k for code, k in errors if code in FIXABLE)
    return f"{count(n, 'error')}, {fixable:,} fixable with --fix" if errors else ""


def next_command(run: Run) -> str | None:
    """The command line to run now, quoted for a shell; None where nothing that `probe` does would help."""
    rule = NEXT_STEPS.get(run.command)
    return rule(run) if rule else None


def _has(run: Run, *prefixes: str, severity: str = "error") -> bool:
    return any(f.severity == severity and f.code.startswith(prefixes) for f in unaccepted(run))


def _line(run: Run, command: str, code: str, *more: str) -> str | None:
    """The command on the run's pairs; in place of one that a server cannot do, what `code` means."""
    needs_weights = command in WEIGHTS and served(run)
    return f"probe explain {code}" if needs_weights else command_line(run, command, *more)


def _mended(run: Run) -> str | None:
    """The command that drops the broken rows into a file beside this one, and once that was done, the gate of
    that file; where most rows are broken, what is wrong with them."""
    facts = run.inputs.get("pairs") or {}
    lost = [f for f in unaccepted(run) if f.severity == "error" and f.code in UNREADABLE]
    rows = int(facts.get("n") or 0) + int(facts.get("dropped") or 0)
    if 2 * len({line for f in lost for line in f.lines}) >= max(rows, 1):
        return f"probe explain {lost[0].code}"
    if written := run.config.get("fix"):
        left = (f.code for f in unaccepted(run) if f.severity == "error" and f.code not in FIXABLE)
        code = next(left, None)
        return f"probe explain {code}" if code else command_line(run, "gate", path=str(written))
    fixed = f"{PurePath(str(facts.get('path'))).stem}.fixed.jsonl"
    return command_line(run, "data", "--fix", file_argument(fixed))


def _bias(run: Run) -> str | None:
    found = mostly_misread(run)
    return f"probe explain {found.code}" if found else command_line(run, "gate")


def _data(run: Run) -> str | None:
    errors = [f.code for f in unaccepted(run) if f.severity == "error"]
    if not errors:
        told = (f.estimate.value for f in run.findings if f.code == "PB327" and f.estimate)
        independent = next(told, None)
        if independent is not None and independent < LEAST_TO_JUDGE:
            return "probe explain PB327"
        if found := mostly_misread(run):
            return f"probe explain {found.code}"
        form = _form(run)
        return _without_form(run, form.code, form.estimate) if form else command_line(run, "gate")
    return _mended(run) if _has(run, *FIXABLE) else f"probe explain {errors[0]}"


def _negatives(run: Run) -> str | None:
    if found := mostly_misread(run):
        return f"probe explain {found.code}"
    form = _form(run)
    if form is not None:
        return _without_form(run, form.code, form.estimate)
    trivial = next(
        (f.code for f in unaccepted(run) if f.severity != "info" and f.code.startswith("PB20")), None
    )
    return _sample(run, trivial) if trivial else command_line(run, "trial")


def _sample(run: Run, code: str) -> str | None:
    """New negatives from the same model, read in the same way, for what `code` found. A file with broken rows
    is mended first, since sampling reads every row."""
    dropped = (run.inputs.get("pairs") or {}).get("dropped")
    return _mended(run) if dropped else _line(run, "sample", code)


def _form(run: Run) -> Finding | None:
    """The first form that one side has: white space before all, since it hides the others' cause."""
    forms = [f for f in unaccepted(run) if f.code.startswith(FORM_CODES) and f.severity == "warning"]
    return min(forms, key=lambda f: f.code != "PB203", default=None)


def _without_form(run: Run, code: str, share: Estimate | None) -> str | None:
    """New negatives where the rejected side has the form; they take nothing out of the chosen one, and white
    space is stripped."""
    if share is not None and share.method.startswith("exact count, space of"):
        return "probe explain PB203"
    on_chosen = share is not None and f" of {sides(run)[0]};" in share.method
    return f"probe explain {code}" if on_chosen else _sample(run, code)


def _gate(run: Run) -> str | None:
    """Train where the gate lets it; else the first thing that would mend what it found."""
    decision = run.decision
    if decision is None:
        return None
    if decision.reasons and decision.reasons[0].code.startswith("PB0"):
        return _after_numerics(run, decision.reasons[0].code)
    codes = tuple(reason.code for reason in decision.reasons)
    if decision.stages:
        train = _line(run, "train", codes[0] if codes else "PB705", "--method", "auto")
        return train if trains(run) else _first_standing(run)
    if labelled := next((code for code in codes if code.startswith("PB31")), None):
        return _labelled(run, labelled)
    if any(code.startswith("PB3") for code in codes):
        return _mended(run) if codes[0] in FIXABLE else f"probe explain {codes[0]}"
    if codes[:1] == ("PB120",):
        return f"probe explain {codes[0]}" if _levers_measured(run) else _line(run, "levers", codes[0])
    if form := next((c for c in failing(run) if c.name == "template_share"), None):
        return _without_form(run, form.code, form.measured)
    named = (*codes, *(c.code for c in failing(run)))
    if trivial := next((code for code in named if code.startswith(TRIVIAL_CODES)), None):
        return _sample(run, trivial)
    missing = [c for c in run.verdict.conditions if c.gates and c.message.startswith("not measured")]
    if missing:
        return _measuring(run, missing)
    if codes[:1] in UNSHOWN and not _levers_measured(run):
        return _line(run, "levers", codes[0])
    return f"probe explain {codes[0]}" if codes else None


def _labelled(run: Run, code: str) -> str | None:
    """A larger sample of labels where one that was answered left it open, else what its result means."""
    found = next((f for f in run.findings if f.code == code), None)
    asked, n = run.details.get("label_sample") or 0, (run.inputs.get("pairs") or {}).get("n") or 0
    more = re.match(r"Label ([\d,]+) more pairs?,", found.remedy) if found else None
    total = int(asked) + int(more[1].replace(",", "")) if more else 0
    larger = asked and asked < total <= n
    return command_line(run, "label", "--n", str(total)) if larger else f"probe explain {code}"


def _after_numerics(run: Run, code: str) -> str | None:
    """The same gate in float32 where that mends the fault, else the rows mended, else what the code means."""
    dtype = (run.inputs.get("model") or {}).get("dtype")
    if code in IN_HALF and dtype not in ("float32", "float64"):
        kept = tuple(name for name in GATED if name != "dtype")
        return command_line(run, "gate", "--dtype", "float32", kept=kept)
    return _mended(run) if _has(run, *FIXABLE) else f"probe explain {code}"


def _measuring(run: Run, missing: Iterable[Condition]) -> str | None:
    """The gate with what was switched off; what it could not measure it would not measure again."""
    kept = [condition for condition in missing if not UNMEASURABLE.match(condition.message)]
    return command_line(run, "gate", kept=GATED) if kept else _explained(run, next(iter(missing)).code)


def _explained(run: Run, code: str) -> str | None:
    """What a condition's code means; of one on several codes (PB0) that of the first error found, else that
    of the decision."""
    found = [f.code for f in run.findings if f.severity == "error" and f.code.startswith(code)]
    decided = [reason.code for reason in run.decision.reasons] if run.decision else []
    whole = code if WHOLE_CODE.fullmatch(code) else next(iter([*found, *decided]), None)
    return f"probe explain {whole}" if whole else None


def why_unmeasured(condition: Condition) -> str:
    """Why a condition has no number, where its probe was run and could not measure; else ""."""
    told = re.match(r"not measured \(\w+: could not measure: (.*)\); ", condition.message)
    return told[1] if told else ""


# A decision that rests on a trial which showed nothing: of its answers or margins, or with no finding beside.
UNSHOWN = (("PB501",), ("PB705",))


def _levers_measured(run: Run) -> bool:
    return any(e.name.startswith("lever") for e in run.estimates)


def _first_standing(run: Run) -> str | None:
    """What to look at first where a method is known and a condition stands in its way."""
    names = run.details.get("unanswered") or ()
    standing = next((c for c in run.verdict.conditions if c.gates and c.name in names), None)
    if standing is None:
        return None
    if standing.message.startswith("not measured"):
        return _measuring(run, [standing])
    if standing.name == "template_share" and standing.result == "fail":
        return _without_form(run, standing.code, standing.measured)
    if standing.result == "fail" and standing.code.startswith(TRIVIAL_CODES):
        return _sample(run, standing.code)
    return _explained(run, standing.code)


def failing(run: Run, result: str = "fail") -> list[Condition]:
    """The conditions that count and came to `result`, what a new negative would mend first."""
    found = [c for c in run.verdict.conditions if c.gates and c.result == result]
    return sorted(found, key=lambda c: not c.code.startswith("PB21"))


def next_told(run: Run) -> str:
    """What the next command is good for, in a clause; "" where there is none."""
    words = shlex.split(run.next or "")
    if words[1:2] == ["gate"] and run.command == "gate":
        broken = run.decision is not None and any(r.code in IN_HALF for r in run.decision.reasons[:1])
        return AGAIN[broken]
    return PURPOSES.get(words[1], "") if len(words) > 1 else ""


# A gate after a gate, without and with other arithmetic.
AGAIN = (
    "the same gate with all its probes: this time some were left out",
    "the same gate with weights that can be trained",
)


PURPOSES = {
    "gate": "judges whether training would teach these pairs, and by which method",
    "trial": "trains a few steps on half of the pairs and measures the other half",
    "train": "trains by that method under a guard, then measures the pairs again",
    "sample": "lets the model itself write the rejected answers, without a template",
    "levers": "tries answers shown first, steering and (--system TEXT) a system prompt",
    "label": "asks people about a sample of the labels, blind",
    "data": "writes a file without the broken rows",
    "explain": "says what the code means and what to do about it",
}


def trains(run: Run) -> bool:
    """Whether `probe train --method auto` would start: the method answers each condition that stands."""
    return run.verdict.exit_code == 0 or not run.details.get("unanswered", ["unknown"])


NEXT_STEPS: dict[str, Callable[[Run], str | None]] = {
    "bias": _bias,
    "data": _data,
    "negatives": _negatives,
    "trial": _bias,
    "gate": _gate,
}
