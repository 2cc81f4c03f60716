"""The pair sets that ship in `pairs/`: their fields, their groups, and what each promises about form."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from probe.errors import ProbeError
from probe.pairs.read import read_pairs
from probe.probes.data.run import DataRequest, check_data
from probe.probes.negatives.triviality import judge_surface, surface
from probe.records import Estimate, Measured
from probe.scoring.embedded import converted, embedded_gguf

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/data"
FILES = sorted((ROOT / "pairs").glob("*.jsonl"))
FIELDS = ["id", "group", "prompt", "chosen", "rejected"]

Row = dict[str, Any]


def rows_of(name: str) -> list[Row]:
    return [json.loads(line) for line in (ROOT / "pairs" / name).read_text(encoding="utf-8").splitlines()]


def sentences(text: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?])\s+", text) if s]


@pytest.fixture(scope="module")
def token_count() -> Callable[[str], int]:
    """Length of a text under the embedded model's tokenizer."""
    try:
        gguf = embedded_gguf()
    except ProbeError as error:
        pytest.skip(str(error))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(converted(gguf))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_bundled_row_is_a_clean_pair(path: Path) -> None:
    rows = rows_of(path.name)
    assert [list(row) for row in rows] == [FIELDS] * len(rows)
    for row in rows:
        assert all(isinstance(value, str) and value == value.strip() != "" for value in row.values()), row[
            "id"
        ]
        assert row["chosen"] != row["rejected"]
    assert max(Counter(row["id"] for row in rows).values()) == 1
    assert max(Counter(row["prompt"] for row in rows).values()) == 1


class TestCicoInsulin:
    """Two explanations of body weight, alike in all but the explanation."""

    rows = rows_of("cico_insulin.jsonl")

    def test_has_five_groups_of_eight(self) -> None:
        groups = Counter(row["group"] for row in self.rows)
        assert groups == dict.fromkeys(["causes", "advice", "physiology", "plateaus", "everyday"], 8)

    def test_prompts_are_plain_questions(self) -> None:
        assert all(row["prompt"].endswith("?") and "\n" not in row["prompt"] for row in self.rows)

    def test_sides_have_the_same_number_of_sentences(self) -> None:
        for row in self.rows:
            assert len(sentences(row["chosen"])) == len(sentences(row["rejected"])) == 2, row["id"]

    @pytest.mark.parametrize("words", [1, 2])
    def test_no_opening_belongs_to_one_side(self, words: int) -> None:
        """No first word (or two) is used three times more often by one side than by the other."""

        def openings(side: str) -> Counter[str]:
            return Counter(" ".join(row[side].split()[:words]) for row in self.rows)

        difference = openings("chosen")
        difference.subtract(openings("rejected"))
        assert max(abs(count) for count in difference.values()) <= 3

    def test_every_pair_takes_its_own_side(self) -> None:
        """Only the insulin side explains by hormones; only the other by energy."""
        hormonal = re.compile(r"insulin|hormone", re.I)
        energetic = re.compile(r"calorie|energy|surplus|deficit|intake|eats? (a bit )?less", re.I)
        for row in self.rows:
            assert hormonal.search(row["rejected"]), row["id"]
            assert energetic.search(row["chosen"]), row["id"]
            assert row["prompt"] == "What does insulin do to body weight?" or not hormonal.search(
                row["chosen"]
            )

    def test_shares_no_sentence_with_the_published_five(self) -> None:
        path = SHARED / "cico_insulin_5.jsonl"
        if not path.exists():
            pytest.skip("the published pairs are not part of this project")
        published = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        theirs = [s for row in published for side in ("cico", "insulin") for s in sentences(row[side])]
        ours = [s for row in self.rows for side in ("chosen", "rejected") for s in sentences(row[side])]
        alike = max(difflib.SequenceMatcher(None, a, b).ratio() for a in theirs for b in ours)
        assert alike < 0.8
        assert not {row["prompt"] for row in published} & {row["prompt"] for row in self.rows}


SHARED_CHOSEN = [("listing_taste", "listing_taste_hype"), ("epistemic_stance", "epistemic_stance_repaired")]


@pytest.mark.parametrize(("one", "other"), SHARED_CHOSEN)
def test_twins_differ_in_the_rejected_side_only(one: str, other: str) -> None:
    def same(row: Row) -> Row:
        return {key: value for key, value in row.items() if key != "rejected"}

    a, b = rows_of(f"{one}.jsonl"), rows_of(f"{other}.jsonl")
    assert list(map(same, a)) == list(map(same, b))
    assert not {row["rejected"] for row in a} & {row["rejected"] for row in b}


def test_the_voice_answers_the_prompts_of_listing_taste_in_words_of_its_own() -> None:
    taste, voice = rows_of("listing_taste.jsonl"), rows_of("listing_voice.jsonl")

    def asked(row: Row) -> list[str]:
        return [row[key] for key in ("id", "group", "prompt")]

    def told(rows: list[Row]) -> set[str]:
        return {s for row in rows for side in ("chosen", "rejected") for s in sentences(row[side])}

    assert list(map(asked, voice)) == list(map(asked, taste))
    assert not told(voice) & told(taste)


