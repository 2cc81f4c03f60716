"""Options that belong together: one parameter of a command's function stands for all of them.

`configured` replaces a parameter annotated with a `Bundle` by the bundle's options, and hands the function
what `build` makes of their values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_args

import typer

from ..gate.registry import PROBE_NAMES
from ..scoring.options import ModelOptions
from . import options


@dataclass(frozen=True, slots=True)
class Bundle:
    """Some options, and what a command gets in their place."""

    options: tuple[inspect.Parameter, ...]
    build: Callable[..., Any]


def bundle_of(parameter: inspect.Parameter) -> Bundle | None:
    """The bundle that this parameter of a command stands for."""
    return next((part for part in get_args(parameter.annotation)[1:] if isinstance(part, Bundle)), None)


def expanded(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """The parameters with every bundle's options in its place."""
    found = [(p, bundle_of(p)) for p in parameters]
    return [option for p, bundle in found for option in (bundle.options if bundle else (p,))]


def bundled(parameters: Iterable[inspect.Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the parameters of the function itself: those of a bundle's options built into one."""
    made = {}
    for p in parameters:
        bundle = bundle_of(p)
        made[p.name] = (
            bundle.build(**{o.name: values[o.name] for o in bundle.options}) if bundle else values[p.name]
        )
    return made


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _loading(*without: str) -> Bundle:
    """The fields of `ModelOptions` as options, each with the annotation that `options` has for it."""
    known = {
        "model": options.ModelOption,
        "device": options.Device,
        "dtype": options.DTypeOption,
        "revision": options.Revision,
        "adapter": options.Adapter,
        "trust_remote_code": options.TrustRemoteCode,
        "template": options.TemplateOption,
        "max_length": options.MaxLength,
        "no_cache": options.NoCache,
        "quantize": options.Quantize,
        "tokenizer": options.TokenizerOption,
    }
    shown = [field for field in fields(ModelOptions) if field.name not in without]
    made = (_option(field.name, known[field.name], field.default) for field in shown)
    return Bundle(tuple(made), ModelOptions)


# Which model, how it is run, and how pairs become tokens; one of which log-probs are all that is asked may be
# served. Sampling cuts no pairs; a comparison names its two models itself; encoding runs no model.
LoadingOptions = Annotated[ModelOptions, _loading("tokenizer")]
Serving = Annotated[ModelOptions, _loading()]
SamplingOptions = Annotated[ModelOptions, _loading("max_length", "tokenizer")]
Comparing = Annotated[ModelOptions, _loading("model", "revision", "adapter", "tokenizer")]
Encoding = Annotated[
    ModelOptions, _loading("device", "dtype", "adapter", "no_cache", "quantize", "tokenizer")
]

SWITCH = Annotated[bool, typer.Option(help="Leave it out; its conditions then stay open.")]
# The names of the probes that are switched off.
Switches = Annotated[
    frozenset[str],
    Bundle(
        tuple(_option(name, SWITCH, True) for name in PROBE_NAMES),
        lambda **on: frozenset(name for name in PROBE_NAMES if not on[name]),
    ),
]
