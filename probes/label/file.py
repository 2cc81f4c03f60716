"""The saved answers of `probe label` to one file, for a judgement that asks nothing itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...pairs.audit import AnswerLog, all_logs, stratified_sample
from ...pairs.identity import content_digest
from ...pairs.record import Pair
from ...records import Measured
from ...shell import file_word
from .audit import Answers
from .checks import judge_labels

SEEDS_TRIED = range(10)  # that an older log, which does not tell its own, is held against


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
    samples = {s for log in logs.values() for s in log.asked or ((len(here & log.answers.keys()), None),)}
    sizes = sorted({n for n, _ in samples} - {0}, reverse=True)
    for n in sizes:
        sample, wanted = _sample(read, n, seed)
        if _whole(wanted, logs):
            measured, _ = judge_labels(sample, answers_to(wanted, logs), limit=limit, alpha=alpha)
            return replace(measured, details={**measured.details, "label_sample": n})
    if logs:
        tried = sorted({own for _, own in samples if own is not None} | set(SEEDS_TRIED) - {seed})
        others = (own for own in tried for n in sizes if _whole(_sample(read, n, own)[1], logs))
        print(f"label: {_why_not_read(path, seed, next(others, None))}", file=sys.stderr)
    return Measured()


def _sample(read: Sequence[Pair], n: int, seed: int) -> tuple[Sequence[Pair], frozenset[str]]:
    """The sample of so many pairs by this seed, and their digests."""
    sample = stratified_sample(read, n, seed).pairs
    return sample, frozenset(content_digest(pair) for pair in sample)


def _whole(wanted: frozenset[str], logs: Mapping[str, AnswerLog]) -> bool:
    return bool(wanted) and any(wanted <= log.answers.keys() for log in logs.values())


def _why_not_read(path: Path, seed: int, other: int | None) -> str:
    """Why no answers were read: of another seed's sample, or of none that is whole."""
    if other is not None:
        return (
            f"an audit of {path} with seed {other} is there and was not read, since this is seed {seed}. "
            f"--seed {other} reads it."
        )
    flag = f" --seed {seed}" if seed else ""
    command = f"probe label {file_word(path)}{flag}"
    return f"the answers to {path} are no whole sample of seed {seed}; `{command}` goes on."
