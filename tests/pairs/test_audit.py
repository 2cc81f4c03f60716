"""The blind audit's sample, sides and log."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from probe.errors import CannotMeasure, ProbeError
from probe.pairs.audit import (
    AnswerLog,
    LabelAnswer,
    all_logs,
    allocate,
    content_digest,
    log_path,
    questions,
    stratified_sample,
)
from probe.pairs.record import Pair


def made(count: int, group: str = "a", start: int = 0) -> list[Pair]:
    return [
        Pair(str(i), f"prompt {group} {i}", f"good {i}", f"bad {i}", group, line=i)
        for i in range(start, start + count)
    ]


def answer(pair: Pair, label: str = "chosen") -> LabelAnswer:
    return LabelAnswer(content_digest(pair), pair.id, label, "chosen", 1.0, "2026-01-01T00:00:00Z")


class TestSample:
    def test_each_group_has_its_share(self) -> None:
        sample = stratified_sample([*made(600, "a"), *made(300, "b"), *made(100, "c")], 20)
        assert Counter(p.group for p in sample.pairs) == {"a": 12, "b": 6, "c": 2}
        assert sample.groups == {"a": 600, "b": 300, "c": 100} and sample.total == 1000

    def test_does_not_depend_on_the_order_or_on_other_rows(self) -> None:
        pairs = made(200)
        names = {content_digest(p) for p in stratified_sample(pairs, 50).pairs}
        assert {content_digest(p) for p in stratified_sample(pairs[::-1], 50).pairs} == names
        renumbered = [replace(p, id=f"x{p.id}", line=p.line + 1) for p in pairs]
        assert {content_digest(p) for p in stratified_sample(renumbered, 50).pairs} == names

    @pytest.mark.parametrize("sizes", [(100, 100), (6, 6, 2), (9, 9, 9, 1), (40, 7, 5, 3, 1, 1, 1), (1,) * 9])
    def test_a_larger_sample_contains_the_smaller(self, sizes: tuple[int, ...]) -> None:
        """Of 6, 6 and 2, largest remainders give 4, 4, 2 of 10 places and 5, 5, 1 of 11."""
        pairs = [pair for k, size in enumerate(sizes) for pair in made(size, f"g{k}")]
        samples = [
            {content_digest(p) for p in stratified_sample(pairs, n).pairs} for n in range(1, len(pairs) + 1)
        ]
        assert [len(sample) for sample in samples] == [*range(1, len(pairs) + 1)]
        assert all(small < large for small, large in pairwise(samples))

    def test_every_pair_is_drawn_as_often(self) -> None:
        """400 seeds, 10 of 40 pairs each: 100 ± 4·√(400·¼·¾) ≈ 100 ± 35 draws a pair."""
        counts = Counter(p.id for seed in range(400) for p in stratified_sample(made(40), 10, seed).pairs)
        assert len(counts) == 40 and all(65 <= count <= 135 for count in counts.values())

    def test_a_repeated_pair_is_asked_once(self) -> None:
        sample = stratified_sample([*made(3), *made(3)], 10)
        assert sorted(p.id for p in sample.pairs) == ["0", "1", "2"]

    @given(
        st.dictionaries(st.text(max_size=3), st.integers(1, 500), min_size=1, max_size=8), st.integers(1, 900)
    )
    def test_places_are_shared_out_in_proportion(self, counts: dict[str, int], n: int) -> None:
        """Webster's own property: no place would be nearer to proportion in another group."""
        quotas, total = allocate(counts, n), sum(counts.values())
        assert sum(quotas.values()) == min(n, total)
        assert all(0 <= quotas[group] <= count for group, count in counts.items())
        claims = [Fraction(count, 2 * quotas[group] + 1) for group, count in counts.items()]
        held = [Fraction(count, 2 * quotas[g] - 1) for g, count in counts.items() if quotas[g]]
        assert max(claims) <= min(held)
        more = allocate(counts, n + 1)
        assert all(more[group] >= quotas[group] for group in counts)


