"""A form that 60% of one side carry fails a gate, whatever its kind; the same form on both sides does not."""

import dataclasses
import random
import time
from datetime import date
from pathlib import Path

import pytest

from probe.gate.judge import JudgeSettings, judge, verdict_of
from probe.gate.states import DONE
from probe.pairs.read import read_pairs
from probe.pairs.record import Pair
from probe.probes.negatives.pattern_findings import (
    CHOSEN_REMEDY,
    REJECTED_REMEDY,
    check_templates,
    templates_of,
    widest,
)
from probe.probes.negatives.patterns import common_edge
from probe.records import Condition, Decision, Reason, Run
from probe.reports.next_step import next_command

WORDS = [f"word{i}" for i in range(300)]
KINDS = {
    "PB211": lambda text: f"As a matter of fact {text}",
    "PB212": lambda text: f"{text} That is all there is.",
    "PB213": None,  # a frame around the other side's text
    "PB214": lambda text: text.replace(" ", " you should bear in mind ", 1),
    "PB215": lambda text: text.replace(" ", "! ", 2),
    "PB216": lambda text: text.rstrip("."),
    "PB203": lambda text: f"{text}\n",
    "PB217": str.upper,
    "PB218": lambda text: text.replace(" ", "\n", 1),
}
# Further forms of those kinds, and what the finding says of them.
SPELLED = {
    "two spaces": (lambda text: text.replace(" ", "  ", 3), "PB203", "have two spaces in a row"),
    "no-break spaces": (lambda text: text.replace(" ", "\u00a0", 3), "PB203", "have no-break spaces"),
    "carriage returns": (lambda text: text.replace(" ", "\r\n", 1), "PB203", "have carriage returns"),
    "a small letter": (lambda text: text, "PB217", "begin with a small letter"),
    "letters of two alphabets": (lambda text: text.replace("or", "оr"), "PB215", 'sign "о (U+043E'),
    "a numbered list": (lambda t: f"Here:\n1. {t}\n2) {t}", "PB218", "have numbered lists"),
    "paragraphs": (lambda text: text.replace(" ", "\n\n", 1), "PB218", "have several paragraphs"),
    "a tag": (lambda text: f"{text} <b>so</b>.", "PB215", 'sign "<b>"'),
}


def made(code, share, side="rejected", both=False, n=40):
    rng = random.Random(3)
    pairs = []
    for i in range(n):
        own = {name: " ".join(rng.sample(WORDS, 12)).capitalize() + "." for name in ("chosen", "rejected")}
        other = "chosen" if side == "rejected" else "rejected"
        for name in (side, other) if both else (side,):
            if i < share * n:
                form = KINDS[code]
                own[name] = form(own[name]) if form else f"Some people say that {own[other]} is how it is."
        pairs.append(Pair(str(i), f"prompt {i}", own["chosen"], own["rejected"], line=i + 1))
    return pairs


def verdict(pairs):
    found = templates_of(pairs, ("chosen", "rejected"))
    estimates = tuple(widest(found, pairs, 0.05))
    run = Run("gate", "now", estimates=estimates, details={"probes": {"negatives": DONE}})
    conditions = judge(run, JudgeSettings(today=date(2026, 1, 1))).verdict.conditions
    result = next((c.result for c in conditions if c.name == "template_share"), None)
    return result, {f.code for f in check_templates(found, pairs, 0.05)}


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("code", KINDS)
def test_a_form_of_most_of_one_side_fails(code, side):
    result, codes = verdict(made(code, 0.6, side))
    assert result == "fail" and code in codes
    result, codes = verdict(made(code, 0.3, side))
    assert result in ("pass", None) and not codes


@pytest.mark.parametrize("code", KINDS)
def test_a_form_of_half_of_one_side_is_not_of_most(code):
    """The condition allows a half, so the finding that says "most" does not stand beside it."""
    result, codes = verdict(made(code, 0.5))
    assert result in ("pass", None) and not codes


