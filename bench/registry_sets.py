"""Four sets that nothing here was chosen on, made of the public wheel `evals` 3.0.1.post1, for `validity.py`.

    pip download --no-deps evals==3.0.1.post1
    python bench/registry_sets.py evals-3.0.1.post1-py3-none-any.whl FOLDER
    python bench/validity.py --folder FOLDER --sets social,swapped,likelihood,calque

social      what a person in a story does, wants or feels: the right ending, and another of those offered
swapped     two words to be exchanged: exchanged, and as they stood
likelihood  what a step of a plan does to an event: the right one of three short phrases, and another
calque      the missing word of a Ukrainian sentence: a writer's, and a loan translation of it

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

Row = dict[str, str]
MOST = 400  # pairs of a set
PHRASES = ("more likely", "less likely", "equally likely")
STORY = re.compile(r"(?P<prompt>.*?) A: (?P<A>.*?); B: (?P<B>.*?); C: (?P<C>.*?)\.?$", re.DOTALL)
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


SETS: dict[str, tuple[str, Callable[[str, str, random.Random], Row | None]]] = {
    "social": ("theory_of_mind/socialiqa/test", social),
    "swapped": ("swap-words/samples", swapped),
    "likelihood": ("crepe/samples", likelihood),
    "calque": ("ukraine_gec/ukraine_gec_fluency_calque", calque),
}


def rows(wheel: zipfile.ZipFile, name: str) -> Iterator[Row]:
    """The pairs of one set, in the order of its source."""
    where, make = SETS[name]
    chance = random.Random(0)
    for line in wheel.read(f"evals/registry/data/{where}.jsonl").decode().splitlines():
        sample = json.loads(line)
        row = make(sample["input"][-1]["content"].strip(), sample["ideal"].strip(), chance)
        if row and all(text.strip() for text in row.values()):
            yield row


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}."


def main() -> int:
    """Write every set into a folder."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        for name in SETS:
            made = [row for _, row in zip(range(MOST), rows(wheel, name), strict=False)]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
            print(f"{name}: {len(made)} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
