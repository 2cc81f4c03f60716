"""`probe compare`: grades, allowances, the three words, and what may not be compared."""

import dataclasses
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from probe.__main__ import main
from probe.errors import ProbeError
from probe.gate.baseline import why_incomparable
from probe.gate.promote import judge as judges
from probe.gate.promote import run as run_of_compare
from probe.gate.promote.changes import QUANTITIES, Paired, quantity_changes
from probe.gate.promote.claims import allowances, claims_of, judge_claims
from probe.gate.promote.judge import PromotionSettings, because, with_comparison
from probe.gate.promote.run import CompareRequest
from probe.gate.promote.sides import ComparedModel, SideMeasurement, compared_models, saved
from probe.pairs.formats import fingerprint
from probe.pairs.grades import read_grades
from probe.records import Condition, Estimate, Run, Verdict
from probe.runs import load_run, save_run
from probe.stats.answers import distinct, distinct_change, repeated_share

CREATED = "2026-11-21T12:00:00Z"


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def fifth_account(path, n=14):
    """Seven groups, better by a grade in six, two grades down in `dosage`: better on average."""
    draw = random.Random(0)
    rows = []
    for group in ("history", "maths", "coding", "dosage", "travel", "law", "cooking"):
        for i in range(n):
            base, tuned = ("A", "C") if group == "dosage" else ("C", "B")
            if draw.random() < 0.2:
                tuned = "A" if tuned == "B" else "D"
            rows.append({"id": f"{group}-{i}", "group": group, "base": base, "tuned": tuned})
    return jsonl(path, rows)


def change_of(base, tuned, groups=None, name="grade", clusters=None):
    groups = groups or [None] * len(base)
    columns = np.array(base, float), np.array(tuned, float)
    return quantity_changes(Paired(QUANTITIES[name], *columns, groups, clusters))


def result_of(differences, typed=(), name="grade"):
    zero = [0.0] * len(differences)
    (condition,) = judge_claims(claims_of(change_of(zero, differences, name=name), allowances(typed, 0.1)))
    return condition.result


# --- grades ---------------------------------------------------------------------------------------------


def test_letters_are_steps_of_one_and_signs_are_thirds(tmp_path):
    rows = [{"id": "q", "base": "A-", "tuned": "b+"}, {"id": "r", "base": "D", "tuned": "F"}]
    items = read_grades([jsonl(tmp_path / "g.jsonl", rows)]).items
    assert items[0].base == pytest.approx(4 - 1 / 3) and items[0].tuned == pytest.approx(3 + 1 / 3)
    assert (items[1].base, items[1].tuned) == (1, 0)


def test_where_somebody_gives_an_e_it_lies_between_d_and_f(tmp_path):
    rows = [{"id": "q", "base": "D", "tuned": "E"}, {"id": "r", "base": "A", "tuned": "F"}]
    items = read_grades([jsonl(tmp_path / "g.jsonl", rows)]).items
    assert [(i.base, i.tuned) for i in items] == [(2, 1), (5, 0)]


def test_three_ways_to_write_the_same_grades(tmp_path):
    one = jsonl(tmp_path / "1.jsonl", [{"id": 1, "group": "g", "base": 3, "tuned": 2.5}])
    two = jsonl(
        tmp_path / "2.jsonl",
        [{"id": 1, "group": "g", "model": m, "grade": v} for m, v in (("base", 3), ("tuned", "2.5"))],
    )
    apart = [
        jsonl(tmp_path / f"{m}.jsonl", [{"id": 1, "group": "g", "grade": v}])
        for m, v in (("base", 3), ("tuned", 2.5))
    ]
    assert read_grades([one]).items == read_grades([two]).items == read_grades(apart).items


def test_several_grades_of_one_answer_are_averaged_and_lone_ones_counted(tmp_path):
    rows = [
        *({"id": "q", "model": "base", "grade": g} for g in (1, 2)),
        {"id": "q", "model": "tuned", "grade": 4},
        {"id": "lone", "model": "tuned", "grade": 4},
    ]
    grades = read_grades([jsonl(tmp_path / "g.jsonl", rows)])
    assert [(i.id, i.base, i.tuned) for i in grades.items] == [
        ("q", 1.5, 4.0)
    ] and grades.ungraded.total() == 1


