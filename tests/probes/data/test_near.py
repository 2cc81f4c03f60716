"""Word hashes against Python's own words, and MinHash against the exact Jaccard similarity."""

from __future__ import annotations

import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Indel

from probe.probes.data.columns import contrasts, misread
from probe.probes.data.near import bands, confirmed, jaccard, near_candidates, with_mates, word_sets
from probe.probes.data.words import hash_words, shared_at_most

ascii_texts = st.text(st.characters(max_codepoint=0x7F), max_size=40)
european = st.text(st.characters(max_codepoint=0x2FF, blacklist_characters="\x85\xa0\xad"), max_size=30)


def split(text: str) -> list[str]:
    """Words as `words.py` says: parted by white space (or other control characters), folded, NFKC."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return "".join(c if c > " " else " " for c in folded).split(" ")


@given(st.lists(ascii_texts | european, min_size=1, max_size=6))
def test_words_are_those_of_python(texts: list[str]) -> None:
    words = hash_words(texts)
    wanted = [[word for word in split(text) if word] for text in texts]
    assert words.counts.tolist() == [len(row) for row in wanted]
    ids: dict[int, str] = {}
    for number, word in zip(words.hashes.tolist(), [w for row in wanted for w in row], strict=True):
        assert ids.setdefault(number, word) == word
    assert len(set(ids.values())) == len(ids)  # equal words have equal hashes, others do not
    keys = words.keys().tolist()
    for i, row in enumerate(wanted):
        for j, other in enumerate(wanted):
            assert (keys[i] == keys[j]) == (row == other)


def test_prefix_keys_by_hand() -> None:
    words = hash_words(["a b c", "a b", "x"])
    assert words.prefix_keys(np.array([2, 2, 0])).tolist()[0] == words.keys().tolist()[1]
    assert words.prefix_keys(np.array([2, 2, 0])).tolist()[2] == 0


def test_east_asian_characters_are_words() -> None:
    assert hash_words(["今日は良い", "오늘", "naïve café", "ＡＢ", ""]).counts.tolist() == [5, 2, 2, 1, 0]
    first, second = (hash_words([text]).hashes.tolist() for text in ("日本", "本日"))
    assert first == second[::-1]


def test_hashes_are_the_same_in_every_process() -> None:
    code = "from probe.probes.data.words import hash_words; print(hash_words(['a same text']).keys()[0])"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1 and seen != {""}


@given(
    st.lists(
        st.lists(st.lists(st.sampled_from("abcde"), max_size=8), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_bound_on_likeness_holds_and_is_exact_where_it_counts(triples: list[list[list[str]]]) -> None:
    words = hash_words([" ".join(text) for triple in triples for text in triple])
    exact = np.array([Indel.normalized_similarity(chosen, rejected) for _, chosen, rejected in triples])
    full = np.array([bool(chosen or rejected) for _, chosen, rejected in triples])
    assert (shared_at_most(words) >= exact - 1e-12)[full].all()
    prompts = np.arange(len(triples), dtype=np.uint64)
    alike, stranger = contrasts(words, prompts, stride=2)
    needed = full & ((np.arange(len(triples)) % 2 == 0) | (exact >= 0.5))
    assert np.allclose(alike[needed], exact[needed])
    assert (alike[full & ~needed] < 0.5).all() or np.allclose(alike[full], exact[full])
    assert np.isnan(stranger[1::2]).all()


def test_a_stranger_answers_another_prompt():
    """Of the pairs of one prompt, whose rows stand together, each is held against the next prompt's."""
    texts = [("p", "a b", "a c"), ("p", "a b", "a d"), ("q", "x y", "x z"), ("p", "a b", "a c")]
    words = hash_words([text for triple in texts for text in triple])
    keys = words.keys()[::3]
    assert contrasts(words, keys)[1].tolist() == [0.0, 0.0, 0.0, 0.0]
    same = contrasts(words, keys * np.uint64(0))[1]
    assert np.isnan(same).all() and not contrasts(hash_words([]), keys[:0])[1].size


