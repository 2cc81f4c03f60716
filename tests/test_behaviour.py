"""Behaviour: a judge that sees what it was taught and says when it sees nothing; an exact test of moves."""

import numpy as np
import pytest

from probe.probes.trial.judge import ranking_change
from probe.probes.trial.passes import Pass
from probe.probes.trial.race import RacedMethod, race
from probe.stats import behaviour as of_behaviour
from probe.stats.behaviour import CutResponse, Half, Judge, behaviour, form_of, judge_accuracy
from probe.stats.scripts import WORD, parting
from probe.stats.statistics import share_clustered

WORDS = [f"w{i}" for i in range(40)]


def write(words, ended=True):
    text = " ".join(words)
    return CutResponse(text, ended, tuple(hash(word) % 10**6 for word in words))


def texts(rng, n, mark, share=1.0):
    return [write([*rng.choice(WORDS, 5), *([mark] if rng.random() < share else [])]) for _ in range(n)]


def half(rng, n=40, mark=("kind", "rude"), before=None, after=None):
    """`n` pairs to fit on and `n` unseen ones; a prompt's sample gains what `after` adds to `before`."""
    base = [[write(rng.choice(WORDS, 5))] for _ in range(n)] if before is None else before
    moved = [[write([*one.text.split(), *after(i)]) for one in some] for i, some in enumerate(base)]
    sides = [texts(rng, n, mark[k % 2]) for k in range(4)]
    prompts = [str(i) for i in range(n)]
    return Half(*sides, prompts, base, moved, prompts)


def values(found):
    return {estimate.name: estimate for estimate in found.estimates}


def test_moves_to_the_chosen_kind_are_counted_by_prompt():
    rng = np.random.default_rng(0)
    found = behaviour([half(rng, after=lambda i: ["kind"] if i < 20 else ["rude"] if i < 25 else [])])
    assert found.judged and (found.row["up"], found.row["down"], found.row["unchanged"]) == (20, 5, 15)
    up = values(found)["behaviour_up"]
    assert up.value == 0.8 and up.n == 25 and up.p == pytest.approx(0.00408, rel=0.02)
    assert values(found)["behaviour_unchanged"].value == 15 / 40


def test_a_judge_at_chance_judges_nothing():
    rng = np.random.default_rng(1)
    found = behaviour([half(rng, mark=("same", "same"), after=lambda i: ["kind"])])
    assert not found.judged and values(found)["behaviour_up"].value is None
    assert "not judged" in values(found)["behaviour_up"].method


def test_form_is_told_apart_from_content():
    """Chosen writings are short and nothing else: the form judge sees it."""
    rng = np.random.default_rng(2)
    chosen, rejected = ([write(rng.choice(WORDS, k)) for _ in range(60)] for k in (3, 12))
    short, long = ([write(rng.choice(WORDS, k)) for _ in range(30)] for k in (3, 12))
    judge = Judge(chosen, rejected, "form")
    assert (judge.scores(short) > judge.scores(long)).mean() > 0.95
    assert form_of(long)["words"] == 12


def test_lists_and_repetition_are_counted():
    listed = CutResponse("- one\n- two", True, (1, 2, 3))
    same = CutResponse("a a a a a", False, (7, 7, 7, 7, 7))
    found = form_of([listed, same])
    assert found["lists"] == 0.5 and found["ended"] == 0.5 and found["repetition"] == pytest.approx(2 / 4)


def test_no_prompt_is_an_error_not_a_zero():
    with pytest.raises(ValueError, match="no prompt"):
        behaviour([])


def candidate(method, cost, halves, right=60):
    n = 80
    margins = np.where(np.arange(n) < right, 1.0, -1.0)
    unseen = Pass(
        margins, margins / 9, margins * 0, margins * 0 + 1, [str(i) for i in range(n)], range(n), margins * 0
    )
    return RacedMethod(method, cost, [8], unseen, halves)


def raced(*added):
    """Candidates of rising cost whose samples gain what is given, on the same prompts by the same judge."""
    made = []
    for k, after in enumerate(added):
        rng = np.random.default_rng(3)
        made.append(candidate(("sft", "dpo", "sft+dpo")[k], k + 1, [half(rng, n=60, after=after)]))
    return {row["method"]: row for row in race(made).details["race"]}


