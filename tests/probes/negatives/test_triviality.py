"""Surface triviality: templates and giveaways by hand, real sets where they are present."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from probe.pairs.implicit import split_shared
from probe.pairs.read import read_pairs
from probe.pairs.record import Pair, text_of
from probe.probes.negatives.classify import separate
from probe.probes.negatives.features import split_tokens, text_grams
from probe.probes.negatives.giveaways import find_giveaways, length_sentence
from probe.probes.negatives.patterns import find_templates
from probe.probes.negatives.triviality import accuracy_by_group, judge_surface, surface

SHARED = Path(__file__).parents[3].parent / "shared/data"
needs_data = pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/data here")

NOUNS = [
    "river",
    "lamp",
    "violin",
    "anchor",
    "window",
    "basil",
    "copper",
    "falcon",
    "meadow",
    "ticket",
    "ladder",
    "canyon",
    "pencil",
    "harbour",
]
VERBS = [
    "turns",
    "holds",
    "makes",
    "finds",
    "draws",
    "keeps",
    "moves",
    "lifts",
    "warms",
    "breaks",
    "cools",
    "hides",
]


def sentence(rng):
    return " ".join(f"{rng.choice(NOUNS)} {rng.choice(VERBS)} a {rng.choice(NOUNS)}." for _ in range(3))


def pairs_of(rows):
    return [Pair(str(i), *row, line=i + 1) for i, row in enumerate(rows)]


def plain_pairs(n=60, seed=0):
    rng = random.Random(seed)
    return pairs_of([(f"question {i}?", sentence(rng), sentence(rng)) for i in range(n)])


def judged(pairs, **options):
    measured = judge_surface(surface(pairs, **options))
    return measured, {finding.code: finding for finding in measured.findings}


def test_tokens_join_to_the_text():
    text = "  I can't\tverify — 3,080 = x\n"
    assert "".join(split_tokens(text)) == text
    assert "can't" in split_tokens(text)


def test_exchangeable_sides_are_not_called_trivial():
    measured, codes = judged(plain_pairs())
    assert not codes
    assert all(row["low"] < 0.65 for row in measured.details["ladder"])


def test_a_frame_around_the_chosen_text_is_quoted():
    pairs = pairs_of(
        [
            (p.prompt, p.chosen, f"Nobody can say whether {p.chosen[:40]}... That is not for me to know.")
            for p in plain_pairs()
        ]
    )
    measured, codes = judged(pairs)
    assert {"PB202", "PB213"} <= set(codes)
    assert not {"PB211", "PB212"} & set(codes)  # the frame quotes them
    assert '"Nobody can say whether ⟨copied⟩' in codes["PB213"].message
    assert "That is not for me to know." in codes["PB213"].message
    assert any("Nobody can say" in text for text in measured.details["giveaways"])


@pytest.mark.parametrize(
    ("shared", "tail", "code"),
    [(n, 0, "PB213") for n in (5, 12, 24)]
    + [(n, 40, "PB211") for n in (5, 12, 24)]
    + [(5, 3, "PB211"), (12, 3, "PB211"), (60, 3, "PB213")],
)
def test_a_response_that_goes_on_by_itself_is_no_frame(shared, tail, code):
    """Sides that share some words in a row are no frame, however alike they open: the rest is their own."""
    rng = random.Random(5)
    words = [*NOUNS, *VERBS]

    def own(n):
        return " ".join(rng.choices(words, k=n))

    pairs = [
        (str(i), f"Great question, my friend! {(same := own(shared))} {own(tail)}.", f"{same} {own(30)}.")
        for i in range(40)
    ]
    codes = judged(pairs_of(pairs), permutations=0)[1]
    assert {"PB211", "PB213"} & set(codes) == {code}


def test_a_frame_around_a_text_longer_than_what_is_aligned_is_one():
    rng = random.Random(6)
    texts = [" ".join(rng.choices(NOUNS, k=900)) for _ in range(20)]
    framed = [f"Nobody can say whether {text} is so, as far as I know." for text in texts]
    (frame,) = [t for t in find_templates(framed, texts) if t.where == "frame"]
    assert len(frame.rows) == 20
    assert frame.text == "Nobody can say whether ⟨copied⟩ is so, as far as I know."


def test_openings_and_endings_are_counted_exactly():
    """7 of 10 rejected open alike; 6 of 10 chosen end alike, but so do 6 of 10 rejected: no giveaway."""
    rng = random.Random(1)
    rejected = [
        "As an honest helper " * (i < 7) + sentence(rng) + " Hope that helps you!" * (i < 6)
        for i in range(10)
    ]
    chosen = [sentence(rng) + " Hope that helps you!" * (i < 6) for i in range(10)]
    pairs = pairs_of([(str(i), a, b) for i, (a, b) in enumerate(zip(chosen, rejected, strict=True))])
    start = next(t for t in find_templates(rejected, chosen) if t.where == "start")
    assert (start.text, len(start.rows), start.other) == ("As an honest helper ", 7, 0)
    _, codes = judged(pairs)
    assert "7 of 10 (70%) rejected responses start with" in codes["PB211"].message
    assert "PB212" not in codes


def test_a_template_of_one_group_is_found_there():
    frames = {"odd": "Of the odd it is said that ", "even": "", "third": ""}
    names = list(frames)
    pairs = [
        Pair(p.id, p.prompt, p.chosen, frames[names[i % 3]] + p.rejected, names[i % 3], line=p.line)
        for i, p in enumerate(plain_pairs())
    ]
    measured, _ = judged(pairs)
    found = {f.group: f for f in measured.findings if f.code == "PB211"}
    assert sorted(found) == ["odd"]
    assert found["odd"].message.startswith("all 20 rejected responses in odd start with")
    shares = {e.group: e.value for e in measured.estimates if e.name == "template_share"}
    assert shares["odd"] == 1
    assert shares["all"] == pytest.approx(1 / 3)


def test_a_template_of_one_group_stands_beside_one_of_the_whole_set():
    """All rejected end alike, and one group of three opens alike besides: both are told, once each."""
    names = ["odd", "even", "third"]
    frames = {"odd": "Of the odd it is said that "}
    pairs = [
        Pair(
            p.id,
            p.prompt,
            p.chosen,
            f"{frames.get(names[i % 3], '')}{p.rejected} Or so they say.",
            names[i % 3],
        )
        for i, p in enumerate(plain_pairs())
    ]
    told = {
        (f.code, f.group) for f in judged(pairs, permutations=0)[0].findings if f.code in ("PB211", "PB212")
    }
    assert told == {("PB212", "all"), ("PB211", "odd")}


def test_white_space_is_found_as_what_it_is():
    pairs = [Pair(p.id, p.prompt, " " + p.chosen, p.rejected, line=p.line) for p in plain_pairs()]
    measured, codes = judged(pairs)
    assert codes["PB203"].message == "all 60 chosen responses begin with white space (rejected: none)"
    assert measured.details["giveaways"][0].startswith("100% of chosen start with white space")


def test_length_alone_is_told_from_content():
    pairs = [Pair(p.id, p.prompt, f"{p.chosen} {p.rejected}", p.rejected, line=p.line) for p in plain_pairs()]
    _, codes = judged(pairs)
    assert codes["PB201"].estimate.name == "length_accuracy"
    assert "chosen has more characters in 100% of pairs" in codes["PB201"].message


def test_a_length_limit_tells_although_the_mean_length_points_the_other_way():
    """Rejected is a little longer in 3 of 4 pairs and far shorter in the rest: one weight on the log of the
    length follows the few."""
    rng = random.Random(3)
    rows = [("x" * rng.randint(150, 190), "x" * (199 if i % 4 else 20)) for i in range(200)]
    found = separate([text_grams(*zip(*rows, strict=True))["length"]], np.arange(200), permutations=0)
    assert found.hits.mean() > 0.95


def test_without_relabellings_an_accuracy_has_no_interval():
    """How far it can be off is read off them: an interval as of independent pairs would be too short."""
    pairs = plain_pairs(30)
    with_them, without = (judge_surface(surface(pairs, permutations=n)).estimates for n in (19, 0))
    for a, b in zip(with_them, without, strict=True):
        assert a.value == pytest.approx(b.value)
        if a.name.endswith("_accuracy"):
            assert a.low is not None and (b.low, b.high) == (None, None)


def test_exchanging_the_sides_keeps_every_accuracy():
    pairs = plain_pairs(30)
    mirrored = [Pair(p.id, p.prompt, p.rejected, p.chosen, line=p.line) for p in pairs]
    ours, theirs = surface(pairs, permutations=9), surface(mirrored, permutations=9)
    for name, separation in ours.separations.items():
        assert separation.hits.mean() == pytest.approx(theirs.separations[name].hits.mean())


def test_giveaways_are_tested_not_only_counted():
    """Four of five rejected open with a word that no chosen has: with 5 pairs that is no evidence."""
    chosen = [f"{noun} {i}" for i, noun in enumerate(NOUNS[:5])]
    rejected = ["Sadly no", "Sadly not", "Sadly never", "Sadly none", "Well"]
    assert find_giveaways(chosen, rejected) == []
    told = find_giveaways(chosen * 6, rejected * 6)
    assert told[0].sentence("good", "bad").startswith('80% of bad start with "Sadly')


def test_length_sentence_names_the_sides():
    assert length_sentence(["aaaa", "bb"], ["a", "b"], ("good", "bad")) == (
        "good has more characters in 100% of pairs"
    )


def test_groups_are_read_from_the_same_predictions():
    pairs = [
        Pair(p.id, p.prompt, p.chosen, p.rejected, "odd" if int(p.id) % 2 else "even") for p in plain_pairs()
    ]
    found = surface(pairs, permutations=9)
    rows = accuracy_by_group("surface_accuracy", found.separations["surface"], pairs, 0.05)
    assert [e.group for e in rows] == ["even", "odd"]
    assert sum(e.value * e.n for e in rows) / 60 == pytest.approx(found.separations["surface"].hits.mean())


def test_texts_without_a_common_feature_give_silent_features():
    grams = text_grams(["a", "b"], ["c", "d"])
    assert all(gram.shape == (2, 2) for gram in grams.values())
    assert not grams["words"].any()


@pytest.mark.parametrize("name", ["listing_taste_hype", "epistemic_stance"])
def test_a_trivial_set_with_its_sides_shuffled_is_at_chance(name):
    """200 shuffled copies of a set that is told apart in nearly all pairs: p ≤ α no oftener than a test of
    that level allows (99.9%). A shuffle turns the sign of its pairs' rows and columns in the Gram matrix."""
    pairs = list(read_pairs(Path(__file__).parents[3] / "pairs" / f"{name}.jsonl"))
    sides = [text_of(p.chosen) for p in pairs], [text_of(p.rejected) for p in pairs]
    gram = text_grams(*sides)["surface"]
    clusters, rng = np.arange(len(pairs)), np.random.default_rng(5)
    assert separate([gram], clusters, permutations=39).hits.mean() > 0.95
    ps, hits = [], []
    for shuffle in range(200):
        turned = rng.choice([-1.0, 1.0], size=len(pairs))
        found = separate([gram * np.outer(turned, turned)], clusters, permutations=39, seed=shuffle)
        ps.append(found.p)
        hits.append(found.hits.mean())
    for alpha in (0.05, 0.2):
        assert np.count_nonzero(np.array(ps) <= alpha) <= stats.binom.ppf(0.999, 200, alpha)
    assert abs(np.mean(hits) - 0.5) < 0.03


@needs_data
def test_templated_negatives_of_a_published_failure():
    rows = json.loads((SHARED / "epistemic_stance.json").read_text())
    _, codes = judged(pairs_of([(r["prompt"], r["chosen"], r["rejected"]) for r in rows]))
    assert codes["PB202"].severity == "error"
    assert "113 of 115 (98%)" in codes["PB213"].message


@needs_data
def test_human_preferences_are_not_trivial():
    rows = [json.loads(line) for line in (SHARED / "hh_harmless.jsonl").open()][:300]
    measured, codes = judged(pairs_of([split_shared(row["chosen"], row["rejected"]) for row in rows]))
    assert not codes
    total = next(e for e in measured.estimates if e.name == "surface_accuracy")
    assert total.high < 0.75


@needs_data
@pytest.mark.parametrize(
    ("field", "trivial"),
    [("rejected", False), ("irr_test", False), ("random_permute", True), ("chosen_gptsemantic", True)],
)
def test_ladder(field, trivial):
    rows = [json.loads(line) for line in (SHARED / "helpful_ladder.jsonl").open()]
    pairs = pairs_of([(r["prompt"], r["chosen"].strip(), r[field].strip()) for r in rows])
    assert ("PB202" in judged(pairs)[1]) is trivial