class TestQuestions:
    def test_sides_are_a_fair_coin_of_their_own_for_every_labeller(self) -> None:
        """2,000 tosses; and two labellers' tosses agree in half of the pairs."""
        ann, bob = (questions(made(2000), name) for name in ("ann", "bob"))
        lefts = {q.digest: q.left for q in ann}
        assert binomtest(sum(q.left == "chosen" for q in ann), 2000).pvalue > 0.001
        assert binomtest(sum(lefts[q.digest] == q.left for q in bob), 2000).pvalue > 0.001
        assert [q.digest for q in ann] != [q.digest for q in bob]
        assert questions(made(2000), "ann") == ann

    @pytest.mark.parametrize("key", ["left", "right", "tie", "skip"])
    def test_keys_mean_sides(self, key: str) -> None:
        for question in questions(made(20), "ann"):
            label = question.label(key)
            if key in ("tie", "skip"):
                assert label == key
            else:
                assert (label == question.left) == (key == "left") and label in ("chosen", "rejected")


class TestLog:
    def test_answers_come_back_in_order(self, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "d/ann.jsonl")
        first, second = made(2)
        log.add(answer(first))
        log.add(answer(second, "tie"))
        again = AnswerLog.open(log.path)
        assert again.answers == log.answers
        assert [a.label for a in again.answers.values()] == ["chosen", "tie"]

    def test_undo_takes_back_the_latest_and_survives(self, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "ann.jsonl")
        first, second = made(2)
        log.add(answer(first))
        log.add(answer(second))
        both = {content_digest(first), content_digest(second)}
        assert log.undo(both) == content_digest(second)
        assert list(AnswerLog.open(log.path).answers) == [content_digest(first)]
        assert log.undo(both) == content_digest(first) and log.undo(both) is None
        assert len(log.path.read_text().splitlines()) == 4

    def test_undo_takes_back_nothing_of_another_sample(self, tmp_path: Path) -> None:
        """The log is that of every file of this name, and of every seed."""
        log = AnswerLog.open(tmp_path / "ann.jsonl")
        ours, theirs = made(1), made(2, "other file")
        for pair in (*ours, *theirs):
            log.add(answer(pair))
        sample = {content_digest(pair) for pair in ours}
        assert log.undo(sample) == content_digest(ours[0]) and log.undo(sample) is None
        assert list(AnswerLog.open(log.path).answers) == [content_digest(pair) for pair in theirs]

    def test_an_answer_cut_by_a_kill_is_dropped_and_written_over(self, tmp_path: Path) -> None:
        log = AnswerLog.open(tmp_path / "ann.jsonl")
        first, second, third = made(3)
        log.add(answer(first))
        log.add(answer(second))
        whole = log.path.read_bytes()
        for cut in range(1, len(whole) // 2):
            log.path.write_bytes(whole[:-cut])
            again = AnswerLog.open(log.path)
            assert list(again.answers) == [content_digest(first)]
            again.add(answer(third))
            assert list(AnswerLog.open(log.path).answers) == [content_digest(first), content_digest(third)]

    @pytest.mark.parametrize(
        "row",
        [
            {"pair": "x"}, None, [], 5, "x",
            {**asdict(answer(made(1)[0])), "label": "foo"}, {**asdict(answer(made(1)[0])), "left": "foo"},
        ],
    )  # fmt: skip
    def test_a_foreign_line_is_named(self, tmp_path: Path, row: object) -> None:
        path = tmp_path / "ann.jsonl"
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(ProbeError, match=r"ann\.jsonl:1: not an answer"):
            AnswerLog.open(path)

    def test_a_disk_that_takes_nothing_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        log = AnswerLog.open(tmp_path / "taken" / "ann.jsonl")
        with pytest.raises(CannotMeasure, match="Earlier answers are kept"):
            log.add(answer(made(1)[0]))
        assert not log.answers

    def test_names_are_file_names(self, tmp_path: Path) -> None:
        for name in ("", "../x", "a/b", ".hidden"):
            with pytest.raises(ProbeError, match="--name"):
                log_path(Path("pairs.jsonl"), name)
        AnswerLog.open(log_path(Path("p.jsonl.gz"), "ann", tmp_path)).add(answer(made(1)[0]))
        assert set(all_logs(Path("p.jsonl.gz"), tmp_path)) == {"ann"}
