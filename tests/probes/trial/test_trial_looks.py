"""How much a trial looks at: one half where that settles it, else more, and no more where it is hopeless."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from probe.errors import ProbeError
from probe.pairs.record import Pair
from probe.probes.trial import run
from probe.probes.trial.gated import affordable
from probe.probes.trial.options import TrialOptions
from probe.records import Estimate, Measured


def share(name, value, p=None):
    return Estimate(name, value, None, None, 50, p, "", "share")


@pytest.mark.parametrize(
    ("estimates", "settled", "hopeless"),
    [
        ([share("trial_accuracy", 0.8, 1e-4)], True, False),
        ([share("trial_accuracy", 0.6, 0.02)], True, False),
        ([share("trial_accuracy", 0.6, 0.03)], False, False),
        ([share("trial_accuracy", 0.9, 1e-6), share("behaviour_up", 0.55, 0.3)], False, False),
        ([share("trial_accuracy", 0.9, 1e-6), share("behaviour_up", 0.5, 1.0)], False, True),
        (
            [share("trial_accuracy", 0.9), share("behaviour_up", 0.5, 1.0), share("behaviour_up@sft", 0.6)],
            False,
            False,
        ),
        ([share("trial_accuracy", 0.45, 0.6), share("behaviour_up@sft", 0.7)], False, False),
        ([share("trial_accuracy", 0.45, 0.6), share("behaviour_up", None)], False, True),
        ([share("trial_accuracy", 0.9, 1e-6), share("behaviour_up", None)], False, False),
        ([share("trial_accuracy", 0.5, 1.0), share("behaviour_up", 0.9, 1e-6)], True, False),
        ([share("trial_accuracy", 0.2, 1e-5)], True, True),
        ([replace(share("trial_accuracy", 1.0, 1e-3), n=12)], False, False),
    ],
)
def test_when_a_look_is_enough(estimates, settled, hopeless):
    measured = Measured(tuple(estimates))
    assert run.settled(measured, TrialOptions(alpha=0.025)) is settled
    assert run.hopeless(measured) is hopeless


class Course:
    """Writes down what would be trained and measured."""

    updates = 1

    def __init__(self):
        self.done = []

    def begin(self, train, scored):
        return list(train), None

    def fold(self, train):
        return list(train)

    def measure(self, fold, unseen, advance):
        self.done.append((len(fold), len(unseen)))


def looked(monkeypatch, design, *accuracies):
    """(train, unseen) of each measurement when the looks come to these accuracies and p-values."""
    course, told = Course(), iter(accuracies)
    monkeypatch.setattr(
        run, "_judged", lambda course, options: Measured((share("trial_accuracy", *next(told)),))
    )
    _, n, _ = run._looks(course, design, TrialOptions())
    return course.done, n


def test_a_second_look_only_where_the_first_settles_nothing(monkeypatch):
    small = run.Design([1] * 20, [2] * 20, [1] * 20, True, list)
    assert looked(monkeypatch, small, (0.9, 1e-4)) == ([(20, 20)], 40)
    assert looked(monkeypatch, small, (0.6, 0.3), (0.6, 0.1)) == ([(20, 20), (20, 20)], 40)
    assert looked(monkeypatch, small, (0.4, 0.3)) == ([(20, 20)], 40)
    large = run.Design([1] * 96, [2] * 64, [3] * 300, False, list)
    assert looked(monkeypatch, large, (0.6, 0.3), (0.6, 0.01)) == ([(96, 64), (96, 300)], 460)


def session(monkeypatch):
    monkeypatch.setattr(
        run,
        "examples",
        lambda pairs, *_, **__: [
            SimpleNamespace(prompt=p.prompt, line=p.line, codes=None) for p in pairs
        ],
    )  # fmt: skip
    return SimpleNamespace(encoder=None, encoded=lambda pairs: [], scores_of=lambda pairs, name: [])


def made(n):
    return [Pair(str(i), f"prompt {i // 2}", "a", "b", line=i + 1) for i in range(n)]


@pytest.mark.parametrize(
    ("n", "most", "sizes"),
    [(40, 512, (20, 20, 20)), (150, 512, (76, 74, 76)), (2000, None, (64, 64, 64)),
     (2000, 512, (192, 64, 256)), (300, 512, (150, 64, 86))],
)  # fmt: skip
def test_how_much_is_drawn(monkeypatch, n, most, sizes):
    design = run.designed(made(n), session(monkeypatch), TrialOptions(most=most))
    assert np.allclose([len(part) for part in (design.train, design.first, design.second)], sizes, atol=2)
    train, first, second = ({i.prompt for i in part} for part in (design.train, design.first, design.second))
    assert not train & first and (second == train if design.cross else not second & train)
    assert design.cross == (n <= 160 or most is None)


def test_long_pairs_take_fewer_steps_and_never_too_few():
    assert [affordable(tokens, 8) for tokens in (50, 200, 300, 5000)] == [24, 12, 8, 8]


def crowded(prompts, each):
    """So many prompts of so many pairs."""
    return [Pair(str(i), f"prompt {i % prompts}", "a", "b", line=i + 1) for i in range(prompts * each)]


@pytest.mark.parametrize(("prompts", "each"), [(3, 150), (2, 100), (5, 60), (4, 200)])
def test_few_large_prompts_are_tried_on_what_is_drawn(monkeypatch, prompts, each):
    """Whole prompts are drawn: where but two come, there is no second look, and no error either."""
    design = run.designed(crowded(prompts, each), session(monkeypatch), TrialOptions(most=512))
    train, first, second = ({i.prompt for i in part} for part in (design.train, design.first, design.second))
    assert train and first and not train & first and (design.cross or not second & (train | first))


@pytest.mark.parametrize(
    ("pairs", "kept", "flags", "told"),
    [
        (crowded(3, 150), True, (), ["0 of 3 prompts drawn", "--pairs 300"]),
        (made(24), False, ("prompt_fills",), ["of 24 pairs", "the prompt fills --max-length (24)"]),
        (made(24), False, ("identical",), ["both sides are the same tokens (24)"]),
        (crowded(1, 24), True, (), ["all pairs share one prompt"]),
    ],
)
def test_too_few_prompts_are_told_with_the_true_reason(monkeypatch, pairs, kept, flags, told):
    stub = session(monkeypatch)
    stub.encoded = lambda some: [SimpleNamespace(flags=flags) for _ in some]
    if not kept:
        monkeypatch.setattr(run, "examples", lambda *_, **__: [])
    with pytest.raises(ProbeError) as error:
        run.designed(pairs, stub, TrialOptions())
    assert all(part in str(error.value) for part in told)
    assert ("share one prompt" in str(error.value)) is (len({pair.prompt for pair in pairs}) == 1)


def test_the_remedy_for_large_prompts_draws_two(monkeypatch):
    pairs = crowded(3, 150)
    for options in (TrialOptions(pairs=300), TrialOptions(pairs=300, most=1200)):
        assert run.designed(pairs, session(monkeypatch), options).train
