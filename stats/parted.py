"""A text as the list of its words, in any script."""

from __future__ import annotations

from .scripts import TOKEN, words_in


def parted_words(text: str) -> list[str]:
    """What white space parts; in scripts that are written without spaces each character is one of its own."""
    words: list[str] = []
    open_ = False  # whether the last word goes on
    for token in TOKEN.findall(text):
        alone = 0 < words_in(token) < 1
        if open_ and not alone and not token.isspace():
            words[-1] += token
        elif not token.isspace():
            words.append(token)
        open_ = not alone and not token.isspace()
    return words
