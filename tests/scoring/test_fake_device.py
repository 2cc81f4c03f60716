"""Load, score, sample, measure and train on a device without numbers: where do devices mix, who waits?"""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from torch._subclasses.fake_tensor import FakeTensor

from probe.pairs.record import Pair
from probe.scoring import model as loading
from probe.scoring.encode import make_encoder
from probe.scoring.engine import sorted_packs
from probe.scoring.gradients import gradient_products
from probe.scoring.readout import depths, pooled_states, read_out
from probe.scoring.sampling import Draw, draw_samples
from probe.scoring.service import Scorer
from probe.training import evaluate
from probe.training.data import examples
from probe.training.data import sides_of as loop_sides
from probe.training.evaluate import sampled_health, side_sums
from probe.training.policy import Policy, trainable_model
from probe.training.recipes import recipe
from probe.training.step import Stepper

from .fake_device import DEVICE, FakeDevice

PAIRS = [Pair(f"p{i}", f"Say {i % 4}:", f" yes {i * 3}", f" no {i * 7}", line=i + 1) for i in range(12)]


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(FakeTensor, "tolist", lambda tensor: tensor.cpu().tolist())  # torch's: one by one
    with FakeDevice() as device:
        yield device


@pytest.fixture
def there(monkeypatch, gpu, tiny_model_dir):
    """The tiny model, loaded onto the device by the loader itself."""
    monkeypatch.setattr(loading, "_device", lambda _: DEVICE)
    loaded = loading.load_model(str(tiny_model_dir), dtype="bfloat16")
    assert {p.device.type for p in loaded.model.parameters()} == {DEVICE}
    gpu.left.clear()  # transformers makes a model on the meta device, on its way to any other
    return loaded


def sides_of(encoder):
    return [side for code in encoder.many(PAIRS) for side in (code.chosen, code.rejected)]


def test_the_device_is_not_the_host(gpu):
    there = torch.zeros(3, device=DEVICE)
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.zeros(3)
    assert (there + 1).cpu().tolist() == [0, 0, 0] and float(there.sum()) == 0 and bool((there > 0).any())
    assert sum(gpu.left.values()) == 3


def test_a_packed_forward_is_one_transfer_a_pack(there, gpu):
    encoder = make_encoder(there.tokenizer, PAIRS, "raw")
    sides = sides_of(encoder)
    scorer = Scorer(there, encoder, budget=1 << 20)
    scorer.side_logps(sides[:2])
    assert scorer.proof is not None and not scorer.proof.plain
    gpu.left.clear()
    values = scorer.side_logps(sides)
    assert [len(v) for v in values] == [len(side.ids) - side.start for side in sides]
    assert gpu.left == {"service._pass": 1}
    scorer.budget = 40
    scorer.side_logps(sides)
    packs = len(list(sorted_packs(there.model, sides, 40)))
    assert packs > 1 and gpu.left == {"service._pass": 1 + packs}


def test_sampling_is_one_transfer_a_step(there, gpu):
    draws = [Draw((1, 2, 3 + i), 1.0, i) for i in range(4)]
    (answers,) = draw_samples(there, draws, tokens=6)
    assert [len(answer.ids) for answer in answers.values()] == [6] * 4
    assert gpu.left == {"sampling._together": 6}
    gpu.left.clear()
    list(draw_samples(there, draws, tokens=6, top_p=0.9))  # whether the nucleus holds enough is asked as well
    assert gpu.left == {"sampling._together": 6, "sampling._drawn": 6}


def test_reading_states_is_one_transfer_a_side(there, gpu):
    sides = sides_of(make_encoder(there.tokenizer, PAIRS, "raw"))
    read = dict(read_out(there.model, sides, depths(there.model)))
    assert len(read) == len(sides) and gpu.left == {"readout._arrays": len(sides)}
    one = read[0]
    assert one.pooled.shape == (4, 32) and one.summed.shape == (32,) and one.top.dtype == bool
    assert len(one.logps) == len(one.entropies) == len(one.top) == len(sides[0].ids) - sides[0].start


def test_reading_mean_states_is_one_transfer_a_pack(there, gpu):
    sides = sides_of(make_encoder(there.tokenizer, PAIRS, "raw"))
    states = dict(pooled_states(there.model, sides, 1))
    assert len(states) == len(sides) and gpu.left == {"readout._arrays": 1} and states[0].shape == (32,)


def test_gradients_are_one_transfer_a_side(there, gpu):
    codes = make_encoder(there.tokenizer, PAIRS, "raw").many(PAIRS[:3])
    assert len(gradient_products(there, codes)) == 3
    assert gpu.left == {"gradients._gradient": 6}


class Alone:
    """What a step asks of accelerate in one process. accelerate itself places a model by what is there."""

    num_processes, process_index, scaler = 1, 0, None
    optimizer_step_was_skipped, distributed_type = False, DistributedType.NO

    def unwrap_model(self, model):
        return model

    def no_sync(self, model):
        return nullcontext()

    def backward(self, loss):
        loss.backward()

    def clip_grad_norm_(self, parameters, clip):
        return torch.nn.utils.clip_grad_norm_(parameters, clip)


@pytest.mark.parametrize("method", ["sft", "dpo", "dpop", "orpo"])
def test_a_training_step_waits_twice(there, gpu, method):
    """For the sums that its log row is made of, a micro-batch, and for the norm of the gradient."""
    encoder = make_encoder(there.tokenizer, PAIRS, "raw")
    items = [replace(item, reference=(-9.0, -8.0)) for item in examples(PAIRS, encoder)]
    chosen = recipe(method, 10**6)
    policy = Policy(trainable_model(there.model, chosen))
    trained = [p for p in policy.parameters() if p.requires_grad]
    assert trained and {p.device.type for p in trained} == {DEVICE}
    optimizer = torch.optim.AdamW(trained)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    step = Stepper(Alone(), policy, optimizer, scheduler, chosen, micro_tokens=1 << 20)
    gpu.left.clear()
    done = step(items[:6])
    assert done.finite and done.grad_norm == 0.0
    sums = "step._sft" if method == "sft" else "objective.of"
    assert gpu.left == {sums: 1, "step._update": 1}
    assert {state["exp_avg"].device.type for state in optimizer.state.values()} == {DEVICE}
    gpu.left.clear()
    assert len(side_sums(policy, Alone(), loop_sides(items), 1 << 20)) == 2 * len(items)
    assert gpu.left == {"evaluate.side_sums": 1}


def test_health_is_one_transfer_per_sampled_token_and_one_more(there, gpu, monkeypatch):
    monkeypatch.setattr(evaluate, "NEW_TOKENS", 6)  # each forward of this device takes a quarter of a second
    assert sampled_health(there, SimpleNamespace(is_main_process=True, num_processes=1), [(1, 2)], 0)
    assert gpu.left == {"sampling._together": 6, "evaluate._top_masses": 1}
