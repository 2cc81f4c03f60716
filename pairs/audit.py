"""A blind audit of a pair file: a stratified sample, shuffled sides, and a log that a kill cannot spoil.

Everything random is a hash of a seed and the pair's own content. So the sample, the order and the sides stay
when other rows of the file change, a larger sample contains the smaller one, and all labellers with one seed
meet the same pairs, each in an order and with sides of their own.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import CannotMeasure, ProbeError
from .identity import content_digest
from .record import Pair

Side = Literal["chosen", "rejected"]
Label = Literal["chosen", "rejected", "tie", "skip"]
AnswerKey = Literal["left", "right", "tie", "skip"]


def uniform_draw(*parts: object) -> int:
    """A uniform draw from [0, 2⁶⁴) that the parts determine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])


# --- the sample -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditSample:
    """Pairs to label, and the number of pairs that each group has in the file."""

    pairs: tuple[Pair, ...]
    groups: Mapping[str, int]

    @property
    def total(self) -> int:
        """Pairs in the file."""
        return sum(self.groups.values())


class _Lowest:
    """The pairs with the `n` lowest draws of a stream; a repeated pair counts once."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.held: dict[int, Pair] = {}
        self.heap: list[int] = []  # negated draws: the highest comes off first

    def offer(self, number: int, pair: Pair) -> None:
        if number in self.held or (len(self.heap) == self.n and number >= -self.heap[0]):
            return
        if len(self.heap) < self.n:
            heapq.heappush(self.heap, -number)
        else:
            del self.held[-heapq.heapreplace(self.heap, -number)]
        self.held[number] = pair


def stratified_sample(pairs: Iterable[Pair], n: int, seed: int = 0) -> AuditSample:
    """A random sample of `n` ≥ 1 pairs in which each group has its share of the file, from one pass.

    Holds at most `n` pairs per group. Fewer come back where the file has fewer, or repeats some.
    """
    counts: dict[str, int] = {}
    lowest: dict[str, _Lowest] = {}
    for pair in pairs:
        group = pair.group or ""
        counts[group] = counts.get(group, 0) + 1
        lowest.setdefault(group, _Lowest(n)).offer(uniform_draw(seed, content_digest(pair)), pair)
    quotas = allocate(counts, n)
    picked = (sorted(low.held.items())[: quotas[group]] for group, low in lowest.items())
    return AuditSample(tuple(pair for group in picked for _, pair in group), counts)


def allocate(counts: Mapping[str, int], n: int) -> dict[str, int]:
    """`n` places shared out in proportion to the counts, one after the other; never more than a count.

    Each place goes to the group that has the most pairs for 2s + 1, where s are its places so far. So no
    group loses a place when there are more, which rounding by the largest remainders does not promise.
    Source: Webster 1832, Sainte-Laguë 1910; Balinski and Young 1982.
    """
    n = min(n, sum(counts.values()))
    quotas = dict.fromkeys(counts, 0)
    claims = [(-float(count), group) for group, count in counts.items()]
    heapq.heapify(claims)
    for _ in range(n):
        group = claims[0][1]
        quotas[group] += 1
        heapq.heapreplace(claims, (-counts[group] / (2 * quotas[group] + 1), group))
    return quotas


# --- the questions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """A pair as one labeller sees it: `left` says which side stands on the left."""

    pair: Pair
    digest: str
    left: Side

    def label(self, key: AnswerKey) -> Label:
        """What a key means for this pair: the side that was preferred, `tie` or `skip`."""
        if key in ("tie", "skip"):
            return key
        right: Side = "rejected" if self.left == "chosen" else "chosen"
        return self.left if key == "left" else right


def questions(pairs: Sequence[Pair], name: str, seed: int = 0) -> list[Question]:
    """The pairs in the order and with the sides of the labeller `name`: a fair coin for every pair.

    The coin is tossed per pair, not balanced over the sample, so that the number of left answers of an
    unbiased labeller is exactly binomial.
    """
    named = sorted(
        ((content_digest(pair), pair) for pair in pairs),
        key=lambda d: uniform_draw(seed, name, "order", d[0]),
    )
    coin: tuple[Side, Side] = ("chosen", "rejected")
    return [Question(pair, d, coin[uniform_draw(seed, name, "side", d) % 2]) for d, pair in named]


# --- the log --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LabelAnswer:
    """One saved answer; `at` is UTC, `seconds` the time it took."""

    pair: str  # digest
    id: str
    label: Label
    left: Side
    seconds: float
    at: str


@dataclass
class AnswerLog:
    """One labeller's answers to one pair file, a JSON line each, appended and flushed to the disk.

    A half-written last line (a kill, a full disk) is cut off when the log is opened for the next answer. An
    undone answer stays in the file and is followed by a line that takes it back. `asked` holds the sizes of
    the samples that the labeller was asked for, each with its seed (None: an older log does not tell it).
    """

    path: Path
    answers: dict[str, LabelAnswer] = field(default_factory=dict)  # by digest, the latest last
    asked: set[tuple[int, int | None]] = field(default_factory=set)

    @classmethod
    def open(cls, path: Path) -> AnswerLog:
        """Read the log, if there is one. Raises `ProbeError` on a line that is no answer."""
        log = cls(path)
        for number, line in enumerate(_whole_lines(path), 1):
            try:
                log._replay(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise ProbeError(
                    f"{path}:{number}: not an answer of `probe label`. Correct or remove the line."
                ) from error
        return log

    def _replay(self, row: Any) -> None:
        if not isinstance(row, dict):
            raise ValueError("no object")
        if undone := row.get("undone"):
            self.answers.pop(undone, None)
            return
        if "asked" in row:
            self.asked.add((int(row["asked"]), None if (seed := row.get("seed")) is None else int(seed)))
            return
        answer = LabelAnswer(**row)
        if answer.label not in get_args(Label) or answer.left not in get_args(Side):
            raise ValueError("a label or a side that is none")
        self.answers.pop(answer.pair, None)  # so that the latest is last
        self.answers[answer.pair] = answer

    def add(self, answer: LabelAnswer) -> None:
        """Save an answer; it is on the disk when this returns. Raises `CannotMeasure` when it cannot be."""
        self._append(asdict(answer))

    def ask(self, n: int, seed: int = 0) -> None:
        """Save that the sample of `n` pairs of this seed is asked for. Raises as `add`."""
        if (n, seed) not in self.asked:
            self._append({"asked": n, "seed": seed})

    def undo(self, sample: Collection[str]) -> str | None:
        """Take back the latest answer to a pair of `sample` (digests); returns that one, None without any.

        The log may hold answers to other samples, which nobody sees now: another seed's, or another file's of
        the same name.
        """
        last = next((digest for digest in reversed(self.answers) if digest in sample), None)
        if last is not None:
            self._append({"undone": last})
        return last

    def _append(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)  # cuts a torn end, if there is one
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise CannotMeasure(
                f"{self.path}: {error.strerror}. Earlier answers are kept; free some space and start again."
            ) from error
        self._replay(row)


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    *lines, _torn = path.read_bytes().split(b"\n")
    return lines


def log_path(pairs: Path, name: str, root: Path = Path(".probe/labels")) -> Path:
    """Where a labeller's answers lie. Raises `ProbeError` on a name that is no plain file name."""
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise ProbeError(f'--name "{name}": use letters, digits, "-", "_" and "." only.')
    return root / pairs.name.split(".")[0] / f"{name}.jsonl"


def all_logs(pairs: Path, root: Path = Path(".probe/labels")) -> dict[str, AnswerLog]:
    """Every labeller's answers to this file, by name."""
    directory = log_path(pairs, "x", root).parent
    return {path.stem: AnswerLog.open(path) for path in sorted(directory.glob("*.jsonl"))}
