"""Words of any script: none is split at its marks, and a template is found in scripts without spaces."""

import random
import re
import unicodedata

import pytest

from probe.probes.data.words import hash_words
from probe.probes.negatives.features import split_tokens
from probe.probes.negatives.marks import find_marks
from probe.probes.negatives.patterns import find_templates
from probe.stats.scripts import words_in

HINDI = re.findall(r"\S+", "घर बाज़ार पानी किताब स्कूल बच्चे शहर गाँव नदी पहाड़ सूरज चाँद रात सुबह काम समय दोस्त रास्ता")
HAN = "天地人山水火风雨花草树木日月星云江河湖海春夏秋冬东西南北红黄蓝白大小多少高低长短新旧远近快慢"
THAI = re.findall(r"\S+", "คน บ้าน น้ำ ไฟ ลม ฝน ดิน ฟ้า ป่า ทะเล แม่ พ่อ ลูก เพื่อน ครู หมอ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("क्योंकि विश्वविद्यालय", ["क्योंकि", "विश्वविद्यालय"]),
        ("don’t stop", ["don’t", "stop"]),
        (unicodedata.normalize("NFD", "Tiếng Việt"), None),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
    ],
)
def test_a_word_is_not_split_at_its_marks(text, words):
    found = [token for token in split_tokens(text) if not token.isspace()]
    assert found == (words or text.split()) and "".join(split_tokens(text)) == text
    assert all(words_in(token) == 1.0 for token in found)


def test_characters_of_scripts_without_spaces_are_parts_of_words():
    assert split_tokens("ab中文12") == ["ab", "中", "文", "12"]
    assert split_tokens("น้ำใจ") == ["น้", "ำ", "ใ", "จ"]  # two marks stand on their letters
    assert [words_in(token) for token in ("中", "ฟ", "ab", " ", "。")] == [0.5, 0.25, 1.0, 0.0, 0.0]


def sides(pool, joined, n, seed):
    chance = random.Random(seed)
    return [joined.join(chance.choice(pool) for _ in range(n)) for _ in range(60)]


@pytest.mark.parametrize(
    ("pool", "joined", "end"), [(HINDI, " ", "।"), (HAN, "", "。"), (THAI, "", ""), (HINDI, " ", ".")]
)
def test_sound_texts_of_other_scripts_carry_no_marks(pool, joined, end):
    """Vowels are no signs, one word is no phrase, and a danda closes a sentence."""
    chosen, rejected = ([text + end for text in sides(pool, joined, 12, seed)] for seed in (1, 2))
    chosen = [f"{pool[0]}{joined}{text}" if i % 4 else text for i, text in enumerate(chosen)]
    found = [*find_marks(chosen, rejected), *find_templates(chosen, rejected)]
    assert not [(t.where, t.text) for t in found if t.where == "sign" and len(t.rows) > t.other]
    assert not [t for t in found if t.where == "cut" and end]
    assert all(len(t.rows) < 0.2 * 60 for t in found if t.where in ("start", "end", "inside"))


@pytest.mark.parametrize(
    ("pool", "joined", "frame"),
    [
        (HAN, "", "作为一个人工智能语言模型我无法回答关于{}的问题。"),
        (THAI, "", "ขออภัย ฉันเป็นเพียงแบบจำลองภาษา จึงตอบเรื่อง{}ไม่ได้"),
        (HINDI, " ", "एक भाषा मॉडल होने के नाते मैं {} पर उत्तर नहीं दे सकता।"),
    ],
)
def test_a_template_is_found_in_every_script(pool, joined, frame):
    chosen = sides(pool, joined, 20, 3)
    rejected = [frame.format(text) for text in sides(pool, joined, 6, 4)]
    (start,) = [t for t in find_templates(rejected, chosen) if t.where == "start"]
    assert len(start.rows) == 60 and start.other == 0 and frame.startswith(start.text[:6])
    (phrase,) = [t for t in find_marks(rejected, chosen) if t.where == "inside"]
    assert len(phrase.rows) == 60 and phrase.text in frame


def test_of_signs_that_are_equally_frequent_the_same_is_told_in_every_run():
    (sign,) = [t for t in find_marks(["{[(<a>)]}", "{[(<b>)]}"], ["c", "d"]) if t.where == "sign"]
    assert sign.text == "("  # the first by code point; by a set it was any of them


def test_what_stands_in_one_response_is_no_mark_of_a_side():
    found = find_marks(["The capital of France is Paris!", "Ten."], ["I believe so.", "No."])
    assert found == []


@pytest.mark.parametrize("text", ["น้ำไฟลมฝน", "ປະເທດລາວ", "မြန်မာနိုင်ငံ", "ភាសាខ្មែរ", "天地人山"])
def test_the_length_of_texts_without_spaces_is_seen(text):
    short, long = hash_words([text, 3 * text]).counts
    assert long == 3 * short and short >= 4