@pytest.mark.parametrize("code", [code for code in KINDS if KINDS[code]])
def test_a_form_of_both_sides_tells_nothing(code):
    result, codes = verdict(made(code, 0.6, both=True))
    assert result in ("pass", None) and not codes


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("code", KINDS)
def test_new_negatives_are_advised_only_where_the_rejected_side_has_the_form(code, side):
    """`probe sample` writes rejected answers: what most chosen ones have in common stays."""
    pairs = made(code, 0.7, side)
    found = templates_of(pairs, ("good", "bad"))
    share, *_ = widest(found, pairs, 0.05)
    remedies = {f.remedy for f in check_templates(found, pairs, 0.05) if f.code == code}
    stripped = code == "PB203"  # no new answer takes it out
    assert stripped or remedies == {CHOSEN_REMEDY if side == "chosen" else REJECTED_REMEDY}
    inputs = {"pairs": {"path": "a.jsonl", "n": 40}, "sides": ["good", "bad"]}
    failed = Condition("template_share", "all", share, 0.5, "fail", code)
    reasons = (Reason(code, "why", "x"),)
    run = Run(
        "gate", "now", verdict=verdict_of([failed], "fail"), inputs=inputs,
        decision=Decision("do-not-train", (), {}, reasons),
    )  # fmt: skip
    checked = Run("data", "now", inputs=inputs, findings=tuple(check_templates(found, pairs, 0.05))[:1])
    for one, told in ((run, code), (checked, checked.findings[0].code)):
        sampled = side == "rejected" and not stripped
        assert next_command(one) == ("probe sample a.jsonl" if sampled else f"probe explain {told}")
    alone = dataclasses.replace(checked, command="negatives")
    assert next_command(alone) == next_command(checked)


@pytest.mark.parametrize("place", ["{} ", "\n{}"])
def test_white_space_is_told_as_itself_and_blamed_on_no_words(place):
    """Half of each side ended alike; a line break behind all chosen ones had made their words a form."""
    pairs = []
    for i, pair in enumerate(made("PB211", 0.0)):
        tail = " Hope that helps you." if i % 2 else ""
        pairs.append(
            dataclasses.replace(pair, chosen=place.format(pair.chosen + tail), rejected=pair.rejected + tail)
        )
    found = list(check_templates(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05))
    assert [f.code for f in found] == ["PB203"]
    where = "end" if place[0] == "{" else "begin"
    assert found[0].message == f"all 40 chosen responses {where} with white space (rejected: none)"


OPENINGS = (
    "To be quite clear ",
    "As everyone knows by now, ",
    "Let me tell you that ",
    "It is often said that ",
)
FRAMES = tuple((opening, f" {ending}") for opening, ending in zip(OPENINGS, "abcd", strict=True))


def of_several(kinds, share, side="rejected", framed=False, n=60):
    """Pairs of which `share` have one of `kinds` openings, or of frames around the other side's text."""
    pairs = []
    for i, pair in enumerate(made("PB211", 0.0, n=n)):
        other = pair.chosen if side == "rejected" else pair.rejected
        own = pair.rejected if side == "rejected" else pair.chosen
        if i < share * n:
            before, after = FRAMES[i % kinds]
            own = f"{before}{other}{after}." if framed else f"{before}{own}"
        both = (pair.chosen, own) if side == "rejected" else (own, pair.rejected)
        pairs.append(Pair(pair.id, pair.prompt, *both, line=pair.line))
    return pairs


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("kinds", [2, 3, 4])
def test_several_forms_of_one_side_count_together(kinds, side, framed):
    """Rules have more than one template: no single one has half of the side, all together have it."""
    result, codes = verdict(of_several(kinds, 0.9, side, framed))
    assert result == "fail" and ("PB213" if framed else "PB211") in codes
    result, codes = verdict(of_several(kinds, 0.3, side, framed))
    assert result == "pass" and not {"PB211", "PB213"} & codes


