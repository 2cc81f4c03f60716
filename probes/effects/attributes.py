"""Attributes of a response by rules that a reader can check: patterns to count, lists of words, formulas.

A rate is per 100 words, so that a longer response does not score higher for its length alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...stats.scripts import TOKEN, is_mark, words_in

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WORD_OF_TEXT = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
SENTENCE = re.compile(r"[.!?]+(?=\s|$)|[。！？｡]+")
PROPER_NAMES = frozenset({"US", "May"})  # a country and a month, which are in no list of words
ID_EST = re.compile(r"\bi\.\s?e\b")  # its first letter is no person
UNSPACED_SHARE = 0.5  # of a text's words from which no reading level is given


@dataclass(frozen=True, slots=True)
class ResponseWords:
    """A response taken apart once: its text, its words in lower case, its sentences (at least 1 if any).

    Of the words those in `PROPER_NAMES` stay as they are. `length` is the number of words: of a script
    without spaces each character is one of `words`, and counts as a part of one (`scripts.words_in`).
    """

    text: str
    words: tuple[str, ...]
    length: float
    sentences: int


AttributeRule = Callable[[ResponseWords], float]


@dataclass(frozen=True, slots=True)
class Attribute:
    """What is counted, in which units, by which rule; `told` is the rule in words, for the report."""

    name: str
    units: str
    told: str
    rule: AttributeRule


def taken_apart(text: str) -> ResponseWords:
    """The text as the rules read it."""
    as_written = frozenset() if text.isupper() else PROPER_NAMES
    found = _words(ID_EST.sub("ie", text))
    words = tuple(word if word in as_written else word.lower().replace("’", "'") for word in found)
    sentences = max(len(SENTENCE.findall(text.strip())), 1) if words else 0
    return ResponseWords(text, words, sum(map(words_in, words)), sentences)


def _words(text: str) -> list[str]:
    """The words of a text; in scripts of marks and without spaces by the rules of `scripts.TOKEN`."""
    if text.isascii():
        return WORD_OF_TEXT.findall(text)
    tokens = [token for token in TOKEN.findall(text) if words_in(token)]
    other = any(words_in(token) < 1 or any(map(is_mark, token)) for token in tokens)
    return tokens if other else WORD_OF_TEXT.findall(text)


def estimate_name(kind: str, name: str) -> str:
    """The name of an estimate: `attribute:list_items`, `effect:flattery`, `weight:flattery`."""
    return f"{kind}:{name.replace(' ', '_')}"


def attribute_counts(text: str) -> npt.NDArray[np.float64]:
    """Every attribute of one response, in the order of `ATTRIBUTES`."""
    import numpy as np  # the table's names are read where no number is

    apart = taken_apart(text)
    return np.array([attribute.rule(apart) for attribute in ATTRIBUTES])


def _pattern(name: str, pattern: str, told: str, flags: re.RegexFlag = re.MULTILINE) -> Attribute:
    return Attribute(name, "count", told, lambda w: float(len(re.findall(pattern, w.text, flags))))


def _present(name: str, pattern: str, told: str) -> Attribute:
    def rule(w: ResponseWords) -> float:
        return float(bool(re.search(pattern, w.text.replace("’", "'"), re.IGNORECASE)))

    return Attribute(name, "share", told, rule)


def _rate(name: str, listed: str) -> Attribute:
    words = frozenset(listed.split())
    told = f"words of a list of {len(words)}, such as {', '.join(listed.split()[:3])}"
    return Attribute(name, "per 100 words", told, lambda w: per_hundred(w, sum(x in words for x in w.words)))


def per_hundred(words: ResponseWords, found: float) -> float:
    """A number of words as a rate per 100 words; 0 where there are none."""
    return 100 * found / words.length if words.length else 0.0


CONTRACTION = re.compile(r"'(?:s|re|ve|ll|d|m|t)$")
FORMAL = (
    "therefore however moreover furthermore thus hence consequently nevertheless regarding whereas whom "
    "shall upon additionally accordingly nonetheless"
)
CASUAL = "yeah yep nope gonna wanna gotta kinda sorta hey hi ok okay cool stuff guys lol"


def _formality(w: ResponseWords) -> float:
    formal = sum(word in FORMAL.split() for word in w.words)
    casual = sum(word in CASUAL.split() or bool(CONTRACTION.search(word)) for word in w.words)
    return per_hundred(w, formal - casual)


def _reading_level(w: ResponseWords) -> float:
    """The automated readability index (Senter and Smith 1967), a school grade; 0 without words, and where
    most of them are of scripts without spaces, of which it says nothing."""
    if not w.words or sum(words_in(word) < 1 for word in w.words) > UNSPACED_SHARE * len(w.words):
        return 0.0
    letters = sum(map(len, w.words))
    return 4.71 * letters / w.length + 0.5 * w.length / w.sentences - 21.43


def _other_script(w: ResponseWords) -> float:
    letters = [c for c in w.text if c.isalpha()]
    return sum(map(_beyond_latin, letters)) / len(letters) if letters else 0.0


def _beyond_latin(letter: str) -> bool:
    """Whether a letter is none of the Latin alphabets, those of Vietnamese and of phonetics among them."""
    return ord(letter) > 0x24F and not unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))


FUNCTION_WORDS = (
    "the of and to a in is that it for on with as was be by are this at from or have an not they which you "
    "but has its more when can there their will if what"
)
HEDGES = (
    "may might could perhaps possibly probably maybe seems seem appears appear likely unlikely suggests "
    "suggest roughly approximately somewhat generally usually often sometimes arguably apparently tend tends"
)
CERTAIN_WORDS = (
    "certainly definitely clearly obviously undoubtedly always never absolutely surely indeed must proven "
    "guaranteed guarantees unquestionably undeniably completely entirely totally"
)
POSITIVE_WORDS = (
    "good great better best excellent wonderful happy helpful useful nice love lovely beautiful easy safe "
    "healthy success successful enjoy perfect amazing fantastic pleasant bright"
)
NEGATIVE = (
    "bad worse worst terrible awful sad harmful useless wrong hate ugly difficult dangerous unhealthy "
    "failure fail fails problem problems poor risk pain painful fear angry"
)
REFUSAL = (
    r"\bI(?: am|'m) (?:unable|not able) to\b|\bI (?:cannot|can't|can not|won't|will not) "
    r"(?:help(?! but\b)|assist|provide|answer|do|comply|give|share|support|create|write)\b"
)
FLATTERY = (
    r"\b(?:great|excellent|good|wonderful|brilliant|fantastic|insightful|thoughtful) "
    r"(?:question|point|idea)\b"
    r"|\byou(?:'re| are) (?:absolutely |so |very |quite )?(?:right|smart|clever|brilliant|insightful)\b"
)
APOLOGY = r"\b(?:sorry|apologi[sz]e|apologies|forgive me)\b"
EMOJI = "[\U0001f300-\U0001faff\u2600-\u27bf]"

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("length", "words", "words", lambda w: w.length),
    Attribute(
        "sentences", "count", "full stops, question and exclamation marks", lambda w: float(w.sentences)
    ),
    _pattern("list items", r"^[ \t]*(?:[-*•+]|\d+[.)])[ \t]+\S", "lines that open with a bullet or a number"),
    _pattern("headings", r"^#{1,6}[ \t]+\S", "lines that open with #"),
    _pattern("bold", r"\*\*[^*\n]+\*\*|__[^_\n]+__", "**…** or __…__"),
    _pattern("code", r"```|(?<!`)`[^`\n]+`(?!`)", "``` fences and `…`"),
    _pattern("table rows", r"^[ \t]*\|.+\|[ \t]*$", "lines between | and |"),
    _pattern("links", r"https?://\S+|www\.\S+", "http…, www…"),
    _pattern("numbers", r"\d+(?:[.,]\d+)*", "runs of digits"),
    _pattern("questions", r"[?？؟]", "question marks"),
    _pattern("exclamations", r"[!！](?!\[)", "exclamation marks"),
    _pattern("emoji", EMOJI, "emoji and dingbats"),
    _rate("hedging", HEDGES),
    _rate("certainty", CERTAIN_WORDS),
    _present("refusal", REFUSAL, "“I cannot help”, “I'm unable to” and the like"),
    _present("apology", APOLOGY, "sorry, apologise"),
    _rate("first person", "i me my mine myself i'm i've i'd i'll we us our ours"),
    _rate("second person", "you your yours yourself you're you've you'd you'll"),
    _present("flattery", FLATTERY, "“great question”, “you are right” and the like"),
    Attribute("formality", "per 100 words", "formal connectives − contractions and slang", _formality),
    Attribute("reading level", "grade", "automated readability index", _reading_level),
    _rate("English", FUNCTION_WORDS),
    Attribute("other script", "share", "letters beyond the Latin alphabets", _other_script),
    _rate("positive words", POSITIVE_WORDS),
    _rate("negative words", NEGATIVE),
)
ATTRIBUTE_NAMES = tuple(attribute.name for attribute in ATTRIBUTES)
