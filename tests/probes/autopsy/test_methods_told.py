"""What a log is told to be where its columns could be those of several methods."""

import math
import random

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.log import make_log

LN2 = math.log(2)
N = 40


def found(rows, **hints):
    return diagnose(make_log("x", rows, **hints))


def labels(it):
    return {tag.label for tag in it.tags}


def curve(first: float, last: float, noise: float = 0.01, seed: int = 3):
    """A value that goes from `first` to `last`, fast at first, with some noise."""
    rng = random.Random(seed)
    return [last + (first - last) * math.exp(-4 * i / N) + rng.gauss(0.0, noise) for i in range(N)]


def columns(**named):
    return [{"step": 10 * (i + 1), **{k: v[i] for k, v in named.items()}} for i in range(N)]


def with_held_out(rows, **named):
    held = [{"step": 100 * k, **{f"eval_{key}": v for key, v in named.items()}} for k in range(1, 5)]
    return sorted([*rows, *held], key=lambda row: row["step"])


TOKENS = {
    "ms-swift's acc": columns(loss=curve(1.83, 1.09), acc=curve(0.6, 0.69)),
    "a high loss": columns(loss=curve(2.6, 2.1), acc=curve(0.47, 0.52)),
    "another name": columns(loss=curve(1.4, 0.8), accuracy=curve(0.65, 0.8)),
    "texts known to begin with": columns(loss=[0.7, *curve(0.7, 0.5)[1:]], acc=curve(0.82, 0.86, 0.003)),
    "evaluations": with_held_out(columns(loss=curve(1.8, 1.1), acc=curve(0.6, 0.69)), loss=1.2, acc=0.66),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_an_accuracy_of_tokens_is_no_preference(kind):
    it = found(TOKENS[kind])
    assert (it.method.name, it.main, labels(it)) == ("SFT", "healthy", set())
    assert "rewards/" not in it.sign.evidence


FROM_LN2 = [0.6931, *curve(0.69, 0.3)[1:]]
PAIRS = {
    "from ln 2": columns(loss=FROM_LN2, acc=curve(0.5, 0.9)),
    "ties in the first batch": columns(loss=FROM_LN2, accuracy=[0.0, *curve(0.5, 0.9)[1:]]),
    "moved within the first entry": columns(loss=curve(0.62, 0.3), acc=curve(0.6, 0.9)),
    "the name says so": columns(loss=curve(1.4, 0.8), **{"rewards/accuracies": curve(0.5, 0.7)}),
    "LLaMA-Factory": columns(current_steps=range(N), loss=curve(1.4, 0.8), accuracy=curve(0.5, 0.7)),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_an_accuracy_of_pairs_stays_one(kind):
    assert found(PAIRS[kind]).method.name == "DPO"


def test_without_rewards_a_high_start_is_a_wrong_reference_only_if_it_is_dpo():
    (tag,) = found(PAIRS["the name says so"]).tags
    assert (tag.label, tag.confidence) == ("ref_mismatch", "cannot tell")
    assert "ORPO" in tag.next