def test_a_finding_of_several_forms_quotes_each_and_counts_their_pairs():
    pairs = of_several(3, 1.0, framed=True)
    found = [
        f
        for f in check_templates(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05)
        if f.code == "PB213"
    ]
    assert [
        f.message.startswith("all 60 rejected responses are the other side's text in a frame: ")
        for f in found
    ] == [True]
    assert all(opening.strip() in found[0].message for opening in OPENINGS[:3])
    assert found[0].estimate.value == 1.0


def test_openings_that_both_sides_have_are_no_form_however_many():
    rng = random.Random(4)
    pairs = [
        Pair(p.id, p.prompt, rng.choice(OPENINGS) + p.chosen, rng.choice(OPENINGS) + p.rejected, line=p.line)
        for p in made("PB211", 0.0, n=80)
    ]
    result, codes = verdict(pairs)
    assert result in (None, "pass") and codes == set()


def test_many_rare_openings_are_no_form():
    """A tenth each of ten openings: a side that varies is no template."""
    pairs = [
        Pair(p.id, p.prompt, p.chosen, f"{'ABCDEFGHIJ'[i % 10]} comes first {p.rejected}", line=p.line)
        for i, p in enumerate(made("PB211", 0.0, n=100))
    ]
    result, codes = verdict(pairs)
    assert "PB211" not in codes and result == "pass"


@pytest.mark.parametrize("side", ["chosen", "rejected"])
@pytest.mark.parametrize("opener", ["Certainly, ", "As usual: ", "Well… ", "¡Claro! ", "当然，"])
def test_an_interjection_of_one_side_is_a_form(opener, side):
    """One or two words that a sign sets off: too few for an opening of three words, and as easy to learn."""
    pairs = [
        Pair(
            p.id,
            p.prompt,
            opener + p.chosen if side == "chosen" and i % 5 < 3 else p.chosen,
            opener + p.rejected if side == "rejected" and i % 5 < 3 else p.rejected,
            line=p.line,
        )
        for i, p in enumerate(made("PB211", 0.0, n=60))
    ]
    result, codes = verdict(pairs)
    assert result == "fail" and "PB211" in codes


def test_answers_that_open_with_yes_and_no_are_no_form():
    pairs = [
        Pair(p.id, p.prompt, f"No, {p.chosen}", f"Yes, {p.rejected}", line=p.line)
        for p in made("PB211", 0.0, n=60)
    ]
    result, codes = verdict(pairs)
    assert result in (None, "pass") and codes == set()


@pytest.mark.parametrize("names", [("Response A:", "Response B:"), ("Model 1:", "Model 2:")])
def test_openings_that_name_the_sides_are_a_form(names):
    pairs = [
        Pair(p.id, p.prompt, f"{names[0]} {p.chosen}", f"{names[1]} {p.rejected}", line=p.line)
        for p in made("PB211", 0.0, n=60)
    ]
    result, codes = verdict(pairs)
    assert result == "fail" and "PB211" in codes


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_several_endings_of_one_side_count_together(side):
    endings = (" That is all there is.", " Ask me for more any time.", " I hope this helps you.")
    pairs = [
        Pair(
            p.id,
            p.prompt,
            p.chosen + (endings[i % 3] if side == "chosen" else ""),
            p.rejected + (endings[i % 3] if side == "rejected" else ""),
            line=p.line,
        )
        for i, p in enumerate(made("PB211", 0.0, n=60))
    ]
    result, codes = verdict(pairs)
    assert result == "fail" and "PB212" in codes


SHARED = Path(__file__).parents[3].parent / "shared/data"
NATURAL = ("sets/gsm8k_models", "sets/llmbar", "sets/pandalm_human", "hh_harmless", "helpful_ladder")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data beside the checkout")
@pytest.mark.parametrize("name", NATURAL)
def test_what_people_and_models_wrote_has_no_form(name):
    pairs = list(read_pairs(SHARED / f"{name}.jsonl", lenient=True))[:300]
    result, codes = verdict(pairs)
    assert result in (None, "pass") and codes == set()