def test_the_cheaper_wins_unless_the_dearer_is_better_beyond_noise():
    few, most = (lambda i: ["kind"] if i < 30 else []), (lambda i: ["kind"] if i < 55 else [])
    same = raced(few, few, few)
    assert same["sft"]["won"] and not same["sft+dpo"]["won"] and same["sft+dpo"]["eligible"]
    assert raced(few, few, most)["sft+dpo"]["won"]
    little_more = lambda i: ["kind"] if i < 33 else []  # noqa: E731
    assert raced(few, few, little_more)["sft"]["won"]


def test_a_candidate_that_moves_away_never_wins():
    rows = raced(lambda i: ["rude"], lambda i: ["kind"])
    assert not rows["sft"]["eligible"] and rows["dpo"]["won"]


def test_margins_do_not_make_a_candidate_eligible_whose_judged_samples_stay():
    """All three rank pairs right; the dearest alone moves samples, so no cheaper one stands in its way."""
    rows = raced(lambda i: [], lambda i: ["kind"] if i % 2 else ["rude"], lambda i: ["kind"])
    assert [rows[m]["eligible"] for m in ("sft", "dpo", "sft+dpo")] == [False, False, True]
    assert rows["sft+dpo"]["won"]


def test_without_a_judge_margins_speak_for_what_compares_sides():
    made = []
    for method, cost in (("sft", 1), ("dpo", 2)):
        rng = np.random.default_rng(4)
        made.append(candidate(method, cost, [half(rng, mark=("x", "x"), after=lambda i: ["y"])]))
    rows = {row["method"]: row for row in race(made).details["race"]}
    assert not rows["sft"]["judged"]
    # Margins from gaps of 0 are ranking too: both are shown, and the cheaper one is taken.
    assert rows["sft"]["won"] and rows["dpo"]["eligible"]


def test_a_move_is_the_change_and_not_where_it_ends():
    """Samples that were between the kinds and then of the chosen one moved up by as much as they changed."""
    rng = np.random.default_rng(5)
    kind = [[write([*rng.choice(WORDS, 9), "kind"])] for _ in range(40)]
    found = behaviour([half(rng, before=kind, after=lambda i: ["rude"])])
    assert found.judged and (found.row["up"], found.row["down"]) == (0, 40)


def of_state(rng, n, state):
    """Writings whose one state is about `state`; their words say nothing."""
    return [
        CutResponse("x", True, (int(rng.integers(10**6)),), np.array([state + 0.1 * rng.normal()]))
        for _ in range(n)
    ]


@pytest.mark.parametrize(("start", "heard"), [(-5.0, True), (0.0, True), (5.0, False)])
def test_samples_beyond_the_chosen_sides_are_not_judged(start, heard):
    """Training writes the chosen sides themselves: from beyond them that would be a move down."""
    rng = np.random.default_rng(7)
    sides = [of_state(rng, 40, state) for state in (1.0, -1.0, 1.0, -1.0)]
    before, after = ([[one] for one in of_state(rng, 40, state)] for state in (start, 1.0))
    prompts = [str(i) for i in range(40)]
    made = Half(*sides, prompts, before, after, prompts)
    found = behaviour([made])
    up = values(found)["behaviour_up"]
    assert values(found)["behaviour_judge"].value == 1.0 and found.judged is heard
    assert found.row["chosen_up"] == found.row["up"] == (40 if heard else 0)
    assert up.value == (1.0 if heard else None)
    assert heard or "the chosen sides themselves are 0 moves up and 40 down" in up.method
    rows = [candidate("sft", 1, [made]), candidate("dpo", 2, [made], right=10)]
    raced = {row["method"]: row["eligible"] for row in race(rows).details["race"]}
    assert raced == {"sft": True, "dpo": heard}  # by ranking where it is not heard


