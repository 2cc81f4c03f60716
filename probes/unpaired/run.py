"""Unpaired answers: are the labels sound, can they be told without the prompt, what does the model prefer?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ... import config
from ...pairs.record import text_of
from ...pairs.unpaired import UnpairedAnswer, pairs_in, read_unpaired
from ...records import Estimate, Finding, Run, Severity
from ...runs import environment, now
from ...shared_limits import TRIVIAL
from .told import UnpairedOptions, surface_of

if TYPE_CHECKING:
    from ...scoring.model import LoadedModel
    from ...scoring.session import ModelOptions
    from ...scoring.source import Source

CONFLICTS = 0.05  # share of answers with both labels above which the labels teach little


def measure_unpaired(
    source: Source, how: ModelOptions, options: UnpairedOptions, loaded: LoadedModel | None = None
) -> Run:
    """The run of `probe unpaired`, not judged; `loaded` is a model at hand.

    Raises `ProbeError` for a file that holds no such data.
    """
    created, read = now(), read_unpaired(source.path, source.fields, skip_bad=source.skip_bad)
    answers = read.rows
    surface = surface_of(answers, options)
    inputs: dict[str, Any] = {"pairs": read.facts()}
    estimates = [surface]
    if options.model:
        from .model import read_by_model

        found, facts = read_by_model(answers, how, options, loaded)
        estimates += found
        inputs["model"] = facts
    counts = {
        "wanted": sum(a.wanted for a in answers),
        "unwanted": sum(not a.wanted for a in answers),
        "pairs": sum(1 for _ in pairs_in(answers)),
    }
    return Run(
        command="unpaired",
        created=created,
        estimates=tuple(estimates),
        findings=findings_of(answers, surface),
        inputs=inputs,
        config=config.current(),
        environment=environment(),
        details={"unpaired": counts},
    )


def findings_of(answers: Sequence[UnpairedAnswer], surface: Estimate) -> tuple[Finding, ...]:
    """What is wrong with the labels, errors first."""
    found = (check_labels(answers), check_conflicts(answers), check_labels_show(surface))
    return tuple(sorted((f for f in found if f), key=lambda f: f.severity != "error"))


def check_labels(answers: Sequence[UnpairedAnswer]) -> Finding | None:
    """PB360 one label: all answers are wanted, or all are unwanted.

    Means: KTO compares answers with a label of either kind, and the file holds one kind.
    Why: without unwanted answers the loss raises the probability of all answers, which SFT does with fewer
    settings; without wanted ones it only lowers it, and nothing determines which text gains the probability.
    Do: train the wanted answers by SFT, or collect answers with the other label.
    Source: Ethayarajh et al. 2024, "KTO", eq. 8.
    """
    wanted = sum(answer.wanted for answer in answers)
    if 0 < wanted < len(answers):
        return None
    kind = "wanted" if wanted else "unwanted"
    severity: Severity = "warning" if wanted else "error"
    remedy = "Train them by SFT." if wanted else "Collect wanted answers too."
    return Finding("PB360", severity, f"all {len(answers)} answers are {kind}", remedy)


def check_conflicts(answers: Sequence[UnpairedAnswer]) -> Finding | None:
    """PB361 contradicted labels: one answer to one prompt is wanted in a row and unwanted in another.

    Means: prompt and completion are equal, character by character, and the labels differ.
    Why: the two rows cancel in every loss, and where there are many the raters did not agree.
    Do: decide on one label, or drop both rows.
    Source: exact count; over 5% of the answers is an error.
    """
    by_text: dict[tuple[str, str], list[UnpairedAnswer]] = defaultdict(list)
    for answer in answers:
        by_text[answer.key, text_of(answer.completion)].append(answer)
    split = [same for same in by_text.values() if len({a.wanted for a in same}) == 2]
    lines = tuple(sorted(a.line for same in split for a in same))
    if not lines:
        return None
    severity: Severity = "error" if len(lines) / len(answers) > CONFLICTS else "warning"
    text = f"{len(lines)} of {len(answers)} answers have both labels"
    return Finding("PB361", severity, text, "Decide on one label for each, or drop them.", lines=lines)


def check_labels_show(surface: Estimate) -> Finding | None:
    """PB362 labels show on the surface: wanted and unwanted answers are told apart without the prompt.

    Means: a linear classifier of words and length, fitted on other prompts, is right in over {TRIVIAL:.0%}
    (the lower limit of the interval).
    Why: training then teaches the style that separates the two sets, which is learnt within some steps.
    Do: collect unwanted answers in the style of the wanted ones, e.g. from the same model.
    Source: the limit is that of pairs (PB202, docs/validity-appendix.md); for unpaired data it was not
    validated.
    """
    if surface.low is None or surface.low <= TRIVIAL:
        return None
    text = f"the labels can be told without the prompt, with a balanced accuracy of {surface.value:.0%}"
    return Finding(
        "PB362", "error", text, "Collect answers of both labels from one source.", estimate=surface
    )
