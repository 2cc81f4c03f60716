"""The saved answers of `probe label` to one file, for a judgement that asks nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from ...pairs.audit import AnswerLog, all_logs, stratified_sample
from ...pairs.identity import content_digest
from ...pairs.record import Pair
from ...records import Measured
from .audit import Answers
from .checks import judge_labels


def answers_to(wanted: Collection[str], logs: Mapping[str, AnswerLog]) -> Answers:
    """Each labeller's answers to the pairs of these digests; labellers without any are left out."""
    given = {
        name: {key: answer for key, answer in log.answers.items() if key in wanted}
        for name, log in logs.items()
    }
    return {name: answers for name, answers in given.items() if answers}


def measure_labelled(
    path: Path,
    pairs: Callable[[], Iterable[Pair]],
    *,
    limit: float,
    alpha: float,
    seed: int = 0,
    root: Path = Path(".probe/labels"),
) -> Measured:
    """Agreement with the file on the largest sample that a labeller has answered whole; empty without one.

    `pairs` reads the file anew. Unfinished samples are left out: a look on the way would spoil the level of
    the test. Raises `ProbeError` on a log that holds no answers.
    """
    logs = {name: log for name, log in all_logs(path, root).items() if log.answers}
    # A log may hold answers to other texts: of rows that were corrected since, of a file of the same name.
    read = list(pairs()) if logs else []
    here = {content_digest(pair) for pair in read}
    sizes = {n for log in logs.values() for n in log.asked or (len(here & log.answers.keys()),)} - {0}
    for n in sorted(sizes, reverse=True):
        sample = stratified_sample(read, n, seed).pairs
        wanted = {content_digest(pair) for pair in sample}
        if wanted and any(wanted <= log.answers.keys() for log in logs.values()):
            measured, _ = judge_labels(sample, answers_to(wanted, logs), limit=limit, alpha=alpha)
            return measured
    if logs:
        print(f"label: the answers to {path} are no whole sample; `probe label` goes on.", file=sys.stderr)
    return Measured()
