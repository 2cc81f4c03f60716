"""A parameter that stands for several options: each is an option of the command, built into one value."""

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest

from probe.commands import bundles
from probe.gate.registry import PROBE_NAMES
from probe.scoring.options import ModelOptions


def parameters(kind):
    def command(pairs: str, how: kind = None) -> None:
        """A command."""

    command.__annotations__ = {"pairs": str, "how": kind}
    hints = get_type_hints(command, include_extras=True)
    return [p.replace(annotation=hints[p.name]) for p in inspect.signature(command).parameters.values()]


def test_every_field_of_the_model_options_is_an_option_with_its_default():
    names = {p.name: p.default for p in bundles.expanded(parameters(bundles.Serving))}
    assert names == {"pairs": inspect.Parameter.empty} | {f.name: f.default for f in fields(ModelOptions)}


@pytest.mark.parametrize("kind, absent", [(bundles.SamplingOptions, 2), (bundles.Encoding, 6)])
def test_what_a_command_does_not_take_keeps_its_default(kind, absent):
    own = parameters(kind)
    shown = bundles.expanded(own)
    assert len(shown) == 1 + len(fields(ModelOptions)) - absent
    values = {p.name: f"given {p.name}" for p in shown}
    made = bundles.bundled(own, values)
    assert made["pairs"] == "given pairs"
    assert made["how"] == ModelOptions(**{p.name: values[p.name] for p in shown if p.name != "pairs"})


def test_the_switches_name_the_probes_that_are_off():
    own = parameters(bundles.Switches)
    values = {"pairs": "x", **dict.fromkeys(PROBE_NAMES, True), "trial": False}
    assert bundles.bundled(own, values)["how"] == {"trial"}


@pytest.mark.parametrize(
    "typed", [("trial", "--trim", "0.2"), ("negatives", "--trim-by", "ches"), ("trial", "--by", "difficulty")]
)
def test_how_to_trim_needs_a_file_to_write(probe, pair_file, typed):
    done = probe(typed[0], pair_file, *typed[1:])
    assert done.code == 2 and f"{typed[1]}: does nothing without --export-trimmed FILE" in done.line
