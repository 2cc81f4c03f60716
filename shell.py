"""Commands that a message or a report tells, so that a shell reads from them what was meant."""

from __future__ import annotations

import shlex
import unicodedata
from pathlib import Path

from .escape import HIDDEN, JOINERS

UNPACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}  # by what each is written out


def file_argument(path: str | Path) -> str:
    """A path as a word that no command takes for an option: `./-x.jsonl`. It is not quoted."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def file_word(path: str | Path) -> str:
    """A path as a shell reads it, and no command as an option."""
    return shell_word(file_argument(path))


def jq_rewrite(path: str | Path, program: str) -> str:
    """A command that writes a file's rows anew, by a program of jq.

    They go to `STEM.rows.jsonl` here, which is never the file itself: a shell empties that before jq reads.
    """
    told, name = file_word(path), Path(path)
    packer = UNPACKED.get(name.suffix.lower())
    stem = (Path(name.stem) if packer else name).stem
    made = file_word(f"{stem}.rows.jsonl")
    told_program = shlex.quote(program)
    if packer:
        return f"{packer} -dc {told} | jq -c {told_program} > {made}"
    return f"jq -c {told_program} {told} > {made}"


def shell_word(word: str, ascii_only: bool = False) -> str:
    r"""A word quoted for a shell on one line, with nothing hidden in it: `$'a\nb'` where quotes would not do.

    `ascii_only` writes what is not ASCII by its bytes, as `$'\xc3\xa9'`, which names the same file.
    """
    if not any(map(_hidden, word)) and (word.isascii() or not ascii_only):
        return shlex.quote(word)
    return "$'" + "".join(_ansi_c(c, ascii_only) for c in word) + "'"


def _ansi_c(character: str, ascii_only: bool) -> str:
    if character in ANSI_C:
        return ANSI_C[character]
    if not _hidden(character) and (character.isascii() or not ascii_only):
        return character
    undecoded = "\udc80" <= character <= "\udcff"  # a byte of a file's name that is no UTF-8
    data = character.encode("utf-8", "surrogateescape" if undecoded else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in data)


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in HIDDEN and character not in JOINERS


ANSI_C = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "'": "\\'", "\\": "\\\\"}