SHORT = {
    "PB211": (lambda text: f"Sorry {text}", lambda text: f"Sorry but {text}", lambda text: f"Sorry, {text}"),
    "PB212": (
        lambda text: f"{text[:-1]} bad.", lambda text: f"{text[:-1]} is bad.",
        lambda text: f"{text[:-1]} very bad indeed.",
    ),
}  # fmt: skip


def formed(form, share=1.0, other=None, n=40):
    """Pairs of which `share` of the rejected sides have a form; the chosen sides have `other`."""
    pairs = []
    for i, pair in enumerate(made("PB211", 0.0, n=n)):
        sides = (other(pair.chosen) if other else pair.chosen), pair.rejected
        pairs.append(
            Pair(pair.id, pair.prompt, sides[0], form(sides[1]) if i < share * n else sides[1], line=i + 1)
        )
    return pairs


@pytest.mark.parametrize(("code", "place"), [(code, i) for code in SHORT for i in range(3)])
def test_a_form_is_as_wide_as_it_is_however_few_its_words(code, place):
    pairs = formed(SHORT[code][place])
    (share, *_), (result, codes) = widest(templates_of(pairs, ("a", "b")), pairs, 0.05), verdict(pairs)
    assert share.value == 1.0 and result == "fail" and code in codes


@pytest.mark.parametrize("code", SHORT)
@pytest.mark.parametrize("place", [0, 1])
def test_few_words_that_both_sides_or_few_answers_have_are_no_form(code, place):
    form = SHORT[code][place]
    own = {"PB211": lambda text: f"Yes {text}", "PB212": lambda text: f"{text[:-1]} good."}[code]
    for pairs in (formed(form, other=form), formed(form, 0.3), formed(form, other=own), formed(form, n=8)):
        result, codes = verdict(pairs)
        assert result in ("pass", None, "inconclusive") and code not in codes


@pytest.mark.parametrize("name", SPELLED)
def test_a_form_is_called_by_its_name(name):
    form, code, told = SPELLED[name]
    rng = random.Random(4)
    rows = [[f"Word {' '.join(rng.sample(WORDS, 12))}." for _ in range(2)] for _ in range(40)]
    small = name == "a small letter"
    pairs = [
        Pair(str(i), f"prompt {i}", chosen, form(other.replace("Word ", "") if small else other), line=i + 1)
        for i, (chosen, other) in enumerate(rows)
    ]
    found = check_templates(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05)
    assert [told in f.message and "(chosen: none)" in f.message for f in found if f.code == code] == [True]


@pytest.mark.parametrize(
    ("openers", "answers", "told"),
    [
        (
            ("Sure", "Certainly"),
            ("However", "Otherwise"),
            'start with "Sure," or "Certainly," (rejected: none)',
        ),
        (("Sure", "Certainly", "Absolutely", "Well"), (), "or 1 more (rejected: none)"),
        (("Yes", "Right"), ("No", "Wrong"), ""),
    ],
)
def test_short_openers_count_together_and_only_their_own(openers, answers, told):
    """The other side's openings count where they are of that kind, never as this text."""
    rng = random.Random(5)
    texts = [f"{' '.join(rng.sample(WORDS, 12))}." for _ in range(80)]
    chosen = [f"{openers[i % len(openers)]}, {text}" for i, text in enumerate(texts[:40])]
    few = 40 if told == "" else 6
    rejected = [
        f"{answers[i % len(answers)]}, {text}" if answers and i < few else text.capitalize()
        for i, text in enumerate(texts[40:])
    ]
    pairs = [
        Pair(str(i), f"prompt {i}", a, b, line=i + 1)
        for i, (a, b) in enumerate(zip(chosen, rejected, strict=True))
    ]
    found = list(check_templates(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05))
    openings = [f.message for f in found if f.code == "PB211"]
    assert (len(openings) == 1 and told in openings[0]) if told else openings == []


