"""Loading a model: hub name, local directory or GGUF file; safetensors only, no remote code by default."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import TRANSFORMERS_DYNAMIC_MODULE_NAME, cached_file

from ..errors import ProbeError
from ..files import in_home
from .embedded import EMBEDDED_NAME, converted, embedded_gguf, is_gguf, plain_source
from .engine import causal_lm
from .loaded import check_config, check_runs, check_weights, first_line, reading
from .loudness import quiet
from .machine import fit_threads
from .options import is_endpoint
from .processes import local_rank, world
from .quantized import exactly, quantization_facts, quantizing, weight_count
from .saved_adapter import adapter_directory, adapter_facts, tokenizer_directory, with_adapter
from .weights import (
    ADAPTER_CONFIG,
    INDEX,
    check_name,
    model_files,
    shards,
    tensor_names,
    tokenizer_facts,
    weights_hash,
)

T = TypeVar("T")
MPS_SHARE = 0.6  # of the memory that Apple advises; activations, logits and an adapter take the rest

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
    quantize: str | None = None,
) -> LoadedModel:
    """Load a model; `name` None means the embedded one.

    `device` None: cuda, else mps, else cpu; "auto" spreads the layers over all devices. `dtype` None:
    bfloat16 on a GPU that has it, else float32.
    `quantize`: "nf4" or "int8" (bitsandbytes). Raises `ProbeError` for whatever cannot be found or read.
    """
    quiet()
    where = torch.device(_device(device))
    fit_threads()
    source, shown = source_of(name), name or f"{EMBEDDED_NAME} (embedded)"
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    placed: dict[str, Any] = {"device_map": "auto"} if device == "auto" else {}
    local = Path(source).is_dir()
    if revision and local:  # a config file may name it for another model
        print(f"probe: --revision {revision} is not used: {shown} is no model of the hub.", file=sys.stderr)
        options["revision"] = revision = None
    tensors = len(tensor_names(model_files(Path(source)))) if local else None
    if not local:
        _check_hub(source, revision)

    def read(make: Callable[..., T], **more: Any) -> T:
        return reading(*unreadable(name, source), lambda: make(source, **options, **more))

    config = read(AutoConfig.from_pretrained)
    check_config(shown, config, tensors)
    kind = _dtype(dtype, where, config)
    quantized = quantizing(quantize, shown, config, kind)
    if quantized and not placed:
        placed = {"device_map": {"": str(where)}}  # what is quantised cannot be moved afterwards
    tokenizer = _tokenizer(tokenizer_directory(adapter), read)
    model, info = read(
        AutoModelForCausalLM.from_pretrained,
        dtype=kind, use_safetensors=True, output_loading_info=True, **placed, **quantized,
        ignore_mismatched_sizes=True,  # refused below, by name
    )  # fmt: skip
    unused = check_weights(shown, info, model)
    full = with_adapter(exactly(model), adapter)
    full.eval()
    if not placed:
        reading(shown, "not loadable", "Try another --device.", lambda: full.to(where))
    check_runs(shown, full, tokenizer)
    facts = _facts(full, tokenizer, source, shown, revision, adapter, where, kind)
    facts |= {"unused_weights": len(unused), **quantization_facts(quantize, config, kind)}
    facts |= {"own_code": own} if (own := _own_code(full, source)) else {}
    return LoadedModel(full, tokenizer, shown, where, kind, facts)


def _tokenizer(saved: Path | None, read: Callable[..., Any]) -> PreTrainedTokenizerBase:
    """That which was saved with the adapter, since it was trained by its template; else the model's own."""
    if saved is None:
        return cast(PreTrainedTokenizerBase, read(AutoTokenizer.from_pretrained))
    how = (str(saved), "holds no readable tokenizer", "Save it again, or take its tokenizer files away.")
    return cast(PreTrainedTokenizerBase, reading(*how, lambda: AutoTokenizer.from_pretrained(str(saved))))


def _check_hub(name: str, revision: str | None) -> None:
    """Raises `ProbeError` where a hub model's index names anything but safetensors, or it is an adapter."""
    quiet = dict.fromkeys(("gated_repo", "missing_entries", "connection_errors"), False)
    options = {f"_raise_exceptions_for_{key}": value for key, value in quiet.items()}
    found = {}
    for file in (INDEX, ADAPTER_CONFIG):
        with suppress(OSError, ValueError):  # what is no model is told when its config is read
            found[file] = cached_file(name, file, revision=revision, **options)
    if found.get(ADAPTER_CONFIG):
        raise ProbeError(f"{name}: is an adapter. Name it with --adapter and its base model with --model.")
    if found.get(INDEX):
        for shard in shards(Path(str(found[INDEX]))):
            check_name(shard)