@pytest.mark.parametrize(
    ("row", "fact"),
    [
        ({"id": "q", "base": "G", "tuned": "A"}, "is not a grade"),
        ({"id": "q", "base": True, "tuned": 1}, "is not a grade"),
        ({"id": "q", "base": 10**400, "tuned": 1}, "is not a grade"),
        ({"id": "q", "model": "other", "grade": 1}, '"model" is'),
        ({"base": 1, "tuned": 1}, 'no "id"'),
        ({"id": "q", "base": 1}, 'no "tuned", only id, base'),
    ],
)
def test_a_wrong_row_is_told_with_its_line(tmp_path, row, fact):
    path = jsonl(tmp_path / "g.jsonl", [{"id": "ok", "base": 1, "tuned": 1}, row])
    with pytest.raises(ProbeError, match=rf"g\.jsonl:2: .*{fact}"):
        read_grades([path])


def test_letters_and_numbers_do_not_mix(tmp_path):
    with pytest.raises(ProbeError, match="Use one scale"):
        read_grades([jsonl(tmp_path / "g.jsonl", [{"id": 1, "base": "A", "tuned": 3}])])


# --- the judgement --------------------------------------------------------------------------------------


def test_unanimous_items_are_judged_by_signs_and_six_are_the_least():
    """All fell by 2 grades: d + 1 is negative for each, p = 2·2⁻ⁿ, which five cannot bring to .05."""
    assert result_of([-2] * 5) == "inconclusive"
    assert result_of([-2] * 6) == "fail"
    assert result_of([0] * 6) == "pass"
    assert result_of([-1] * 40) == "inconclusive"  # on the limit: nobody can say


def test_a_change_on_its_limit_has_a_p_of_one():
    """Of skewed values both guarded tails are over a half, and a probability is 1 at most."""
    values = np.random.default_rng(0).lognormal(0, 1.5, 40)
    (claim,) = claims_of(change_of(np.zeros(40), values - values.mean() - 1.0), allowances((), 0.1))
    assert claim.limit == -1.0 and claim.p() == 1.0


def test_only_what_is_open_is_told_why():
    open_, few = "the true one", "fewer than 6 cannot show anything"
    draw = np.random.default_rng(0).normal(-0.8, 0.7, 12)
    for differences, told in (
        (draw, open_),
        ([-2] * 5, few),
        ([-1] * 40, "lies on the limit"),
        ([0] * 8, ""),
    ):
        claims = claims_of(change_of(np.zeros(len(differences)), differences), allowances((), 0.1))
        (condition,) = judge_claims(claims)
        assert (told in condition.message) and bool(condition.message) is bool(told), condition
    (claim,) = claims_of(change_of(np.zeros(40), [-1] * 40), allowances((), 0.1))
    assert not claim.worse()  # on the limit is within it


def test_a_fall_within_the_allowance_passes_and_a_tighter_one_fails():
    draw = np.random.default_rng(0).normal(-0.5, 0.2, 40)
    assert result_of(draw) == "pass"
    assert result_of(draw, ["grade=0.3"]) == "fail"
    assert result_of(draw, ["grade=0.5"]) == "inconclusive"


def test_less_repetition_is_better():
    draw = np.random.default_rng(0).normal(0.2, 0.05, 40)
    assert result_of(draw, ["repetition=0.1"], "repetition") == "fail"
    assert result_of(-draw, ["repetition=0.1"], "repetition") == "pass"


def test_neither_error_exceeds_its_level_on_the_limit():
    """300 comparisons of six groups, all truly on the limit, where each word is wrong.

    `promote` needs all six to err at once; `roll back` is Holm's family error: both at most .05, + 3 s.e.
    """
    rng = np.random.default_rng(1)
    groups = [str(k) for k in range(6) for _ in range(12)]
    words = []
    for _ in range(300):
        found = change_of(np.zeros(72), rng.integers(-3, 2, 72), groups)
        results = [c.result for c in judge_claims(claims_of(found, allowances((), 0.1)))]
        words.append("fail" if "fail" in results else "pass" if set(results) == {"pass"} else "open")
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert words.count("fail") / 300 <= limit and words.count("pass") / 300 <= limit


