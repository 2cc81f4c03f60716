"""Entry point: runs the command line and maps whatever happens to one exit code."""

from __future__ import annotations

import sys
import time
import traceback
from itertools import pairwise
from pathlib import Path

from .errors import Exit, ProbeError
from .escape import visible
from .launched import drop_leftovers
from .streams import guarded

BEGAN = time.time() - 1  # a file's time may be coarser
# What the extra `model` installs, as it is imported.
MODEL = ("torch", "transformers", "accelerate", "peft", "safetensors", "sklearn", "gguf", "tokenizers")


def main() -> int:
    """Run `probe` on `sys.argv`; returns the exit code. A crash is 3, never 1: 1 is a failed gate."""
    with guarded() as codes:
        codes[0] = _run()
    return codes[0]


def _run() -> int:
    try:
        from .cli import app

        drop_leftovers()
        code = int(app(standalone_mode=False) or Exit.OK)
        return _interrupted() if code == Exit.INTERRUPTED else code  # typer swallows Ctrl-C
    except ProbeError as error:
        print(f"probe: {error}", file=sys.stderr)
        return error.code
    except ModuleNotFoundError as error:
        return _not_installed(error) or _crash()
    except Exception as error:
        return _usage(error) or _crash()
    except KeyboardInterrupt:
        return _interrupted()


def _usage(error: Exception) -> int | None:
    """Exit code of a parser error, or None. Known by its shape: typer may or may not have vendored click."""
    if type(error).__name__ == "Abort":
        return _interrupted()
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    hint = f" See `{context.command_path} --help`." if context else ""
    told = visible(error.format_message()).rstrip(".")
    print(f"probe: {told}{'' if told.endswith('?') else '.'}{hint}", file=sys.stderr)
    return Exit.USAGE


def _not_installed(error: ModuleNotFoundError) -> int | None:
    """Exit code where a command that runs a model was called in an installation without one, or None."""
    if (error.name or "").split(".")[0] not in MODEL:
        return None
    print(
        f"probe: this needs {error.name}, which is not installed. Run `pip install 'prefprobe[model]'`; "
        "`probe data`, `gate RUN`, `report`, `autopsy` and `explain` do without.",
        file=sys.stderr,
    )
    return Exit.USAGE


def _interrupted() -> int:
    # A training has a directory of its own every time, unless it is told to go on.
    how = "the same command with --resume" if _training_began() else "the same command"
    print(f"probe: interrupted; what was measured is kept, {how} goes on from there.", file=sys.stderr)
    return Exit.INTERRUPTED


def _training_began() -> bool:
    """Whether this is a training that has a directory which `--resume`, not given yet, would go on with."""
    words = sys.argv[1:]
    if words[:1] != ["train"] or "--resume" in words:
        return False
    from .runs import RUNS, STARTED

    given = [after for word, after in pairwise(words) if word == "--out"]
    given += [word.removeprefix("--out=") for word in words if word.startswith("--out=")]
    claimed = [Path(given[-1]) / STARTED] if given else RUNS.glob(f"*-train-*/{STARTED}")
    return any(path.exists() and path.stat().st_mtime > BEGAN for path in claimed)


def _crash() -> int:
    traceback.print_exc()
    print("probe: this is a bug in probe, not in your data; please report the lines above.", file=sys.stderr)
    return Exit.CRASH


if __name__ == "__main__":
    sys.exit(main())