@pytest.mark.parametrize("answer", ["x = 1  # the first", "| a   | b   |", "name    value"])
def test_aligned_code_and_tables_are_no_double_spaces(answer):
    rng = random.Random(6)
    words = [" ".join(rng.sample(WORDS, 6)) for _ in range(40)]
    pairs = [Pair(str(i), f"p {i}", f"{text}\n{answer}", f"{text[::-1]}.") for i, text in enumerate(words)]
    found = check_templates(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05)
    assert "PB203" not in {f.code for f in found}


def test_a_form_is_not_hidden_by_one_that_both_sides_have():
    """All chosen responses have lines, as 60 of 100 rejected ones; numbered lists tell the sides apart."""
    pairs = []
    for i, pair in enumerate(made("PB211", 0.0, n=100)):
        chosen = f"1. {pair.chosen}\n2. So." if i < 55 else f"{pair.chosen}\nSo."
        rejected = f"1. {pair.rejected}\n2. So." if i < 20 else pair.rejected
        rejected = f"{pair.rejected}\nSo." if 20 <= i < 60 else rejected
        pairs.append(dataclasses.replace(pair, chosen=chosen, rejected=rejected))
    found = templates_of(pairs, ("chosen", "rejected"))
    told = [f.message for f in check_templates(found, pairs, 0.05) if f.code == "PB218"]
    assert told == ["55 of 100 (55%) chosen responses have numbered lists (rejected: 20 of 100 (20%))"]
    assert next(widest(found, pairs, 0.05)).value == 0.55


@pytest.mark.parametrize(
    ("text", "capitals"), [("检测 DNA 的结果很好，请看", False), ("THE RESULT IS GOOD", True)]
)
def test_a_script_without_case_is_not_in_capitals(text, capitals):
    pairs = [dataclasses.replace(pair, chosen=f"{text}{i}") for i, pair in enumerate(made("PB211", 0.0))]
    codes = {f.code for f in check_templates(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05)}
    assert ("PB217" in codes) is capitals


def test_a_long_shared_opening_is_found_in_one_pass_over_it():
    """It was cut out of every response anew for each token: two equal answers of 2,000 words took minutes."""
    opening = " ".join(f"w{i}" for i in range(20_000))
    before = time.perf_counter()
    text, rows = common_edge([f"{opening} {i}" for i in range(8)] + ["else"], "start")
    assert text.strip() == opening and rows == tuple(range(8))
    assert time.perf_counter() - before < 10


ANSWERS = {
    "a sentence": ("The statement is true.", "The statement is false."),
    "JSON": ('{"label": "safe", "sure": 1}', '{"label": "unsafe", "sure": 1}'),
    "a name": ("Response A is better.", "Response B is better."),
    "of other lengths": ("I can't help with that.", "Sure!"),
    "at the end": ("", " So it is possible.", " So it is out of the question."),
}


def answered(kind, share, n=60):
    """Pairs whose chosen side gives the first answer in this share, and the second in the others."""
    rng, pairs = random.Random(5), []
    *first, last = ANSWERS[kind]
    for i in range(n):
        told = (first[-1], last) if i < share * n else (last, first[-1])
        texts = [" ".join(rng.sample(WORDS, 12)).capitalize() + "." for _ in told]
        whole = [f"{t}{a}" if first[1:] else f"{a} {t}" for a, t in zip(told, texts, strict=True)]
        pairs.append(Pair(str(i), f"Question {i}?", *whole, line=i + 1))
    return pairs


def told_of(pairs):
    return {found.code for found in check_templates(templates_of(pairs, ("chosen", "rejected")), pairs, 0.05)}


@pytest.mark.parametrize("share", [0.7, 0.85])
@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_right_in_some_pairs_is_no_form(kind, share):
    assert told_of(answered(kind, share)) == set()


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_nearly_always_right_is_one(kind):
    assert told_of(answered(kind, 0.97))


def test_a_form_that_some_of_the_other_side_have_by_chance_is_one():
    rows = made("PB211", 0.8)
    chance = [
        dataclasses.replace(p, chosen=KINDS["PB211"](p.chosen)) if i >= 34 else p for i, p in enumerate(rows)
    ]
    assert "PB211" in told_of(chance)