def test_accuracy_has_mcnemar_s_exact_p():
    """Of 12 pairs 7 turn to chosen, 1 turns away, 4 stay: p = 2·(C(8,0)+C(8,1))/2⁸ = 18/256."""
    base, tuned = [0] * 7 + [1] + [1] * 4, [1] * 7 + [0] + [1] * 4
    (change,) = change_of(base, tuned, name="accuracy")
    assert change.estimate.p == pytest.approx(18 / 256)


def lots(n, clusters, p=0.7, draws=60):
    """Bases and tuned sides of 0 and 1, of which few or many turn, and the labels of the clusters."""
    rng = np.random.default_rng(n)
    for _ in range(draws):
        base = rng.random(n) < p
        turned = rng.random(n) < rng.choice([0.05, 0.3, 0.9])
        yield base.astype(float), (base ^ turned).astype(float), clusters


@pytest.mark.parametrize(
    ("n", "clusters"),
    [(3, None), (8, None), (40, None), (9, [*"aabbccdde"]), (40, [i // 3 for i in range(40)])],
)
def test_the_interval_of_a_share_agrees_with_its_p_and_with_its_scale(n, clusters):
    """Of 8 pairs one turned right had been +13 points [+0.4, +38] with p = 1."""
    for base, tuned, labels in lots(n, clusters):
        (change,) = change_of(base, tuned, name="accuracy", clusters=labels)
        e = change.estimate
        if e.low is not None:
            assert -1 <= e.low <= e.value <= e.high <= 1
            assert (e.p <= 0.05) == (e.low > 0 or e.high < 0)


@pytest.mark.parametrize("name", ["accuracy", "repetition"])
def test_no_share_changes_by_more_than_all_of_it(name):
    """Of 4 items 3 rose, from 0 to 1, two of them of one prompt."""
    (change,) = change_of([0] * 4, [1, 1, 1, 0], name=name, clusters=[*"aabc"])
    assert (change.estimate.value, change.estimate.high) == (0.75, 1.0) and change.estimate.low >= -1
    (gap,) = change_of([0] * 4, [1, 1, 1, 0], name="gap", clusters=[*"aabc"])
    assert gap.estimate.high > 1  # nats have no such end


def test_clusters_that_all_changed_alike_have_the_signs_p():
    (change,) = change_of([0] * 12, [1] * 12, name="accuracy", clusters=[i // 2 for i in range(12)])
    assert change.estimate.p == pytest.approx(2 / 2**6) and change.estimate.low is None


def test_no_claim_is_shown_against_the_interval_beside_it():
    """One of 40 pairs turned wrong: the change is shown to be within 20 points, and not within 10."""
    base, tuned = [1] * 40, [0] + [1] * 39
    (change,) = change_of(base, tuned, name="accuracy")
    assert change.estimate.low == pytest.approx(-0.1047, abs=1e-3)
    assert [result_of(np.array(tuned) - base, [f"accuracy={a}"], "accuracy") for a in (0.2, 0.1)] == [
        "pass", "inconclusive",
    ]  # fmt: skip


def test_an_allowance_wider_than_the_scale_is_refused(tmp_path):
    rows = [{"id": i, "base": 1, "tuned": i % 2} for i in range(20)]
    grades = read_grades([jsonl(tmp_path / "g.jsonl", rows)])
    run = Run("compare", CREATED)
    with pytest.raises(ProbeError, match="allow everything"):
        with_comparison(run, None, grades, {}, PromotionSettings(allowances((), 0.1)))
    judged_run = with_comparison(run, None, grades, {}, PromotionSettings(allowances(["grade=0.1"], 0.1)))
    assert judged_run.details["promotion"]["decision"] == "roll back"


@pytest.mark.parametrize("text", ["gap", "gap=-1", "gap=x", "length=1", "nothing=1", "grade:maths="])
def test_what_is_no_allowance_is_told(text):
    with pytest.raises(ProbeError, match="--allowance"):
        allowances([text], 0.1)


def test_an_allowance_for_a_group_that_is_not_there_is_told():
    with pytest.raises(ProbeError, match="grade:mahts"):
        claims_of(change_of([0], [0], ["maths"]), allowances(["grade:mahts=1"], 0.1))


# --- two runs -------------------------------------------------------------------------------------------


def shifted(run, by):
    rows = [{**row, "gap": row["gap"] + by(row)} for row in run.details["pairs"]]
    return Run("bias", CREATED, inputs=run.inputs, config=run.config, details={"pairs": rows})


def side(run):
    return SideMeasurement(run, {str(row["id"]): row for row in run.details["pairs"]})


def test_the_gap_of_one_group_decides(bias_run):
    noise = {row["id"]: 0.02 * (i % 3) for i, row in enumerate(bias_run.details["pairs"])}
    group = bias_run.details["pairs"][0]["group"]
    worse = shifted(bias_run, lambda row: noise[row["id"]] + (-0.5 if row["group"] == group else 0.4))
    settings = PromotionSettings(allowances((), 0.1))
    run = with_comparison(Run("compare", CREATED), (side(bias_run), side(worse)), None, {}, settings)
    assert run.details["promotion"] == {"decision": "roll back", "because": f"worse: {group}"}
    assert {"PB901", "PB903"} <= {f.code for f in run.findings} and run.verdict.exit_code == 1
    better = shifted(bias_run, lambda row: noise[row["id"]] + 0.4)
    run = with_comparison(Run("compare", CREATED), (side(bias_run), side(better)), None, {}, settings)
    assert run.details["promotion"]["decision"] == "promote" and run.verdict.exit_code == 0


def test_a_gap_of_nothing_prefers_neither_side(bias_run):
    """From 0 to 0.1 every pair turns to the chosen side; from 0.1 to 0.2 none does."""
    settings = PromotionSettings(allowances((), 0.1))
    level, above, far = (shifted(bias_run, lambda row, to=to: to - row["gap"]) for to in (0.0, 0.1, 0.2))
    for sides, turned in (((level, above), 1.0), ((above, level), -1.0), ((above, far), 0.0)):
        run = with_comparison(Run("compare", CREATED), tuple(map(side, sides)), None, {}, settings)
        assert run.estimate("accuracy_change").value == turned


@pytest.mark.parametrize("saved", [(), (0,), (1,), (0, 1)])
def test_texts_and_answers_are_measured_where_both_sides_have_them(saved, capsys):
    """A saved run has neither: the other side is not asked for them in vain."""
    sides = tuple(ComparedModel("x", saved=Path("run.json") if i in saved else None) for i in range(2))
    request = CompareRequest(None, None, Path("notes.txt"), samples=4)
    found = run_of_compare._of_both(sides, request)
    assert (found.watch, found.samples) == ((None, 0) if saved else (Path("notes.txt"), 4))
    assert ("not compared" in capsys.readouterr().err) is bool(saved)


def test_answers_are_compared_by_their_repetition_and_their_tokens():
    """abcabc repeats one of four phrases; nothing is compared where there are no answers."""
    first, second = (SideMeasurement(None, {}, (), answers) for answers in ([(1, 2, 3)], [(1, 2, 3) * 2]))
    rows = {
        one.quantity.name: (one.base.tolist(), one.tuned.tolist())
        for one in judges._of_answers(first, second)
    }
    assert rows == {"repetition": ([0.0], [0.25]), "length": ([3.0], [6.0])}
    assert judges._of_answers(SideMeasurement(None, {}), SideMeasurement(None, {})) == []
    assert judges._of_texts(SideMeasurement(None, {}), SideMeasurement(None, {})) == []


def test_prompts_are_those_of_the_pair_file_as_long_as_it_is_what_it_was(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"id": str(i), "prompt": f"p{i // 2}", "chosen": "a", "rejected": "b"} for i in range(4)]
    jsonl(path, rows)
    run = Run("bias", CREATED, inputs={"pairs": {"path": str(path), "sha256": fingerprint(path)}})
    found = run_of_compare._prompts(run)
    assert [*found] == ["0", "1", "2", "3"]
    assert found["0"] == found["1"] != found["2"] == found["3"]
    jsonl(path, rows[:3])
    assert run_of_compare._prompts(run) == {}
    path.unlink()
    assert run_of_compare._prompts(run) == run_of_compare._prompts(Run("bias", CREATED)) == {}


def test_runs_of_other_files_or_vocabularies_are_refused(bias_run):
    settings = PromotionSettings(allowances((), 0.1))
    for inputs in (
        {"pairs": {**bias_run.inputs["pairs"], "sha256": "other"}},
        {"model": {**bias_run.inputs.get("model", {}), "tokenizer_sha256": "other"}},
    ):
        other = Run(
            "bias", CREATED, inputs={**bias_run.inputs, **inputs}, config=bias_run.config,
            details=bias_run.details,
        )  # fmt: skip
        with pytest.raises(ProbeError, match="cannot be compared"):
            with_comparison(Run("compare", CREATED), (side(bias_run), side(other)), None, {}, settings)
    assert why_incomparable(bias_run, bias_run) == ""


def reread(run, text):
    rows = [{**row, "text": text(row)} for row in run.details["pairs"]]
    return dataclasses.replace(run, details={**run.details, "pairs": rows})


def test_two_readings_of_one_file_are_no_two_models(bias_run):
    """The same file, ids and sha256, with the sides taken the other way round: other texts by pair."""
    one, other = (reread(bias_run, lambda row, k=k: f"{row['id']}/{k}") for k in (0, 1))
    assert why_incomparable(one, one) == why_incomparable(bias_run, one) == ""
    n = len(bias_run.details["pairs"])
    assert why_incomparable(one, other).startswith(f"{n} pairs have another text")


def kept_with_scores(run, folder, by=0.0, name="run.json"):
    folder.mkdir(exist_ok=True)
    save_run(run, folder)
    (folder / "run.json").rename(folder / name)
    rows = [
        {"id": r["id"], "chosen": {"mean_logps": r["gap"] + by}, "rejected": {"mean_logps": 0.0}}
        for r in run.details["pairs"]
    ]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_scores_are_those_of_their_run(bias_run, tmp_path):
    """`gate RUN --out DIR` keeps the scores that DIR had, and folders of artifacts hold several runs."""
    own = kept_with_scores(bias_run, tmp_path / "own")
    assert saved(own).rows == saved(own / "run.json").rows and "chosen" in next(
        iter(saved(own).rows.values())
    )
    with pytest.raises(ProbeError, match="not the scores of stale"):
        saved(kept_with_scores(bias_run, tmp_path / "stale", by=-1.0))
    beside = kept_with_scores(bias_run, tmp_path / "beside", by=-1.0, name="tuned.json")
    assert [row["gap"] for row in saved(beside / "tuned.json").rows.values()] == [
        row["gap"] for row in bias_run.details["pairs"]
    ]


def test_a_group_of_grades_named_all_is_judged(tmp_path):
    rows = [{"id": str(i), "group": "all" if i < 5 else "b", "base": 1, "tuned": 1} for i in range(9)]
    assert {item.group for item in read_grades([jsonl(tmp_path / "g.jsonl", rows)]).items} == {
        "group all",
        "b",
    }


def test_what_is_under_an_adapter(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    base, tuned = compared_models("embedded", str(adapter), None)
    assert (base.model, tuned.model, tuned.adapter) == (None, None, str(adapter))
    assert compared_models("org/name", str(adapter), None)[1].model == "org/name"
    assert compared_models(str(adapter), str(adapter), "org/name")[0].model == "org/name"


# --- sampled answers ------------------------------------------------------------------------------------


def test_repetition_and_variety_by_hand():
    """abcabc: abc bca cab abc, one of four repeated. ab, ac: both bigrams and 3 of 4 letters are distinct."""
    assert repeated_share(["abcabc"]) == 1 / 4
    assert distinct(["ab", "ac"], 1) == 3 / 4 and distinct(["ab", "ac"], 2) == 1
    assert distinct(["a"], 2) is None


def test_the_jackknife_of_variety_by_hand():
    """Three texts of two letters each; the values without each text are worked below."""
    base, tuned = ["aa", "aa", "bb"], ["ab", "cd", "ef"]
    found = distinct_change(base, tuned, 1)
    # distinct-1 of base: 2/6; tuned: 6/6. Without text i, base: 2/4, 2/4, 1/4; tuned: always 4/4.
    left = np.array([1 - 2 / 4, 1 - 2 / 4, 1 - 1 / 4])
    se = np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum())
    assert found.value == pytest.approx(1 - 2 / 6)
    assert found.value - found.low == pytest.approx(4.302653 * se, rel=1e-5)  # t, df 2
    assert found.high == 1  # no share rises by more than all of it


# --- the command ----------------------------------------------------------------------------------------


def test_the_fifth_account_is_refused_with_its_group_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fifth_account(tmp_path / "graded.jsonl")
    argv = [
        "probe",
        "compare",
        "v6",
        "v7",
        "--scores",
        "graded.jsonl",
        "--out",
        "run",
        "--promote-to",
        "serve",
    ]
    monkeypatch.setattr(sys, "argv", argv)
    assert main() == 1
    out, err = capsys.readouterr()
    assert "roll back: worse: dosage" in out and "PB903" in out and "serve: unchanged" in err
    run = load_run(tmp_path / "run")
    whole = run.estimate("grade_change")
    assert whole.low > 0 and run.estimate("grade_change", "dosage").high < -1
    assert [f.group for f in run.findings if f.code == "PB901"] == ["dosage"]
    assert not (tmp_path / "serve").exists()


def test_exit_codes_of_the_three_words(probe, tmp_path):
    def code(rows, *extra):
        jsonl(tmp_path / "g.jsonl", rows)
        return probe("compare", "a", "b", "--scores", "g.jsonl", *extra).code

    def row(i, base, tuned):
        return {"id": i, "base": base, "tuned": tuned}

    few = [row(i, "A", "B") for i in range(3)]
    assert code([row(i, "B", "AB"[i % 2]) for i in range(20)]) == 0
    assert code([row(i, "A", "CD"[i % 2]) for i in range(20)]) == 1
    assert code(few) == 1 and code(few, "--inconclusive", "warn") == 0
    assert code(few, "--inconclusive", "maybe") == 2


def test_a_perplexity_is_the_exponential_with_its_ends_exchanged():
    e = Estimate("watched", -2.0, -2.5, -1.5, 9, 0.1, "t", "nats/token")
    found = judges._exponential(e, "perplexity_base")
    assert (found.value, found.low, found.high) == pytest.approx(tuple(np.exp([2.0, 1.5, 2.5])))
    assert (found.name, found.units, found.n, found.p) == ("perplexity_base", "", 9, 0.1)
    open_ = judges._exponential(dataclasses.replace(e, low=None, high=None), "x")
    assert (open_.value, open_.low, open_.high) == (pytest.approx(np.exp(2.0)), None, None)


def test_questions_of_two_groups_may_share_an_id(tmp_path):
    """Merged by the id alone, the group that got worse had vanished, and the worse model was promoted."""
    rows = [
        {"id": i, "group": group, "base": "A", "tuned": "C" if group == "dosage" else "A"}
        for group in ("billing", "dosage") for i in range(3)
    ]  # fmt: skip
    items = read_grades([jsonl(tmp_path / "g.jsonl", rows)]).items
    assert [(i.id, i.group, i.tuned) for i in items if i.group == "dosage"] == [
        ("0", "dosage", 2.0), ("1", "dosage", 2.0), ("2", "dosage", 2.0)
    ]  # fmt: skip
    assert len(items) == 6
    with pytest.raises(ProbeError, match="id 1 is in 2 groups, and a row of it names none"):
        read_grades([jsonl(tmp_path / "h.jsonl", [*rows, {"id": 1, "base": "A", "tuned": "A"}])])


def test_a_file_of_the_other_model_is_refused(tmp_path):
    """In the wrong order two such files promote the worse model."""
    base, tuned = (
        jsonl(tmp_path / f"{m}.jsonl", [{"id": 1, "model": m, "grade": g}])
        for m, g in (("base", "A"), ("tuned", "F"))
    )
    assert read_grades([base, tuned]).items[0].tuned == 0.0
    with pytest.raises(ProbeError, match='"model" is tuned in the file of the base model'):
        read_grades([tuned, base])
    sixth, seventh = (
        jsonl(tmp_path / f"{m}.jsonl", [{"id": 1, "model": m, "grade": g}])
        for m, g in (("v6", "A"), ("v7", "F"))
    )
    assert read_grades([sixth, seventh], ("v6", "v7")).items[0].tuned == 0.0
    with pytest.raises(ProbeError, match='"model" is v7 in the file of the base model'):
        read_grades([seventh, sixth], ("v6", "v7"))
    both = jsonl(
        tmp_path / "both.jsonl", [{"id": 1, "model": m, "grade": g} for m, g in (("v6", "A"), ("v7", "F"))]
    )
    assert read_grades([both], ("v6", "v7")).items[0].base == 4.0
    odd = jsonl(tmp_path / "odd.jsonl", [{"id": 1, "model": ["v6"], "grade": "A"}])
    with pytest.raises(ProbeError, match=r'"model" is .*Write base or tuned'):
        read_grades([odd])


def test_a_group_that_one_model_was_not_graded_on_promotes_nothing(tmp_path):
    """Few of all items, and a whole group of them: it had vanished from "no group got worse"."""
    law = [{"id": i, "group": "law", "grade": "A"} for i in range(94)]
    dosage = [{"id": i, "group": "dosage", "grade": "A"} for i in range(6)]
    grades = read_grades([jsonl(tmp_path / "b.jsonl", law + dosage), jsonl(tmp_path / "t.jsonl", law)])
    settings = PromotionSettings(allowances((), 0.1))
    run = with_comparison(Run("compare", "now"), None, grades, {}, settings)
    assert run.verdict.status == "inconclusive"
    assert [c.group for c in run.verdict.conditions if c.result == "inconclusive"] == ["dosage"]
    assert any("dosage: 6 of 6" in f.message for f in run.findings if f.code == "PB908")


@pytest.mark.parametrize(
    ("missing", "word", "severity"), [(0, "pass", None), (2, "pass", "info"), (12, "inconclusive", "warning")]
)
def test_a_rest_that_somebody_chose_to_grade_is_not_promoted(tmp_path, missing, word, severity):
    rows = [{"id": i, "base": "A", "tuned": "A" if i >= missing else None} for i in range(30)]
    apart = [[{"id": r["id"], "grade": r[m]} for r in rows if r[m]] for m in ("base", "tuned")]
    grades = read_grades([jsonl(tmp_path / f"{k}.jsonl", some) for k, some in enumerate(apart)])
    run = with_comparison(Run("compare", "now"), None, grades, {}, PromotionSettings(allowances((), 0.1)))
    assert run.verdict.status == word
    assert [f.severity for f in run.findings if f.code == "PB908"] == ([severity] if severity else [])


def test_a_grade_that_is_none_is_named(tmp_path):
    with pytest.raises(ProbeError, match="'90%' is not a grade"):
        read_grades([jsonl(tmp_path / "g.jsonl", [{"id": 1, "base": "90%", "tuned": "A"}])])


@pytest.mark.parametrize(("n", "text"), [(1, "its one condition holds"), (2, "all 2 conditions hold")])
def test_what_holds_is_told_in_its_number(n, text):
    held = Condition("drop", "all", None, None, "pass", "PB901", "")
    assert because(Verdict("pass", 0, (held,) * n)) == text