def replaced(draw: random.Random, every: int) -> tuple[str, str]:
    """A text of 60 words, and the same with every so many of them replaced."""
    words = [f"w{n}" for n in draw.sample(range(10**6), 120)]
    other = [words[60 + i] if i % every == every // 2 else words[i] for i in range(60)]
    return " ".join(words[:60]), " ".join(other)


@pytest.mark.parametrize(("every", "least", "most"), [(20, 0.98, 1.0), (10, 0.75, 0.87), (3, 0.0, 0.02)])
def test_candidates_are_met_as_often_as_banding_says(every: int, least: float, most: float) -> None:
    """12 bands of 5. One word in 20: J = 54/66 of word pairs (with the last), 1 − (1 − J⁵)¹² = .996; in 10:
    J = 48/72, .82 within the noise of 1,000; in 3: J = 20/100, .004."""
    draw = random.Random(every)
    texts = [replaced(draw, every) for _ in range(1000)]
    keys = bands(hash_words([text for both in texts for text in both]))
    met = {tuple(row) for row in near_candidates(keys).tolist()}
    hits = sum((2 * i, 2 * i + 1) in met for i in range(1000)) / 1000
    assert least <= hits <= most
    assert len(met) <= hits * 1000 + 2  # no strangers


def test_candidates_of_a_second_file_only_pair_across() -> None:
    texts = ["a b c d", "e f g h", "a b c d", "a b c d", "e f g h"]
    keys = bands(hash_words(texts))
    assert near_candidates(keys).tolist() == [[0, 2], [0, 3], [1, 4]]
    assert near_candidates(keys, first=2).tolist() == [[0, 2], [0, 3], [1, 4]]
    assert near_candidates(keys, first=3).tolist() == [[0, 3], [1, 4]]
    assert near_candidates(keys, first=1).tolist() == [[0, 2], [0, 3]]


def test_empty_texts_are_nobodys_candidates() -> None:
    assert near_candidates(bands(hash_words(["", " ", ""]))).size == 0


def test_jaccard_by_hand() -> None:
    a, b, empty = word_sets(["a b c c", "b c d", ""])
    assert jaccard(a, b) == 2 / 4
    assert jaccard(empty, empty) == 1
    assert jaccard(a, empty) == 0


@pytest.mark.parametrize("text", ["cafÃ©", "donâ€™t", "5Â°", "a\ufffdb", "smart \x93quotes\x94"])
def test_misread_text_is_known(text: str) -> None:
    assert misread(text)


@pytest.mark.parametrize("text", ["café", "don’t", "5°", "São Paulo", "ÂGE", "château Â", "日本語", "€5–€6"])
def test_right_text_is_left_alone(text: str) -> None:
    assert not misread(text)


@given(st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xFF), min_size=1, max_size=4))
def test_every_misreading_of_western_letters_is_known(text: str) -> None:
    assert misread(text.encode().decode("latin-1"))


@pytest.mark.parametrize("common", ["prompt", "answers"])
@pytest.mark.parametrize("files", [1, 2])
def test_a_long_text_that_all_rows_have_hides_no_near_duplicate(common: str, files: int) -> None:
    """2,000 words of each row are the same: by them alone each row would be held against the first only."""
    draw = random.Random(7)
    long, texts = replaced_in(draw, 2000, 0)[0], []
    for _ in range(60):
        both = [replaced_in(draw, 20, 1) for _ in range(3)]
        for which in (0, 1):
            prompt, chosen, rejected = (text[which] for text in both)
            texts.append((long, chosen, rejected) if common == "prompt" else (prompt, long, long + " no"))
    if files == 2:
        texts = texts[::2] + texts[1::2]
    n, first = len(texts), 60 if files == 2 else 0
    sets = {row: word_sets(text) for row, text in enumerate(texts)}
    keys = bands(hash_words([" ".join(text) for text in texts]))
    suspects = near_candidates(keys, first)
    if files == 2:
        others = {row: sets[row] for row in with_mates(keys[:60], np.unique(suspects[:, 0])).tolist()}
    found = confirmed(suspects, sets, sets if files == 1 else others, 0.8)
    partner = {row: row - 60 for row in range(60, n)} if files == 2 else {i + 1: i for i in range(0, n, 2)}
    told = dict(zip(found.rows.tolist(), found.partners.tolist(), strict=True))
    assert told == partner


def replaced_in(draw: random.Random, length: int, words: int) -> tuple[str, str]:
    """A text of so many words, and the same with some of them replaced."""
    text = [f"w{n}" for n in draw.sample(range(10**6), length)]
    other = [f"x{draw.random()}" if i < words else word for i, word in enumerate(text)]
    return " ".join(text), " ".join(other)
