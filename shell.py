"""Commands that a message or a report tells, so that a shell reads from them what was meant."""

from __future__ import annotations

import shlex
from pathlib import Path

UNPACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}  # by what each is written out


def file_argument(path: str | Path) -> str:
    """A path as a word that no command takes for an option: `./-x.jsonl`. It is not quoted."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def jq_rewrite(path: str | Path, program: str) -> str:
    """A command that writes a file's rows anew, by a program of jq.

    They go to `STEM.rows.jsonl` here, which is never the file itself: a shell empties that before jq reads.
    """
    told, name = shlex.quote(file_argument(path)), Path(path)
    packer = UNPACKED.get(name.suffix.lower())
    stem = (Path(name.stem) if packer else name).stem
    made = shlex.quote(file_argument(f"{stem}.rows.jsonl"))
    told_program = shlex.quote(program)
    if packer:
        return f"{packer} -dc {told} | jq -c {told_program} > {made}"
    return f"jq -c {told_program} {told} > {made}"
