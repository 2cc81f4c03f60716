"""Text from pairs, made visible: nothing in it may move a cursor, turn a line around or vanish."""

from __future__ import annotations

import json
import re
import unicodedata

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"  # Persian words and family emoji need them; they turn nothing around

# Wider than one character where it must be, so it is applied before anything is laid out.
ASCII = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "·": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "±": "+/-",
        "×": "x", "↵": "\\n", "⇥": "\\t", "✓": "+", "✗": "x", "●": "o", "◆": "#", "│": "|", "├": "[",
        "┤": "]", "─": "-", "┊": ":", "═": "=", "▲": "^", "‹": "<", "›": ">", "Δ": "d", "λ": "lambda",
        "β": "beta", "ε": "eps", "α": "alpha", "’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " ",
        **dict(zip("▁▂▃▄▅▆▇█", "_.,-~=+#", strict=True)),
    }
)  # fmt: skip


def visible(text: str, newline: str = "↵") -> str:
    r"""`text` on one line: line ends as `newline`; control, direction and surrogate characters as `\x1b`."""
    return newline.join(_line(line) for line in re.split("\r\n?|\n", text))


def inert(text: str, at_start: bool = True, colon: str = r"\x3a", mark: str = r"#\x23[") -> str:
    """`text` in which GitHub's runner finds no workflow command: neither `::` first on a line, nor `##[`.

    `at_start`: nothing but white space precedes `text` on its line. `colon` replaces the first colon, `mark`
    replaces `##[`, in the spelling of the format.
    """
    begin = r"(^|\n)" if at_start else r"(\n)"
    shown = re.sub(begin + r"([^\S\n]*):(?=:)", lambda found: found[1] + found[2] + colon, text)
    return shown.replace("##[", mark)


def json_text(text: str) -> str:
    r"""JSON of the same value in which no character is hidden: they stand as `\u202e`.

    JSON itself escapes those below U+0020 only; a terminal obeys U+009B, and U+202E turns a line around.
    """
    return re.sub(r"[^\x00-\x7e]", _in_json, text)


def _in_json(found: re.Match[str]) -> str:
    character = found[0]
    hidden = unicodedata.category(character) in HIDDEN and character not in JOINERS
    return json.dumps(character)[1:-1] if hidden else character


def ascii_text(text: str) -> str:
    """`text` in ASCII: signs by their usual spelling, everything else as a backslash escape."""
    return text.translate(ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _line(text: str) -> str:
    shown = text.replace("\t", "⇥")
    return "".join(
        _escaped(c) if unicodedata.category(c) in HIDDEN and c not in JOINERS else c for c in shown
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