def _device(asked: str | None) -> str:
    """The device asked for, where a number can be put on it; the best there is by default."""
    if asked not in (None, "auto"):
        try:
            torch.zeros(1, device=str(asked)).item()
        except Exception as error:  # each backend has its own error for not being there
            raise ProbeError(
                f"--device {asked}: {first_line(error)}. torch {torch.__version__} cannot use it here; "
                "try --device cpu."
            ) from error
        return str(asked)
    if torch.cuda.is_available():
        return f"cuda:{local_rank()}" if world() > 1 else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(asked: str | None, device: torch.device, config: Any = None) -> torch.dtype:
    """The dtype asked for; by default the widest that is fast on the device and fits it."""
    if asked is None:
        if device.type == "mps":
            return _mps_dtype(config)
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bf16 else torch.float32
    kind = DTYPES.get(SHORT.get(asked, asked))
    if kind is None:
        raise ProbeError(f"--dtype {asked}: unknown. Use {', '.join(DTYPES)}.")
    if kind == torch.float64 and device.type == "mps":
        raise ProbeError("--dtype float64: Apple's GPUs have none. Use float32, or --device cpu.")
    return kind


def _mps_dtype(config: Any) -> torch.dtype:
    """float32 where the weights leave room in the memory that Apple advises, else a half type."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if 4 * parameters <= MPS_SHARE * torch.mps.recommended_max_memory():
        return torch.float32
    return torch.bfloat16 if torch.backends.mps.is_macos_or_newer(14, 0) else torch.float16


def source_of(name: str | None) -> str:
    """What transformers is asked for: a directory, or a hub name."""
    if name is None:
        return str(converted(embedded_gguf()))
    if is_endpoint(name):
        raise ProbeError(
            f"--model {name}: this needs the weights, and an endpoint gives log-probs alone. Use `probe "
            "bias` or `probe gate`, or name the model by its hub name, folder or file."
        )
    path = in_home(name)
    if path.suffix == ".gguf" and not path.is_file():
        raise ProbeError(f"{name}: no such file. Give a GGUF file, a model directory or a hub name.")
    if path.is_file():
        if path.suffix != ".gguf" and not is_gguf(path):
            raise ProbeError(
                f"{name}: a file that is no GGUF. Give a GGUF file, a model directory or a hub name."
            )
        return str(converted(path) if path.suffix == ".gguf" else plain_source(path))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ProbeError(
                f"{name}: no config.json in this directory. Give the directory of a saved model."
            )
        return str(plain_source(path))
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ProbeError(f"{name}: no such directory. Give a model directory, a GGUF file or a hub name.")
    return name


def unreadable(name: str | None, source: str) -> tuple[str, str, str]:
    """What, fact and remedy for a model that transformers cannot read."""
    if Path(source).is_dir():
        return name or source, "not a readable model", "Save it again."
    fact = "not a local directory, not a GGUF file, and not loadable from the hub or its local cache"
    return source, fact, "Check the name, the network, and that it has safetensors weights."


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
        "weights_sha256": weights_hash(source, commit),
        "adapter_sha256": weights_hash(str(adapter_directory(adapter))) if adapter else None,
        **adapter_facts(adapter, source, name),
        **tokenizer_facts(tokenizer),
        "architecture": type(causal_lm(model)).__name__,
        "parameters": weight_count(model),
        "dtype": str(dtype).removeprefix("torch."),
        "device": _device_name(device),
    }


def _own_code(model: torch.nn.Module, source: str) -> str:
    """Which code runs a model that brings its own, which a name or a folder alone do not tell: without
    --trust-remote-code the same weights are run by that of transformers, where it knows the kind. Else ""."""
    kind = type(causal_lm(model))
    if kind.__module__.partition(".")[0] != TRANSFORMERS_DYNAMIC_MODULE_NAME:
        return ""
    named = (getattr(causal_lm(model).config, "auto_map", None) or {}).values()
    elsewhere = any("--" in str(name) for name in named)  # in another repository, whose commit is in the name
    own = Path(source).is_dir() and not elsewhere  # its text is hashed with the weights, wherever it lies
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