@pytest.mark.parametrize("name", ["cico_insulin", "listing_voice"])
def test_token_counts_match(name: str, token_count: Callable[[str], int]) -> None:
    ratios = [token_count(row["chosen"]) / token_count(row["rejected"]) for row in rows_of(f"{name}.jsonl")]
    assert min(ratios) >= 0.8 and max(ratios) <= 1.25
    assert abs(sum(ratios) / len(ratios) - 1) < 0.05


@pytest.mark.parametrize(
    "name", ["cico_insulin", "listing_taste", "listing_voice", "epistemic_stance_repaired", "low_contrast"]
)
def test_length_belongs_to_neither_side(name: str) -> None:
    """By characters and by words, the sign test sees no longer side, and no pair is far apart."""
    rows = rows_of(f"{name}.jsonl")
    for length in (len, lambda text: len(text.split())):
        differences = [length(row["chosen"]) - length(row["rejected"]) for row in rows]
        longer, shorter = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
        assert binomtest(longer, longer + shorter).pvalue > 0.05
    assert all(0.75 <= len(row["chosen"]) / len(row["rejected"]) <= 1.3 for row in rows)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_data_checks_find_what_a_set_is_made_for_and_nothing_else(path: Path) -> None:
    """PB327 (fewer than 200 pairs) is a note on all; a warning says what the set is made for."""
    made_for = {
        "low_contrast": {"PB331"}, "length_gap": {"PB330"}, "epistemic_stance": {"PB213", "PB330"},
        "listing_taste_hype": {"PB215"},
    }  # fmt: skip
    found = check_data(DataRequest(path, templates=True)).findings
    assert {f.code for f in found if f.severity != "info"} == made_for.get(path.stem, set())
    assert {f.code for f in found if f.severity == "info"} == {"PB327"}


@cache
def surface_of(name: str) -> Measured:
    pairs = list(read_pairs(ROOT / "pairs" / f"{name}.jsonl"))
    return judge_surface(surface(pairs, permutations=49))


@pytest.mark.parametrize("trivial", ["listing_taste_hype", "epistemic_stance"])
@pytest.mark.parametrize("plausible", ["listing_taste", "listing_voice", "epistemic_stance_repaired"])
def test_cartoonish_and_plausible_negatives_are_separated(trivial: str, plausible: str) -> None:
    """The intervals of the prompt-free accuracy do not meet, and only one of the sets is called trivial."""
    found, spared = surface_of(trivial), surface_of(plausible)

    def accuracy(measured: Measured) -> Estimate:
        return next(e for e in measured.estimates if e.name == "surface_accuracy" and e.group == "all")

    assert accuracy(found).low > accuracy(spared).high
    assert "PB202" in {f.code for f in found.findings}
    assert not spared.findings


def test_each_group_of_templated_negatives_has_one_frame() -> None:
    rows = rows_of("epistemic_stance.jsonl")
    assert all(row["rejected"].count(row["chosen"]) == 1 for row in rows)
    frames = {(row["group"], row["rejected"].replace(row["chosen"], "…")) for row in rows}
    assert Counter(group for group, _ in frames) == {"factual": 1, "behavioural": 1, "open": 1}


def test_low_contrast_pairs_differ_by_a_word() -> None:
    """Both sides keep all but one or two words, and no wording sits on one side throughout."""
    for row in rows_of("low_contrast.jsonl"):
        words = [re.findall(r"\w+", row[side].lower()) for side in ("chosen", "rejected")]
        changed = [
            max(i2 - i1, j2 - j1)
            for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, *words).get_opcodes()
            if tag != "equal"
        ]
        assert sum(changed) in (1, 2), row["id"]


def test_length_gap_is_beyond_the_published_failure() -> None:
    """Ratio 3.6 was a published failure; here every pair lies above it, in characters and in words."""
    for row in rows_of("length_gap.jsonl"):
        assert len(row["chosen"]) > 3.6 * len(row["rejected"]), row["id"]
        assert len(row["chosen"].split()) > 3.6 * len(row["rejected"].split()), row["id"]


def test_nothing_is_taken_from_the_published_stance_set() -> None:
    path = SHARED / "epistemic_stance.json"
    if not path.exists():
        pytest.skip("the published set is not part of this project")
    published = json.loads(path.read_text(encoding="utf-8"))
    theirs = {s for row in published for side in ("chosen", "rejected") for s in sentences(row[side])}
    for row in rows_of("epistemic_stance.jsonl") + rows_of("epistemic_stance_repaired.jsonl"):
        assert row["prompt"] not in {other["prompt"] for other in published}
        assert not set(sentences(row["chosen"]) + sentences(row["rejected"])) & theirs, row["id"]
