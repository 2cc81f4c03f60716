"""The table of a race: what it says where a judge of samples is not heard, for a trial and a finished run."""

import dataclasses

import pytest

from probe.gate.promote.judge import because
from probe.records import Condition, Decision, Estimate, Finding, Run, Verdict
from probe.reports.answer import summary
from probe.reports.raced import candidates
from probe.reports.trial_sentence import would_learn

ROW = {
    "method": "sft", "won": True, "eligible": True, "accuracy": None, "ranking": 0.77, "judged": False,
    "judge": 1.0, "judge_low": 0.9, "prompts": 35, "up": 3, "down": 32, "unchanged": 0, "form_up": 21,
    "form_down": 14, "chosen_up": 3, "chosen_down": 32, "rejected_up": 0, "rejected_down": 35,
}  # fmt: skip
UNHEARD = "not judged: chosen sides would be 3 up, 32 down"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, UNHEARD),
        ({"before_neutral": 31.0, "after_neutral": 25.8}, f"{UNHEARD}; neutral perplexity 31.0 → 25.8"),
        ({"judge": 0.5, "judge_low": 0.3}, ""),
        ({"judged": True}, ""),
        ({"won": False, "eligible": False, "judged": True}, "nothing shown"),
    ],
)
def test_a_judge_that_is_not_heard_is_said_to_be(more, said):
    """Beside an accuracy of 100% two dashes alone say nothing."""
    row = {**ROW, **more}
    (cells,) = candidates(Run("train", "2026-11-28T10:00:00Z", details={"race": [row]})).rows
    assert cells[-1] == said and cells[3:5] == (("3", "32") if row["judged"] else ("–", "–"))


@pytest.mark.parametrize(
    ("ahead", "judged", "said"),
    [
        ("sft+dpo", False, "and, by the method ahead in the race, changes {what} by +100 perc"),
        ("sft+dpo", True, "and changes {what} by +38 [+19, +59] percentage points"),
        ("", False, "and changes {what} by +38 [+19, +59] percentage points"),
    ],
)
def test_the_ranking_that_is_told_is_that_which_decided(ahead, judged, said):
    """SFT then DPO was recommended, and the paragraph told the first candidate's ranking."""
    estimates = tuple(
        Estimate(name, value, low, high, 65, None, "t", units)
        for name, value, low, high, units in (
            ("trial_accuracy", 1.0, 0.93, 1.0, "share"),
            ("ranking_change", 0.38, 0.19, 0.59, "share"),
            ("ranking_change@dpo", 0.38, 0.15, 0.64, "share"),
            ("ranking_change@sft+dpo", 1.0, None, None, "share"),
        )
    )
    race = [{**ROW, "method": m, "won": m == ahead, "judged": judged} for m in ("dpo", "sft+dpo")]
    run = Run("trial", "2026-11-28T10:00:00Z", estimates=estimates, details={"race": race})
    what = "the share ranked right (ends of responses counted)"
    assert said.format(what=what) in would_learn(run)


@pytest.mark.parametrize(("row", "said"), [(ROW, "of which only 3 of 35 would count as moves up"), ({}, "")])
def test_the_sentence_of_a_trial_says_why(row, said):
    estimates = (
        Estimate("trial_accuracy", 0.9, 0.8, 0.95, 35, 0.001, "t", "share"),
        Estimate("behaviour_judge", 1.0, 0.9, 1.0, 35, 0.001, "t", "share"),
        Estimate("behaviour_up", None, None, None, 35, None, "not judged", "share"),
    )
    race = [row] if row else []
    run = Run("trial", "2026-11-28T10:00:00Z", estimates=estimates, details={"race": race})
    told = would_learn(run)
    assert said in told and ("is not judged" in told) is bool(row)


def test_the_answers_that_are_told_are_those_of_the_method_decided_on():
    """A form sends a file to SFT where the race preferred SFT then DPO: SFT's answers are told."""
    moved = (("behaviour_up", 0.9, 0.7), ("behaviour_up@sft", 0.77, 0.55))
    estimates = tuple(Estimate(name, value, low, 0.99, 31, None, "t", "share") for name, value, low in moved)
    decided = Decision("sft", ("sft",), {}, (), {})
    run = Run("gate", "2026-11-28T10:00:00Z", estimates=estimates, decision=decided)
    assert "77% [55%, 99%] went to the chosen kind" in would_learn(run)
    assert "90% [70%, 99%]" in would_learn(dataclasses.replace(run, decision=None))


@pytest.mark.parametrize(
    ("margins", "ranking", "up", "said"),
    [
        ((0.5, 0.4, 0.6), 0.0, None, "not shown to beat chance; it leaves the share ranked right as it was."),
        ((0.5, 0.4, 0.6), 0.05, None, "not shown to beat chance; it changes the share ranked right ("),
        ((0.2, 0.1, 0.3), 0.05, None, "which is worse than chance; it changes the share ranked right ("),
        ((0.9, None, None), 0.05, None, "so that nothing follows; it changes the share ranked right ("),
        ((0.9, 0.8, 1.0), 0.0, None, "of 40 unseen pairs and leaves the share ranked right as it was."),
        ((0.9, 0.8, 1.0), 0.004, None, "of 40 unseen pairs and changes the share ranked right ("),
        ((0.9, 0.8, 1.0), 0.0, (0.1, 0.0, 0.2), "; what the model writes goes the other way: of"),
        ((0.2, 0.1, 0.3), 0.0, (0.1, 0.0, 0.2), "; what the model writes goes away from the chosen kind: of"),
    ],
)  # fmt: skip
def test_each_clause_of_a_trial_has_its_own_subject(margins, ranking, up, said):
    """The share had been ranked by a clause on chance, and answers went "the other way" with the margins."""
    estimates = [
        Estimate("trial_accuracy", *margins, 40, None, "t", "share"),
        Estimate("ranking_change", ranking, None, None, 40, None, "t", "share"),
        *([Estimate("behaviour_up", *up, 30, None, "t", "share")] if up else []),
    ]
    assert said in would_learn(Run("trial", "2026-11-28T10:00:00Z", estimates=tuple(estimates)))


@pytest.mark.parametrize("groups", [("flats", "all"), ("all", "flats")])
def test_the_group_of_the_whole_set_is_never_all_in_a_sentence(groups):
    """`likewise in all` and `got worse in all` would be read as in every group."""
    found = tuple(Finding("PB215", "warning", "it ends alike", "", group=group) for group in groups)
    told = summary(Run("data", "2026-11-28T10:00:00Z", findings=found))
    other = {"all": "the whole set"}.get(groups[1], groups[1])
    assert told[0].endswith("found 1 kind of warning.") and told[1] == f"It ends alike; likewise in {other}."
    failed = tuple(Condition("gap", group, None, 0.1, "fail", "PB901") for group in groups)
    assert because(Verdict("fail", 1, failed)).count("the whole set") == 1
