"""Whether the weights that were asked for are the weights that were loaded, and whether they can be run.

Libraries fill what a file does not hold with random numbers and pass over what they do not know. Both give
scores that look like any others, so both are looked at here by name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from ..errors import CannotMeasure, ProbeError
from .padded import draw_alone_where_padding_counts

WRAPPERS = ("_orig_mod.", "module.", "_fsdp_wrapped_module.", "base_model.model.", "model.")
LOOKS_AHEAD = 0.05  # of a token's own effect; products in 8 bits leave less of one token in another's
NAMES_SHOWN = 3  # so many names are shown
T = TypeVar("T")


def reading(what: str, fact: str, remedy: str, read: Callable[[], T]) -> T:
    """What `read` gives; whatever a library raises on a file that is not as it should be becomes one line.

    Raises `ProbeError`, or `CannotMeasure` where memory ran out.
    """
    try:
        return read()
    except (ProbeError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise CannotMeasure(
            f"{what}: {first_line(error)}. Try a smaller --dtype or another --device."
        ) from error
    except BaseException as error:  # tokenizers' panics are no `Exception`
        raise ProbeError(f"{what}: {fact} ({first_line(error)}). {remedy}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error that says something, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = lines[0] if not isinstance(error, KeyError) else f"no {lines[0]}"
    return text.rstrip(".:")[:160]


def check_weights(what: str, info: Mapping[str, Any], model: torch.nn.Module) -> list[str]:
    """The names of weights that were left unused, told on stderr.

    Raises `ProbeError` for weights of the model that the files do not hold, and for weights of its own
    modules and layers that it leaves unused: either way what is computed is not what was trained.
    """
    missing, spare = sorted(map(str, info["missing_keys"])), sorted(map(str, info["unexpected_keys"]))
    if missing:
        raise ProbeError(
            f"{what}: its files lack {_count(missing)} of the model ({_some(missing)}), which would be "
            f"random numbers. {_mend(missing, spare)}"
        )
    if mismatched := sorted(str(key[0]) for key in info["mismatched_keys"]):
        raise ProbeError(
            f"{what}: {_count(mismatched)} have other shapes than config.json says ({_some(mismatched)})."
        )
    method = getattr(getattr(model, "config", None), "quantization_config", None)
    if method and getattr(model, "hf_quantizer", None) is None:
        raise ProbeError(
            f"{what}: config.json names a quantization that transformers does not know. Update it, or "
            "give the model before it was quantized."
        )
    if own := [name for name in spare if _belongs(name, model)]:
        raise ProbeError(
            f"{what}: {_count(own)} in its files have no place in the model of its config.json "
            f"({_some(own)}). Put back the config that these weights were saved with."
        )
    if spare:
        print(f"probe: {what}: {_count(spare)} in its files are not used ({_some(spare)}).", file=sys.stderr)
    return spare


def check_adapter(what: str, wrapped: torch.nn.Module, info: Any, found: Iterable[str]) -> None:
    """Raises `ProbeError` unless the adapter has all of its tensors and its file holds no others."""
    config: Any = next(iter(wrapped.peft_config.values()))  # type: ignore[operator]
    names = list(found)
    missing = sorted(info.missing_keys)
    missing += [kept for kept in config.modules_to_save or () if not any(kept in name for name in names)]
    spare = sorted(info.unexpected_keys)
    if missing:
        raise ProbeError(
            f"{what}: {_count(missing)} of the adapter are not in its file ({_some(missing)}), and would not "
            f"be as trained. {_mend(missing, spare, 'adapter_config.json')}"
        )
    if spare:
        raise ProbeError(
            f"{what}: {_count(spare)} in its file have no place in the adapter ({_some(spare)}). It was "
            "trained under another adapter_config.json or on another model; put back the config, or name the "
            "model with --model."
        )


def _belongs(name: str, model: torch.nn.Module) -> bool:
    """Whether an unused weight is one of a module that the model has, or of a further one of its layers."""
    modules = {module for module, _ in model.named_modules() if module}
    layers = {_numbered(own) for own in modules if re.search(r"\.\d+(\.|$)", own)}
    parent = name.rpartition(".")[0]
    return parent in modules or (_numbered(parent) in layers and _numbered(parent) != parent)


def _numbered(name: str) -> str:
    return re.sub(r"\d+", "N", name)


def _mend(missing: Sequence[str], spare: Sequence[str], config: str = "config.json") -> str:
    """How to put it right: what stands in front of the names where that is the whole difference."""
    for wrapper in WRAPPERS:
        bare = {name.removeprefix(wrapper) for name in spare if name.startswith(wrapper)}
        if bare.intersection(missing):
            return (
                f"The file has them with {wrapper!r} in front: unwrap the model before saving it, or rename "
                f'the tensors: save_file({{k.removeprefix("{wrapper}"): v for k, v in '
                'load_file(F).items()}, F, {"format": "pt"}).'
            )
        if {f"{wrapper}{name}" for name in spare}.intersection(missing):
            return f"The file has them without {wrapper!r} in front: save the whole model, not a part of it."
    if spare:
        return f"The file has others ({_some(spare)}): check that {config} is the one saved with it."
    return f"Save it again whole, and check {config}."


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} weight{'s' if len(names) > 1 else ''}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")


def check_config(what: str, config: Any, tensors: int | None) -> None:
    """Raises `ProbeError` for sizes that no model has. `tensors`: how many the files hold, where known."""
    sizes = config.get_text_config()
    for name in ("num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads"):
        value = getattr(sizes, name, 1)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ProbeError(f"{what}: config.json has {name} {value!r}. Put back the config of its weights.")
    layers = getattr(sizes, "num_hidden_layers", 1) or 1
    if tensors is not None and layers > tensors:
        raise ProbeError(
            f"{what}: config.json says {layers} layers, and its files hold {tensors} tensors. Put back the "
            "config of its weights."
        )


@torch.no_grad()
def check_runs(what: str, model: torch.nn.Module, tokenizer: Any) -> None:
    """Raises `ProbeError` where two tokens do not go through the model, it lacks ids of its tokenizer, or its
    logits of the first token depend on the second."""
    rows = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    if tokenizer.vocab_size > rows:
        raise ProbeError(
            f"{what}: its tokenizer has {tokenizer.vocab_size} tokens, and the model has {rows}: it is that "
            "of another model. Put the model's own tokenizer files beside its weights."
        )
    device = model.get_input_embeddings().weight.device  # type: ignore[operator]
    ids = torch.tensor([[rows // 3, rows // 2], [rows // 3, 2 * rows // 3]], device=device)
    again = "Check its config.json against the one that its weights were saved with."
    logits = reading(
        what, "does not run", again, lambda: model(input_ids=ids, use_cache=False).logits.float().cpu()
    )
    if logits.shape[:2] != (2, 2):
        raise ProbeError(f"{what}: gives {tuple(logits.shape)} logits for two texts of two tokens. {again}")
    before, behind = (logits[0] - logits[1]).abs().amax(-1).tolist()
    if before > LOOKS_AHEAD * behind:
        raise ProbeError(
            f"{what}: what it says after a token depends on the tokens behind, as in masked language models "
            "(BERT), so that its log-probs are of no text. Give a causal language model."
        )
    draw_alone_where_padding_counts(model)
