"""Each cause of a run that dies or stands still, made to happen on a tiny random Llama."""

import dataclasses
import math

import pytest
import torch

from probe.pairs.record import Pair
from probe.probes.numerics.first_step import first_step
from probe.probes.numerics.gated import _some
from probe.probes.numerics.judge import STEP_PAIRS, Plan, judge_numerics, judge_plan
from probe.probes.numerics.taken import FirstStep
from probe.scoring.encode import make_encoder
from probe.scoring.scores import EncodedPair, EncodedSide
from probe.scoring.source import Survey

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*")


@pytest.fixture
def encoded(pairs, make_tokenizer):
    return make_encoder(make_tokenizer("bpe", bos=True), pairs, "raw").many(pairs)[:3]


@pytest.fixture
def small(build):
    """Weights as they are initialised, not sharpened: the scale of a real model's."""
    model = build("llama")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.div_(4)
    return model


def judged(model, pairs, **plan):
    made = Plan(**plan)
    step = first_step(model, pairs, made)
    return {finding.code: finding for finding in judge_numerics(made, step).findings}, step


def test_float16_weights_under_adamw(small, encoded):
    codes, step = judged(small, encoded, dtype="float16", lora_rank=None)
    assert list(codes) == ["PB001"]
    assert "eps 1e-08 is rounded to 0 in float16" in codes["PB001"].message
    assert step.zero_gradients > 0
    assert step.weights_finite is False


@pytest.mark.parametrize(
    "plan",
    [
        {"dtype": "float32", "lora_rank": None},
        {"dtype": "float32"},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},  # LoRA: the adapter's weights are float32
        {"dtype": "float16", "lora_rank": None, "eps": 1e-4, "learning_rate": 1e-4},
    ],
    ids=str,
)
def test_plans_that_survive(small, encoded, plan):
    codes, step = judged(small, encoded, **plan)
    assert not [f for f in codes.values() if f.severity == "error"], codes
    assert step.after_finite
    assert step.loss == pytest.approx(math.log(2), abs=1e-3)


def test_float16_overflow_names_the_module(small, encoded):
    with torch.no_grad():
        small.model.layers[1].mlp.down_proj.weight.mul_(1e7)
    codes, step = judged(small, encoded, dtype="float16")
    assert list(codes) == ["PB002"]
    assert step.bad_module.startswith("model.layers.")
    assert judged(small, encoded, dtype="bfloat16")[1].bad_module is None


def test_float16_overflow_in_attention_scores(small, encoded):
    """q·k beyond 65,504: infinite minus infinite in the softmax. No module's own output shows it."""
    small.set_attn_implementation("eager")
    attention = small.model.layers[1].self_attn
    with torch.no_grad():
        attention.q_proj.weight.mul_(3e3)
        attention.k_proj.weight.mul_(3e3)
    codes, step = judged(small, encoded, dtype="float16")
    assert list(codes) == ["PB002"]
    assert step.bad_module == "the input of model.layers.1.self_attn.o_proj"


def test_float16_overflow_in_logits(small, encoded):
    with torch.no_grad():
        small.lm_head.weight.mul_(1e6)
    codes, step = judged(small, encoded, dtype="float16")
    assert list(codes) == ["PB002"]
    assert step.bad_module == "lm_head"


def test_damaged_weights_are_no_overflow(small, encoded):
    with torch.no_grad():
        small.lm_head.weight[7] = float("nan")
    codes, _ = judged(small, encoded)
    assert list(codes) == ["PB009"]
    assert "lm_head" in codes["PB009"].message


def test_bfloat16_updates_below_half_an_ulp(small, encoded):
    """A weight w moves only if the step exceeds |w|·2⁻⁹: at 1e-9 none of size .01 does, at 1e-2 all do."""
    codes, step = judged(small, encoded, dtype="bfloat16", lora_rank=None, learning_rate=1e-9)
    assert "PB003" in codes
    assert step.moved < 0.01
    assert "PB003" not in judged(small, encoded, dtype="bfloat16", lora_rank=None, learning_rate=1e-2)[0]


def test_fully_masked_row(small, encoded):
    cut = encoded[0].chosen
    masked = EncodedPair("cut", EncodedSide(cut.ids[: cut.start], cut.start, 0), encoded[0].rejected)
    codes, _ = judged(small, [*encoded, masked])
    assert codes["PB004"].worst_pairs == ("cut",)
    assert judged(small, [masked])[1].loss is None


def test_learning_rate_zero_moves_nothing(small, encoded):
    codes, step = judged(small, encoded, learning_rate=0.0)
    assert list(codes) == ["PB005"]
    assert step.moved == 0


