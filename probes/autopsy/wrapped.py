"""Lines that a terminal or a page broke at its width, joined again."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

LEAST_WIDTH = 40
FEWEST_BROKEN = 3
OF_ONE_KIND = 0.6  # of the lines after a full one begin as entries do: then each is whole
# Within a number, or within a name.
BROKEN = re.compile(r"[\d.]\n[\d.]|[A-Za-z_/]\n[A-Za-z_/:]")


def unwrapped(text: str) -> str:
    """The text with each line that was broken at its width joined to the next; else as it is.

    It was where many lines are as wide as the widest and one of them ends within a word or number, unless
    most lines after such a one begin as entries do: then they are of one width by chance.
    """
    lines = re.split(r"[\r\n]+", text)
    width = max(map(len, lines))
    after = [(a, b) for a, b in pairwise(lines) if len(a) == width and b]
    within = any(BROKEN.fullmatch(f"{a[-1]}\n{b[0]}") for a, b in after if width)
    if width < LEAST_WIDTH or len(after) < max(FEWEST_BROKEN, 0.25 * len(lines)) or not within:
        return text
    # A full line that is the last of an entry is followed by one that begins as the first does.
    head = Counter(map(_start, filter(str.strip, lines))).most_common(1)[0][0]
    if sum(_start(b) == head for _, b in after) > OF_ONE_KIND * len(after):
        return text
    heads = Counter(_start(b) for a, b in pairwise(lines) if len(a) < width).most_common(1)
    head = heads[0][0] if heads else ""
    ends = [len(a) < width or _start(b) == head for a, b in pairwise(lines)]
    return "".join(f"{line}\n" if end else line for line, end in zip(lines, [*ends, True], strict=True))


def _start(line: str) -> str:
    return re.sub(r"\d", "0", line[:6])
