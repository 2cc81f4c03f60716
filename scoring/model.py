"""Loading a model: hub name, local directory or GGUF file; safetensors only, no remote code by default."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import logging as hub_logging
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ..errors import CannotMeasure, ProbeError
from ..files import cache_dir, sha256_file, write_text
from .embedded import EMBEDDED_NAME, converted, embedded_gguf
from .engine import causal_lm
from .processes import local_rank, world

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "half": "float16", "float": "float32"}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model in evaluation mode with its tokenizer.

    `facts` is what a report says of it (JSON); its hashes are part of every stored score's key. `model` is a
    peft model when an adapter was given.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    name: str
    device: torch.device
    dtype: torch.dtype
    facts: Mapping[str, Any]

    @property
    def max_length(self) -> int | None:
        """The longest sequence that the model's positions allow, or None."""
        config = self.model.config.get_text_config()  # type: ignore[union-attr, operator]
        length: int | None = getattr(config, "max_position_embeddings", None)
        return length


def load_model(
    name: str | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    adapter: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a model; `name` None means the embedded one.

    `device` None: cuda, else mps, else cpu; "auto" spreads the layers over all devices. `dtype` None:
    bfloat16 on a GPU that has it, else float32. Raises `ProbeError` for whatever cannot be found or read.
    """
    _quiet()
    where = torch.device(_device(device))
    kind = _dtype(dtype, where)
    source = _source(name)
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    placed = {"device_map": "auto"} if device == "auto" else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=kind, use_safetensors=True, **options, **placed
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise _unreadable(name, source, error) from error
    full = with_adapter(model, adapter)
    full.eval()
    if not placed:
        full.to(where)
    shown = name or f"{EMBEDDED_NAME} (embedded)"
    facts = _facts(full, tokenizer, source, shown, revision, adapter, where, kind)
    return LoadedModel(full, tokenizer, shown, where, kind, facts)


def _quiet() -> None:
    """Keep the libraries' bars and retries off stderr; what goes wrong is told in one line of our own."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    # peft asks transformers for a name that transformers has renamed; nobody here can act on it.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)


def with_adapter(model: torch.nn.Module, adapter: str | None) -> torch.nn.Module:
    """The model under a peft adapter (safetensors only). Raises `ProbeError` when that is none."""
    if adapter is None:
        return model
    from peft import PeftConfig, PeftModel

    try:
        config = PeftConfig.from_pretrained(adapter)
        if config.is_prompt_learning:
            raise ProbeError(
                f"{adapter}: {config.peft_type} adds virtual tokens, which shift every position. "
                "Give a LoRA adapter or merged weights."
            )
        if Path(adapter).is_dir() and not list(Path(adapter).glob("*.safetensors")):
            raise ProbeError(
                f"{adapter}: no safetensors. Save the adapter again with safe_serialization=True."
            )
        wrapped: torch.nn.Module = PeftModel.from_pretrained(model, adapter)
        return wrapped
    except (OSError, ValueError, KeyError) as error:
        raise ProbeError(
            f"{adapter}: not a peft adapter ({_first_line(error)}). Give its directory."
        ) from error


def _device(asked: str | None) -> str:
    if asked not in (None, "auto"):
        try:
            torch.device(str(asked))
        except RuntimeError as error:
            raise ProbeError(
                f"--device {asked}: {_first_line(error)}. Try cpu, cuda, cuda:0, mps, auto."
            ) from error
        if str(asked).startswith("cuda") and not torch.cuda.is_available():
            raise ProbeError(
                f"--device {asked}: torch {torch.__version__} sees no CUDA device. Try --device cpu."
            )
        return str(asked)
    if torch.cuda.is_available():
        return f"cuda:{local_rank()}" if world() > 1 else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(asked: str | None, device: torch.device) -> torch.dtype:
    if asked is None:
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bf16 else torch.float32
    kind = DTYPES.get(SHORT.get(asked, asked))
    if kind is None:
        raise ProbeError(f"--dtype {asked}: unknown. Use {', '.join(DTYPES)}.")
    return kind


def _source(name: str | None) -> str:
    """What transformers is asked for: a directory, or a hub name."""
    if name is None:
        return str(converted(embedded_gguf()))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ProbeError(f"{name}: no such file. Give a GGUF file, a model directory or a hub name.")
        return str(converted(path))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ProbeError(
                f"{name}: no config.json in this directory. Give the directory of a saved model."
            )
        if not list(path.glob("*.safetensors")):
            raise ProbeError(
                f"{name}: no safetensors weights. Pickled weights are not read, since they can run code; "
                "convert with `save_pretrained(…, safe_serialization=True)`."
            )
        return str(path)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ProbeError(f"{name}: no such directory. Give a model directory, a GGUF file or a hub name.")
    return name


def _unreadable(name: str | None, source: str, error: Exception) -> ProbeError:
    if Path(source).is_dir():
        return ProbeError(f"{name or source}: not a readable model ({_first_line(error)}). Save it again.")
    return ProbeError(
        f"{name}: not a local directory, not a GGUF file, and not loadable from the hub or its local cache "
        f"({_first_line(error)}). Check the name, the network, and that it has safetensors weights."
    )


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].rstrip(".")[:160]


def _facts(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    source: str,
    name: str,
    revision: str | None,
    adapter: str | None,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, Any]:
    config: Any = model.config
    commit = getattr(config, "_commit_hash", None)
    return {
        "name": name,
        "revision": commit or revision,
        "adapter": adapter,
        "weights_sha256": weights_hash(
            source, config._commit_hash if hasattr(config, "_commit_hash") else None
        ),
        "adapter_sha256": weights_hash(adapter, None) if adapter else None,
        **tokenizer_facts(tokenizer),
        "architecture": type(causal_lm(model)).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(dtype).removeprefix("torch."),
        "device": _device_name(device),
    }


def tokenizer_facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The hashes of a tokenizer and of its chat template."""
    template = tokenizer.chat_template
    return {
        "tokenizer_sha256": _text_hash(_tokenizer_state(tokenizer)),
        "template_sha256": _text_hash(str(template)) if template else None,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return str(backend.to_str())
    return json.dumps(tokenizer.get_vocab(), sort_keys=True)


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def weights_hash(source: str, commit: str | None) -> str:
    """A hash of a model's weights: of the safetensors' bytes when local, of name and commit for the hub.

    The bytes of a large file are hashed once; the answer is remembered under its path, size and time.
    """
    path = Path(source)
    if not path.is_dir():
        return _text_hash(f"{source}@{commit}")
    files = [path / "config.json", *sorted(path.glob("*.safetensors"))]
    return _text_hash("".join(_remembered_hash(file) for file in files if file.exists()))


def _remembered_hash(file: Path) -> str:
    stat = file.stat()
    key = _text_hash(f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}")
    memo = cache_dir() / "hashes" / key
    try:
        if len(known := memo.read_text()) == 64:
            return known
    except OSError:
        pass
    value = sha256_file(file)
    if stat.st_size > 1 << 20:
        with suppress(CannotMeasure):  # a cache that cannot be written costs time, not the run
            write_text(memo, value)
    return value
