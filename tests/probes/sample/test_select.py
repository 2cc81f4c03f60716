"""Candidates to rejected sides: cut, kept by rules, picked, all worked by hand."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from probe.errors import ProbeError
from probe.pairs.prompts import in_form_of, read_prompts
from probe.probes.sample.journal import append, read_journal
from probe.probes.sample.select import (
    SampledResponse,
    Selection,
    candidate_measure,
    contrast,
    cut_to,
    keep,
    mostly_dropped,
    parse_rules,
    picked,
    without_pair,
)


def candidate(text, temperature=0.7, draw=0, line=1, ended=True, gap=None):
    return SampledResponse(line, text, temperature, draw, 0, ended, gap=gap)


def test_contrast_counts_words_in_order():
    """Four and four words, three in common: the insertion-deletion distance is 2 of 8, so 1 − 6/8."""
    assert contrast("a b c d", "a b c x") == pytest.approx(0.25)
    assert contrast("A  b", "a b") == 0 and contrast("a", "b") == 1


def test_measures_by_hand():
    assert candidate_measure("length-ratio", candidate("a b"), "a b c d e f") == 3
    assert candidate_measure("length-ratio", candidate("a b c d e f"), "a b") == 3
    assert candidate_measure("gap", candidate("a", gap=-0.5), "b") == -0.5


@pytest.mark.parametrize(
    ("words", "text", "cut"),
    [
        (2, "One two.", True),
        (4, "One two. Three four!", True),
        (99, "One two. Three four! Five six seven", False),
    ],
)
def test_an_answer_is_cut_at_the_sentence_nearest_to_the_length_asked(words, text, cut):
    whole = candidate("One two. Three four! Five six seven")
    found = cut_to(whole, words)
    assert (found.text, found.cut) == (text, cut)
    assert cut_to(replace(whole, ended=False), 99).text == "One two. Three four!"


def test_an_answer_without_an_end_is_empty_and_a_point_within_a_number_is_none():
    assert cut_to(candidate("It is 3.5 and so", ended=False), 3).text == ""
    assert cut_to(candidate("It is 3.5 and so. On", ended=False), 3).text == "It is 3.5 and so."
    assert cut_to(candidate("- first\n- second\n- thi", ended=False), 4).text == "- first\n- second"


def test_what_is_dropped_is_counted_by_its_reason():
    chosen = {1: "the good answer is here", 2: "yes"}
    drawn = [
        candidate("quite another reply to it"),
        candidate("quite another reply to it", 1.0),
        candidate("the good answer is here"),
        candidate(""),
        candidate("no no no no", line=2),
        candidate("no", line=2),
    ]
    kept = keep(drawn, chosen, parse_rules(["contrast>=0.2", "length-ratio<=2"]))
    assert {line: [c.text for c in found] for line, found in kept.by_line.items()} == {
        1: ["quite another reply to it"],
        2: ["no"],
    }
    assert kept.dropped == {
        "near-duplicate": 1, "not contrast>=0.2": 1, "no finished sentence": 1, "not length-ratio<=2": 1,
    }  # fmt: skip
    assert mostly_dropped(kept).code == "PB912"


def test_a_gap_rule_drops_what_is_as_good_as_the_chosen():
    drawn = [candidate("some reply", gap=0.5), candidate("an unlike one", gap=-0.2)]
    kept = keep(drawn, {1: "the chosen words"}, parse_rules(["gap > 0"]))
    assert [c.gap for c in kept.by_line[1]] == [0.5]


def test_default_is_the_coldest_and_worst_shares_fewest_words():
    kept = [candidate("a b c x", 1.0), candidate("a b x y", 0.1, 1), candidate("p q r s", 0.7)]
    assert picked(kept, "a b c d", "default") == [kept[1]]
    assert picked(kept, "a b c d", "worst") == [kept[2]]
    assert picked(kept, "a b c d", "all") == kept and picked([], "a", "default") == []


@pytest.mark.parametrize("text", ["contrast", "contrast=0.2", "words>=1", "gap>=x", ">=1"])
def test_what_is_no_rule_is_told(text):
    with pytest.raises(ProbeError, match="--keep-if"):
        parse_rules([text])


def test_prompts_may_lack_either_answer(tmp_path):
    rows = [
        {"prompt": "Why?"},
        {"prompt": "How?", "chosen": "So.", "source": "here"},
        {"prompt": [{"role": "user", "content": "Hi"}]},
        {"prompt": "What?", "chosen": "A", "rejected": "B", "id": "q"},
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = read_prompts(path)
    assert [(p.chosen, p.rejected) for p in pairs[:2]] == [("", ""), ("So.", "So.")]
    assert pairs[1].meta == {"source": "here"} and pairs[3].rejected == "B" and pairs[3].id == "q"
    assert in_form_of(pairs[2].chosen, "yes") == [{"role": "assistant", "content": "yes"}]


def test_a_row_without_a_prompt_and_a_taken_id_are_told_with_their_line(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "Why?"}\n{"chosen": "So."}\n')
    with pytest.raises(ProbeError, match=r"p\.jsonl:2: no prompt"):
        read_prompts(path)
    path.write_text('{"prompt": "Why?", "id": "a"}\n{"prompt": "How?", "id": "a"}\n')
    with pytest.raises(ProbeError, match=r"p\.jsonl:2: id"):
        read_prompts(path)


def test_prompts_without_a_pair_are_named_by_line():
    assert without_pair([], 4) is None
    assert without_pair([3, 9], 4).lines == (3, 9)


@pytest.mark.parametrize(
    ("most", "advice"),
    [
        ("no finished sentence", "--tokens"),
        ("near-duplicate", "--temperatures"),
        ("not contrast>=0.2", "--keep-if 'contrast>=0.2'"),
    ],
)
def test_the_advice_is_of_the_reason_that_dropped_most(most, advice):
    dropped = Counter({most: 9, "not gap<=0.1": 2})
    assert advice in without_pair([3], 4, dropped).remedy
    assert advice in mostly_dropped(Selection({}, dropped)).remedy


def test_a_journal_gives_back_what_was_written(tmp_path):
    """Signs that end a line for Python and not for JSON are part of an answer."""
    path, head = tmp_path / "a.candidates.jsonl", {"model": "m"}
    drawn = [
        SampledResponse(1, f"one{sign}two", 0.1, k, 3, True)
        for k, sign in enumerate("\u2028\u2029\x85\x0b\r\n")
    ]
    append(path, drawn, head)
    assert read_journal(path, head) == drawn
    path.write_text("[1]\n")
    with pytest.raises(ProbeError, match="not candidates of `probe sample`"):
        read_journal(path, head)


@pytest.mark.parametrize("rules", [[], ["length-ratio<=2"], ["contrast>=0"], ["gap<=0"]], ids=str)
def test_the_chosen_answer_itself_is_no_rejected_side(rules):
    """Rules without contrast let it through: a pair of two equal sides was written."""
    drawn = [candidate(" Yes, it does.\n", gap=0.0), candidate("No, never.", draw=1, gap=-1.0)]
    kept = keep(drawn, {1: "Yes, it does."}, parse_rules(rules))
    assert [c.text for c in kept.by_line[1]] == ["No, never."]
    assert kept.dropped["the chosen answer itself"] == 1
    assert "Raise --temperatures" in without_pair([1], 1, kept.dropped).remedy