def test_beta_zero_has_no_gradient(small, encoded):
    codes, step = judged(small, encoded, beta=0.0)
    assert list(codes) == ["PB006"]
    assert step.zero_gradients == step.weights
    assert step.loss == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("plan", "codes"),
    [
        ({}, []),
        ({"learning_rate": 0.0}, ["PB005"]),
        ({"learning_rate": -1e-5}, ["PB005"]),
        ({"learning_rate": math.nan}, ["PB005"]),
        ({"learning_rate": 1e-2}, ["PB007"]),
        ({"learning_rate": 5e-4, "lora_rank": None}, ["PB007"]),
        ({"learning_rate": 1e-8}, ["PB007"]),
        ({"learning_rate": 1e-6, "lora_rank": None}, []),
        ({"beta": 0.0}, ["PB006"]),
        ({"beta": 0.0, "method": "sft", "learning_rate": 2e-4}, []),
        ({"dtype": "float16", "lora_rank": None, "learning_rate": 1e-6}, ["PB001"]),
        ({"dtype": "float16", "lora_rank": None, "learning_rate": 1e-6, "fused": True}, []),
        ({"dtype": "float16"}, []),
    ],
    ids=str,
)
def test_what_the_plan_alone_shows(plan, codes):
    assert [finding.code for finding in judge_plan(Plan(**plan))] == codes


def test_a_start_that_is_not_ln_2():
    step = FirstStep(4, loss=0.75, gradients_finite=True, weights=10, moved=1.0, weights_finite=True)
    found = judge_numerics(Plan(), step).findings
    assert [f.code for f in found] == ["PB008"]


@pytest.mark.parametrize("method", ["dpo", "dpop", "dpo_nll", "ipo", "orpo", "simpo", "sft"])
def test_every_method_takes_its_step_and_leaves_the_model_alone(small, encoded, method):
    before = {name: p.clone() for name, p in small.named_parameters()}
    _, step = judged(small, encoded, method=method, learning_rate=1e-4)
    assert step.after_finite
    assert step.moved > 0.5
    assert all(torch.equal(p, before[name]) for name, p in small.named_parameters())


@pytest.mark.parametrize(
    ("plan", "codes"),
    [
        ({"dtype": "float16", "lora_rank": None, "learning_rate": 5e-6}, ["PB001"]),
        ({"dtype": "float32"}, []),
        ({"dtype": "bfloat16"}, []),
    ],
    ids=str,
)
def test_the_embedded_model(plan, codes):
    from probe.pairs.record import Pair
    from probe.scoring.model import load_model

    loaded = load_model(device="cpu", dtype="float32")
    rows = [Pair("1", "What is rain?", "Water that falls.", "I cannot say.")]
    encoded = make_encoder(loaded.tokenizer, rows, "auto").many(rows)
    found, _ = judged(loaded.model, encoded, **plan)
    assert list(found) == codes


def test_pairs_whose_sides_are_alike_say_nothing_of_the_set_up(small, encoded):
    """Their loss depends on no weight: the step is made on others, else that is the cause."""
    alike = [dataclasses.replace(pair, rejected=pair.chosen) for pair in encoded] * 2
    codes, step = judged(small, [*alike, *encoded])
    assert not codes and step.moved > 0.9
    codes, step = judged(small, alike)
    assert list(codes) == ["PB004"] and step.moved is None
    assert "the same tokens" in codes["PB004"].message


def test_where_no_weight_has_a_gradient_none_is_said_to_have_stood_still():
    for dtype, remedy in (("float32", "depend on"), ("float16", "float32")):
        step = FirstStep(
            3, loss=0.6931, gradients_finite=True, zero_gradients=9, weights=9, after_finite=True
        )
        (finding,) = judge_numerics(Plan(dtype=dtype), step).findings
        assert finding.code == "PB003" and "no weight has a gradient" in finding.message
        assert remedy in finding.remedy


def test_the_step_is_made_on_pairs_of_the_file_that_differ():
    alike = [Pair(str(i), "p", "a", "a", line=i) for i in range(1, 30)]
    sound = [Pair(str(i), "p", "a", "b", line=i) for i in range(30, 60)]
    assert _some(Survey({}, alike, [*alike[:3], *sound]))[0].line == 30
    assert len(_some(Survey({}, alike, alike))) == 16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_step_is_that_of_the_adapter_that_the_model_has(small, encoded, dtype):
    """A fresh adapter had taken its name, and with it the place of its weights."""
    from peft import LoraConfig, get_peft_model

    from probe.probes.numerics.first_step import _planned

    model = get_peft_model(
        small, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    ).eval()
    ids = torch.tensor([encoded[0].chosen.ids])
    planned = _planned(model, Plan(dtype=dtype))
    with torch.no_grad():
        assert torch.allclose(
            planned(ids).logits.float(), model(ids).logits, atol=1e-5 if dtype == "float32" else 0.1
        )
        with model.disable_adapter():
            assert not torch.allclose(planned(ids).logits.float(), model(ids).logits, atol=0.2)
    assert first_step(model, encoded, Plan(dtype=dtype)).moved


def test_its_numbers_are_of_the_pairs_that_it_was_made_on(small, encoded):
    """Not of all that were looked at: n had been 16 in a gate, and the whole file in `probe negatives`."""
    many = [dataclasses.replace(encoded[0], id=str(i)) for i in range(9)]
    step = first_step(small, many, Plan())
    assert {e.n for e in judge_numerics(Plan(), step).estimates} == {STEP_PAIRS}
    assert {e.n for e in judge_numerics(Plan(), first_step(small, many[:2], Plan())).estimates} == {2}