def test_a_sample_is_held_against_the_sides_of_its_own_prompt():
    """Sides without a sample and samples without a pair are left out; a prompt's first pair counts."""
    rng = np.random.default_rng(8)
    sides = [of_state(rng, 3, state) for state in (1.0, -1.0)]
    judge = Judge(*[of_state(rng, 20, state) for state in (1.0, -1.0)])
    before = [[one] for one in of_state(rng, 3, 0.0)]
    made = Half([], [], *sides, ["a", "b", "a"], before, before, ["b", "c", "a"])
    first = [sides[0][0], sides[1][1], sides[1][2]]
    assert of_behaviour.ideal_moves(judge, made, first) == of_behaviour.Moves(1, 1, 0)


def test_two_halves_that_judge_each_other_count_as_one_in_the_judges_accuracy():
    rng = np.random.default_rng(6)
    both = [half(rng, n=30, after=lambda i: []) for _ in range(2)]
    for some, spread in ((both[:1], 1.0), (both, 2.0)):
        judges = [Judge(one.train_chosen, one.train_rejected) for one in some]
        hits = [
            float(judge.scores([c])[0] > judge.scores([r])[0])
            for judge, one in zip(judges, some, strict=True)
            for c, r in zip(one.chosen, one.rejected, strict=True)
        ]
        prompts = [p for one in some for p in one.pair_prompts]
        expected = share_clustered(hits, prompts, name="x", spread=spread)
        found = judge_accuracy(judges, some, 0.05)
        assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)


def test_form_sees_the_first_words_each_once_and_marks_that_are_no_letters():
    words = of_behaviour._form_words(WORD.findall, "One, two three four.")
    assert list(words) == ["One", "One ,", "One , two"]
    numbers = of_behaviour._form_numbers(CutResponse("- a b!\nc d", True, (1, 2, 3)))
    assert numbers.tolist() == pytest.approx([np.log1p(3), 1, np.log1p(1), np.log1p(1), 2 / 10])


def test_the_commonest_first_word_is_that_of_the_texts():
    told = [CutResponse(text, True, (1,)) for text in ("One way", "One more", "Two ways", "")]
    assert form_of(told)["first_word"] == 2 / 4 and form_of([])["first_word"] == 0


SCRIPTS = {
    "Chinese": ("好", "坏", ["我们", "今天", "看到", "这个", "东西", "很大", "他们", "昨天"]),
    "Thai": ("ดี", "แย่", ["บ้าน", "วันนี้", "เห็น", "ของ", "ใหญ่", "เขา", "เมื่อ", "วาน"]),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_judge_reads_scripts_that_are_written_without_spaces(script):
    """One word of a line tells the sides apart; a line is not one word."""
    kind, rude, words = SCRIPTS[script]
    rng = np.random.default_rng(5)

    def lines(mark, n=60):
        rows = ["".join([*rng.choice(words, 3), mark, *rng.choice(words, 2)]) for _ in range(n)]
        return [CutResponse(row, True, (1,)) for row in rows]

    judge = Judge(lines(kind), lines(rude))
    assert (judge.scores(lines(kind)) > judge.scores(lines(rude))).mean() > 0.9
    assert form_of(lines(kind, 4))["words"] < 12


def test_words_of_a_script_with_spaces_are_the_ones_that_they_were():
    """What the stored outcomes were judged by: only a text that `WORD` cuts wrongly is parted otherwise."""
    plain = ["Don't — it's 3.5% of a naïve café.", "- one\n- two", "한국어 문장, да"]
    assert parting(plain) == WORD.findall
    assert parting([*plain, "हिन्दी में"]) is not WORD.findall
    assert parting(["हिन्दी में"])("हिन्दी में") == ["हिन्दी", "में"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_interval_of_a_change_of_ranking_ends_at_all_pairs(sign):
    """Two halves as one widen it, and more than all pairs cannot be turned."""
    gaps = -sign * np.where(np.arange(20) < 18, 1.0, -1.0)
    turned = Pass(gaps, -2 * gaps, gaps, gaps * 0, [str(i) for i in range(20)], range(20), gaps, folds=2)
    found = ranking_change(turned, 0.01)
    assert found.value == pytest.approx(sign * 0.8) and found.low >= -1.0 and found.high <= 1.0
    assert 1.0 in (found.high, -found.low) and found.low < found.value < found.high
