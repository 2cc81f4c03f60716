"""Unpaired answers: are the labels sound, can they be told without the prompt, what does the model prefer?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import config
from ...files import sha256_file
from ...pairs.record import text_of
from ...pairs.unpaired import UnpairedAnswer, pairs_in, read_unpaired
from ...records import Estimate, Finding, Run, Severity
from ...runs import environment, now
from ...stats.two_groups import group_difference

if TYPE_CHECKING:
    from ...scoring.session import ModelOptions

FOLDS = 5
LEAST = 20  # answers of either label below which nothing is said of the surface
TRIVIAL = 0.90  # as for pairs: above it a method saturates (docs/validity.md)
CONFLICTS = 0.05  # share of answers with both labels above which the labels teach little


@dataclass(frozen=True, slots=True)
class UnpairedOptions:
    """`model` False: the answers are read and checked, and no model is loaded."""

    model: bool = True
    alpha: float = 0.05
    seed: int = 0


def measure_unpaired(path: Path, how: ModelOptions, options: UnpairedOptions) -> Run:
    """The run of `probe unpaired`, not judged. Raises `ProbeError` for a file that holds no such data."""
    created, answers = now(), read_unpaired(path)
    surface = surface_of(answers, options)
    inputs: dict[str, Any] = {
        "pairs": {"path": str(path), "sha256": sha256_file(path), "n": len(answers), "dropped": 0}
    }
    estimates = [surface]
    if options.model:
        from .model import read_by_model

        found, facts = read_by_model(answers, how, options)
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


def surface_of(answers: Sequence[UnpairedAnswer], options: UnpairedOptions) -> Estimate:
    """How well wanted and unwanted answers are told apart without their prompts: balanced accuracy.

    Logistic regression on word 1- and 2-grams and the length, in folds that share no prompt.
    """
    texts = [text_of(answer.completion) for answer in answers]
    return told_apart(
        "surface_accuracy",
        answers,
        lambda wanted, keys: _by_words(texts, wanted, keys, options.seed),
        options,
    )


def told_apart(
    name: str, answers: Sequence[UnpairedAnswer], hits_of: Callable[[Any, Any], Any], options: UnpairedOptions
) -> Estimate:
    """Balanced accuracy of telling the labels, from whether each answer's label was told out of fold.

    The interval is that of the two recalls' mean over prompts, given the fitted classifiers; no test is made.
    """
    units = "share"
    wanted = np.array([a.wanted for a in answers])
    keys = np.array([a.key for a in answers])
    if min(wanted.sum(), (~wanted).sum()) < LEAST or len(np.unique(keys)) < 2 * FOLDS:
        why = f"not measured: fewer than {LEAST} answers of a label, or {2 * FOLDS} prompts"
        return Estimate(name, None, None, None, len(answers), None, why, units)
    hits = hits_of(wanted, keys)
    # recall₁ − (1 − recall₀) = 2·balanced accuracy − 1, which is a difference of two groups' means.
    called = np.where(wanted, hits, ~hits).astype(float)
    apart = group_difference(called, wanted, list(keys), name=name, units=units, alpha=options.alpha)
    value, low, high = (None if x is None else (x + 1) / 2 for x in (apart.value, apart.low, apart.high))
    method = f"balanced accuracy, {FOLDS}-fold by prompt; {apart.method}"
    if value == 1.0:  # nothing varies; exact for prompts without an error among them (Clopper and Pearson)
        low, high = (options.alpha / 2) ** (1 / len(np.unique(keys))), 1.0
        method = f"balanced accuracy, {FOLDS}-fold by prompt; Clopper-Pearson over prompts, none wrong"
    low, high = (None if x is None else min(max(x, 0.0), 1.0) for x in (low, high))
    return Estimate(name, value, low, high, len(answers), None, method, units)


def folds_of(wanted: Any, keys: Any, seed: int) -> Iterator[tuple[Any, Any]]:
    """Indices to fit and to ask, in folds that share no prompt."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    yield from folds.split(np.zeros(len(wanted)), wanted, keys)


def _by_words(texts: Sequence[str], wanted: Any, keys: Any, seed: int) -> Any:
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    hits = np.zeros(len(texts), dtype=bool)
    lengths = np.log1p([[len(text)] for text in texts])
    for train, test in folds_of(wanted, keys, seed):
        grams = TfidfVectorizer(lowercase=False, token_pattern=r"\S+", ngram_range=(1, 2))
        fitted = grams.fit_transform([texts[i] for i in train])
        scale = lengths[train].std() or 1.0
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(hstack([fitted, csr_matrix(lengths[train] / scale)]), wanted[train])
        seen = hstack([grams.transform([texts[i] for i in test]), csr_matrix(lengths[test] / scale)])
        hits[test] = model.predict(seen) == wanted[test]
    return hits


def findings_of(answers: Sequence[UnpairedAnswer], surface: Estimate) -> tuple[Finding, ...]:
    """What is wrong with the labels, errors first."""
    found = (check_labels(answers), check_conflicts(answers), check_surface(surface))
    return tuple(sorted((f for f in found if f), key=lambda f: f.severity != "error"))


def check_labels(answers: Sequence[UnpairedAnswer]) -> Finding | None:
    """PB360 one label: all answers are wanted, or all are unwanted.

    Means: KTO compares answers with a label of either kind, and the file holds one kind.
    Why: without unwanted answers its loss pushes all answers up, which SFT does with fewer settings; without
    wanted ones it only pushes down, and nothing says where the probability goes.
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
    Source: exact count; over 5% of the answers is an error, as for pairs (PB302).
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


def check_surface(surface: Estimate) -> Finding | None:
    """PB362 labels show on the surface: wanted and unwanted answers are told apart without the prompt.

    Means: a linear classifier of words and length, fitted on other prompts, is right in over 90% (the lower
    limit of the interval).
    Why: training then teaches the style that separates the two sets, which is learnt within some steps.
    Do: collect unwanted answers in the style of the wanted ones, e.g. from the same model.
    Source: the limit is that of pairs (PB201, docs/validity.md); for unpaired data it was not validated.
    """
    if surface.low is None or surface.low <= TRIVIAL:
        return None
    text = f"the labels show without the prompt: balanced accuracy {surface.value:.0%}"
    return Finding(
        "PB362", "error", text, "Collect answers of both labels from one source.", estimate=surface
    )
