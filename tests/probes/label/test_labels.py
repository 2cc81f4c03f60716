"""Agreement between people and a file: coefficients against oracles, verdicts against exact binomials."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import cohen_kappa_score

from probe.gate.measure import run_probes
from probe.gate.settings import GateOptions
from probe.gate.settings import judged as gated
from probe.pairs.audit import AnswerLog, LabelAnswer, log_path, questions, stratified_sample
from probe.pairs.identity import content_digest
from probe.pairs.read import read_pairs
from probe.pairs.record import Pair
from probe.probes.gated import GateRequest
from probe.probes.label.agreement import cohen_kappa, krippendorff_alpha
from probe.probes.label.audit import Audited, agreement, audit, audit_result, reasoning
from probe.probes.label.checks import judge_labels
from probe.probes.label.file import measure_labelled
from probe.records import Measured
from probe.scoring.session import ModelOptions, Source
from probe.stats.power import share_above_power, share_above_trials


def pairs_of(count: int, groups: Sequence[str] = ("a",)) -> list[Pair]:
    return [Pair(f"p{i}", f"q{i}", "good", "bad", groups[i % len(groups)], line=i + 1) for i in range(count)]


def given(
    pairs: Sequence[Pair], labels: Sequence[str], lefts: Sequence[str] | None = None
) -> dict[str, LabelAnswer]:
    lefts = lefts or ["chosen" if i % 2 else "rejected" for i in range(len(pairs))]
    rows = zip(pairs, labels, lefts, strict=True)
    return {
        content_digest(p): LabelAnswer(content_digest(p), p.id, label, left, 1.0, "")
        for p, label, left in rows
    }


def labels_of(agree: int, n: int) -> list[str]:
    """`agree` agreements among `n`, spread so that left and right answers balance."""
    return ["chosen"] * agree + ["rejected"] * (n - agree)


class TestKappa:
    def test_by_hand(self) -> None:
        """20 + 15 agreements of 50, margins 25/25 and 30/20 (Cohen's table): p_o = .7,
        p_e = .5·.6 + .5·.4 = .5, κ = .2/.5 = .4."""
        first = ["y"] * 25 + ["n"] * 25
        second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
        assert cohen_kappa(first, second).value == pytest.approx(0.4)

    @pytest.mark.parametrize("kinds", [2, 3, 5])
    def test_against_peers(self, kinds: int) -> None:
        peer = pytest.importorskip("statsmodels.stats.inter_rater")
        rng = np.random.default_rng(kinds)
        a = rng.integers(0, kinds, 80)
        b = np.where(rng.random(80) < 0.6, a, rng.integers(0, kinds, 80))
        table = np.zeros((kinds, kinds))
        np.add.at(table, (a, b), 1)
        ours, theirs = cohen_kappa(list(a), list(b)), peer.cohens_kappa(table)
        assert ours.value == pytest.approx(cohen_kappa_score(a, b))
        assert (ours.low, ours.high) == pytest.approx((theirs.kappa_low, theirs.kappa_upp))

    def test_no_interval_of_zero_width(self) -> None:
        perfect = cohen_kappa(["l", "r", "l"], ["l", "r", "l"])
        assert (perfect.value, perfect.low, perfect.high) == (1.0, None, None)
        assert cohen_kappa(["l", "l"], ["l", "l"]).value is None
        assert cohen_kappa([], []).value is None


class TestKrippendorff:
    def test_published_example(self) -> None:
        """Krippendorff 2011, section C: four observers, twelve units, missing data; nominal α = .743."""
        observers = [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
            [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
        ]
        made = krippendorff_alpha(list(zip(*observers, strict=True)))
        assert made.value == pytest.approx(0.743, abs=5e-4)
        assert made.n == 11  # the twelfth unit has one label
        assert made.low is not None and made.low < 0.743 < made.high

    def test_two_observers_by_hand(self) -> None:
        """Units aa, aa, ab, bb: n_a = 5, n_b = 3, D_o = 2, D_e = 2·15/7, α = 1 − 14/30 = .5333."""
        assert krippendorff_alpha(["aa", "aa", "ab", "bb"]).value == pytest.approx(1 - 14 / 30)

    def test_says_nothing_where_there_is_nothing(self) -> None:
        assert krippendorff_alpha([("a", "a"), ("a", "a")]).value is None
        assert krippendorff_alpha([("a",), (None, "b")]).value is None
        same = krippendorff_alpha(["aa", "bb", "aa", "bb", "aa", "bb"])
        assert (same.value, same.low) == (1.0, None)

    def test_interval_covers(self) -> None:
        """Two observers who copy a fair truth with probability .8 and else toss a coin agree with α = .64."""
        rng, inside = np.random.default_rng(5), 0
        for _ in range(200):
            truth = rng.integers(0, 2, 60)
            views = [np.where(rng.random(60) < 0.8, truth, rng.integers(0, 2, 60)) for _ in range(2)]
            made = krippendorff_alpha(list(zip(*views, strict=True)))
            inside += made.low <= 0.64 <= made.high
        assert inside >= 180  # 95% of 200 is 190, less 3 standard errors


class TestVerdict:
    def judged(self, agree: int, n: int) -> tuple[str, int | None]:
        rows = audit(pairs_of(n), {"ann": given(pairs_of(n), labels_of(agree, n))})
        return audit_result(rows, 0.8, 0.05)

    def test_21_of_26_is_open(self) -> None:
        """A published rule passed it; its exact interval is [.606, .934]."""
        rows = audit(pairs_of(26), {"ann": given(pairs_of(26), labels_of(21, 26))})
        made = agreement(rows, 0.8, 0.05)
        assert (made.low, made.high) == pytest.approx((0.606, 0.934), abs=5e-4)
        result, more = audit_result(rows, 0.8, 0.05)
        assert result == "inconclusive" and more is not None and more > 1000

    def test_around_the_critical_numbers_of_82(self) -> None:
        """At 82 pairs the exact test passes from 72 agreements on and fails up to the last with P ≤ .05."""
        assert binom.sf(71, 82, 0.8) < 0.05 < binom.sf(70, 82, 0.8)
        least = int(binom.ppf(0.05, 82, 0.8)) - 1
        assert [self.judged(k, 82)[0] for k in (72, 71, least + 1, least)] == [
            "pass",
            "inconclusive",
            "inconclusive",
            "fail",
        ]

    @pytest.mark.parametrize("n", [5, 20, 26, 82])
    def test_level_holds_at_the_limit(self, n: int) -> None:
        """Exact, no simulation: at a true agreement of .8, pass and fail each have at most 5%."""
        chance = {"pass": 0.0, "fail": 0.0, "inconclusive": 0.0}
        for k in range(n + 1):
            chance[self.judged(k, n)[0]] += float(binom.pmf(k, n, 0.8))
        assert chance["pass"] <= 0.05 and chance["fail"] <= 0.05

    def test_a_second_opinion_is_no_second_sample(self) -> None:
        """Two labellers with the same 82 answers carry the information of one, not of 164 labels."""
        pairs = pairs_of(82)
        one = given(pairs, labels_of(71, 82))
        alone, twice = (
            judge_labels(pairs, answers)[1] for answers in ({"ann": one}, {"ann": one, "bob": one})
        )
        assert alone.result == twice.result == "inconclusive"
        assert (twice.measured.low, twice.measured.high) == pytest.approx(
            (alone.measured.low, alone.measured.high), abs=0.01
        )

    def test_what_is_lacking_is_counted_in_pairs(self) -> None:
        """Copied answers lack as many pairs as one labeller's; independent ones fewer, at best half."""
        pairs, draw = pairs_of(82), np.random.default_rng(1)
        one = given(pairs, labels_of(69, 82))
        shuffled = given(pairs, draw.permutation(labels_of(69, 82)).tolist())
        lacks = [
            audit_result(audit(pairs, answers), 0.8, 0.05)[1]
            for answers in ({"ann": one}, {"ann": one, "bob": one}, {"ann": one, "bob": shuffled})
        ]
        alone, copied, own = (82 + lack for lack in lacks)
        assert alone == copied and 0.45 * alone < own < 0.7 * alone
        finding = judge_labels(pairs, {"ann": one, "bob": one})[0].findings[0]
        assert finding.remedy == f"Label {lacks[1]} more pairs, with a larger --n."

    @pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
    def test_level_holds_for_two_labellers(self, correlation: float) -> None:
        """600 audits of 40 pairs at the limit; 5% of 600 is 30, plus 3 standard errors is 46."""
        rng, pairs = np.random.default_rng(7), pairs_of(40)
        counts = Counter()
        for _ in range(600):
            first = rng.random(40) < 0.8
            second = np.where(rng.random(40) < correlation, first, rng.random(40) < 0.8)
            votes = [
                {n: "chosen" if v else "rejected" for n, v in zip("xy", pair, strict=True)}
                for pair in zip(first, second, strict=True)
            ]
            made = agreement([Audited(p, v, None) for p, v in zip(pairs, votes, strict=True)], 0.8, 0.1)
            counts["pass"] += made.low >= 0.8
            counts["fail"] += made.high <= 0.8
        assert counts["pass"] <= 46 and counts["fail"] <= 46

    def test_two_labellers_do_not_make_certainty(self) -> None:
        """Independent labellers who agree with the file in 75% each: no majority inflates that to 90%."""
        rng, pairs = np.random.default_rng(1), pairs_of(400)
        views = {n: given(pairs, list(np.where(rng.random(400) < 0.75, "chosen", "rejected"))) for n in "xy"}
        _, condition = judge_labels(pairs, views)
        assert condition.result == "fail" and condition.measured.value == pytest.approx(0.75, abs=0.04)

    def test_nothing_decided_is_open(self) -> None:
        pairs = pairs_of(4)
        measured, condition = judge_labels(pairs, {"ann": given(pairs, ["tie", "skip", "skip", "skip"])})
        assert condition.result == "inconclusive" and condition.measured.value is None
        (finding,) = measured.findings
        assert finding.code == "PB311" and "no answer to 4 pairs names the better side" in finding.message

    @pytest.mark.parametrize(("rate", "needed"), [(0.95, 30), (0.9, 82), (0.875, 158), (0.85, 365)])
    def test_pairs_needed(self, rate: float, needed: int) -> None:
        assert share_above_trials(rate, 0.8) == needed
        assert share_above_power(needed, rate, 0.8) >= 0.8
        assert f"{needed}" in reasoning(82, 1000, 0.8, 0.05, 0.9)

    def test_the_reason_is_printed_whole(self) -> None:
        assert reasoning(82, 1000, 0.8, 0.05, 0.9) == (
            "82 of 1000 pairs: an exact test at 5% then shows agreement above 80% with 81% probability if "
            "the truth is 90% (for 80%: 82 pairs; 30 if it is 95%, 158 if it is 87.5%, 365 if it is 85%)."
        )


class TestFindings:
    def codes(self, *arguments: object, **options: float) -> list[str]:
        return [f.code for f in judge_labels(*arguments, **options)[0].findings]

    def test_agreement_needs_no_finding(self) -> None:
        pairs = pairs_of(82)
        measured, condition = judge_labels(pairs, {"ann": given(pairs, labels_of(78, 82))})
        assert condition.result == "pass" and not measured.findings
        assert condition.measured.value == pytest.approx(78 / 82)

    def test_disagreement_names_the_pairs(self) -> None:
        pairs = pairs_of(40)
        measured, condition = judge_labels(pairs, {"ann": given(pairs, labels_of(20, 40))})
        finding = measured.findings[0]
        assert (condition.result, finding.code, finding.severity) == ("fail", "PB310", "error")
        assert finding.lines == tuple(range(21, 41))

    def test_ties_are_counted_apart(self) -> None:
        pairs = pairs_of(40)
        labels = ["tie"] * 20 + ["chosen"] * 20
        measured, condition = judge_labels(pairs, {"ann": given(pairs, labels)})
        assert condition.measured.n == 20 and "PB312" in [f.code for f in measured.findings]
        assert "PB312" not in self.codes(pairs, {"ann": given(pairs, ["tie"] * 10 + ["chosen"] * 30)})

    def test_a_labeller_who_answers_left_is_found(self) -> None:
        pairs = pairs_of(40)
        lefts = ["chosen" if i % 2 else "rejected" for i in range(40)]
        assert "PB313" in self.codes(pairs, {"ann": given(pairs, lefts, lefts)})
        assert "PB313" not in self.codes(pairs, {"ann": given(pairs, ["chosen"] * 40, lefts)})

    def test_good_labellers_of_a_good_file_are_reliable(self) -> None:
        """Each right in 95% by himself: they agree in .905 of the pairs against .5 by chance, α = .81."""
        rng, pairs = np.random.default_rng(3), pairs_of(500)
        views = {n: given(pairs, list(np.where(rng.random(500) < 0.95, "chosen", "rejected"))) for n in "xy"}
        measured, _ = judge_labels(pairs, views)
        (made,) = [e for e in measured.estimates if e.name == "krippendorff_alpha"]
        assert made.value == pytest.approx(0.81, abs=0.06) and not measured.findings

    def test_labellers_who_disagree_are_found(self) -> None:
        pairs, rng = pairs_of(60), np.random.default_rng(0)
        views = [[("chosen", "rejected")[k] for k in rng.integers(0, 2, 60)] for _ in range(2)]
        both = {name: given(pairs, view) for name, view in zip(("ann", "bob"), views, strict=True)}
        measured, _ = judge_labels(pairs, both)
        assert "PB314" in [f.code for f in measured.findings]
        assert {e.group for e in measured.estimates if e.name == "kappa"} == {"labeller ann", "labeller bob"}
        assert "PB314" not in self.codes(pairs, dict.fromkeys(both, both["ann"]))

    def test_a_group_labelled_the_wrong_way_round_is_found(self) -> None:
        """120 pairs in four groups, all of one group contradicted: 75% in all."""
        pairs = pairs_of(120, ("a", "b", "c", "d"))
        labels = ["rejected" if p.group == "c" else "chosen" for p in pairs]
        measured, condition = judge_labels(pairs, {"ann": given(pairs, labels)})
        groups = [f.group for f in measured.findings if f.code == "PB315"]
        assert groups == ["c"] and condition.measured.value == 0.75

    def test_votes_are_counted(self) -> None:
        """Three labellers on five pairs: the most votes win, equal votes are a tie, skips do not vote."""
        pairs = pairs_of(5)
        votes = [
            ["chosen", "chosen", "rejected"],
            ["chosen", "rejected", "skip"],
            ["skip", "skip", "skip"],
            ["tie", "tie", "chosen"],
            ["rejected", "skip", "skip"],
        ]
        answers = {n: given(pairs, [row[i] for row in votes]) for i, n in enumerate(("x", "y", "z"))}
        assert [a.label for a in audit(pairs, answers)] == ["chosen", "tie", "skip", "tie", "rejected"]


class TestSaved:
    """What a gate makes of the answers that lie beside the file."""

    def answered(self, directory: Path, labels: Sequence[str], of: int = 60, seed: int = 0) -> Path:
        path = directory / "pairs.jsonl"
        rows = ({"prompt": f"why {i}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(of))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        asked = questions(stratified_sample(read_pairs(path), 30, seed).pairs, "ann", seed)
        log = AnswerLog.open(log_path(path, "ann", directory / ".probe/labels"))
        for question, label in zip(asked, labels, strict=False):
            log.add(LabelAnswer(question.digest, question.pair.id, label, question.left, 1.0, ""))
        return path

    def measured(self, path: Path, seed: int = 0) -> Measured:
        place = path.parent / ".probe/labels"
        return measure_labelled(path, lambda: read_pairs(path), limit=0.8, alpha=0.05, seed=seed, root=place)

    def test_whole_sample_is_measured(self, tmp_path: Path) -> None:
        found = self.measured(self.answered(tmp_path, labels_of(29, 30)))
        total = found.estimates[0]
        assert (total.name, total.n, total.value) == ("agreement", 30, pytest.approx(29 / 30))

    def test_part_of_a_sample_decides_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.measured(self.answered(tmp_path, labels_of(20, 25))) == Measured()
        assert "no whole sample" in capsys.readouterr().err

    @pytest.mark.parametrize(("seed", "noted"), [(7, True), (7, False), (12345, True)])
    def test_a_finished_audit_of_another_seed_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int, noted: bool
    ) -> None:
        """By what the log tells of its samples, or where it is older by trying the first seeds."""
        path = self.answered(tmp_path, labels_of(29, 30), seed=seed)
        if noted:
            (log,) = (AnswerLog.open(p) for p in (tmp_path / ".probe/labels").rglob("*.jsonl"))
            log.ask(30, seed)
        assert self.measured(path) == Measured()
        told = capsys.readouterr().err
        assert f"with seed {seed} is there and was not read" in told and f"--seed {seed} reads it" in told
        assert self.measured(path, seed=seed).estimates[0].n == 30

    def test_of_an_open_sample_the_seed_that_goes_on_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = self.answered(tmp_path, labels_of(20, 25), seed=3)
        assert self.measured(path, seed=3) == Measured()
        assert f"no whole sample of seed 3; `probe label {path} --seed 3` goes on" in capsys.readouterr().err

    def test_answers_to_other_texts_do_not_hide_a_whole_sample(self, tmp_path: Path) -> None:
        """Rows that were corrected and labelled anew, and answers to a file of the same first name."""
        path = self.answered(tmp_path, labels_of(29, 30))
        (log,) = (AnswerLog.open(p) for p in (tmp_path / ".probe/labels").rglob("*.jsonl"))
        log.ask(30)
        for k in range(5):
            log.add(LabelAnswer(f"{k:016x}", "gone", "chosen", "chosen", 1.0, ""))
        assert self.measured(path).estimates[0].n == 30
        log.ask(60)  # a larger sample that is under way takes nothing from the one that is whole
        assert self.measured(path).estimates[0].n == 30

    def test_nobody_has_labelled(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.measured(self.answered(tmp_path, [])) == Measured()
        assert capsys.readouterr().err == ""

    def test_answers_to_texts_that_changed_decide_nothing(self, tmp_path: Path) -> None:
        path = self.answered(tmp_path, labels_of(29, 30))
        path.write_text(path.read_text().replace("good", "fine"))
        assert self.measured(path) == Measured()

    @pytest.mark.parametrize(("agree", "result"), [(29, "pass"), (14, "fail")])
    def test_gate_judges_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agree: int, result: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = self.answered(tmp_path, labels_of(agree, 30))
        off = frozenset({"numerics", "bias", "negatives", "trial"})
        request = GateRequest(Source.of(path, None, None, False), ModelOptions(), off=off)
        run = gated(run_probes(request)[0], GateOptions(), date(2026, 11, 21))
        (condition,) = [c for c in run.verdict.conditions if c.name == "agreement"]
        assert condition.result == result
        assert (run.decision is not None and run.decision.method == "fix-data") == (result == "fail")
