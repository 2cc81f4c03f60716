"""Models whose rotary positions turn at a length: sequences on both sides of it share no forward."""

import numpy as np
import pytest
import torch
import transformers as hf
from tiny_models import SIZES, sharpened

from probe.scoring.engine import hidden_states, sorted_packs, token_logps
from probe.scoring.positions import room, side_of, turning_lengths
from probe.scoring.readout import pooled_states, read_out
from probe.scoring.sampling import Draw, draw_samples
from probe.scoring.scores import EncodedSide
from probe.scoring.service import Scorer

TURN = 40
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 6,
    "long_factor": [4.0 + i for i in range(6)],
}  # fmt: skip
TURNING = {
    "phi3": lambda: hf.Phi3ForCausalLM(
        hf.Phi3Config(
            **SIZES, original_max_position_embeddings=TURN,
            rope_parameters={**LONGROPE, "original_max_position_embeddings": TURN},
        )
    ),
    "llama": lambda: hf.LlamaForCausalLM(
        hf.LlamaConfig(
            **SIZES,
            rope_parameters={**LONGROPE, "factor": 8.0, "original_max_position_embeddings": TURN},
        )
    ),
}  # fmt: skip


@pytest.fixture(params=TURNING)
def turning(request):
    torch.manual_seed(0)
    return sharpened(TURNING[request.param]())


@pytest.fixture
def sides():
    """Long and short sequences that share a beginning, at the length itself and one token beyond."""
    rng = np.random.default_rng(0)
    shared = rng.integers(4, 400, 24).tolist()
    lengths = (30, 70, TURN, TURN + 1, 36, 90)
    return [EncodedSide((*shared, *rng.integers(4, 400, n - 24).tolist()), 24, 1) for n in lengths]


def test_packed_scores_are_those_of_one_sequence_at_a_time(turning, sides, make_tokenizer, load):
    with torch.no_grad():
        alone = token_logps(turning, sides, plain=True)
        packed = token_logps(turning, sides)
        scored = Scorer(load(turning, make_tokenizer()), None).side_logps(sides)
        mixed = token_logps(turning, sides[:1] + sides[:1])  # what they would be without the others
    assert torch.allclose(mixed[0], alone[0], atol=1e-4)
    for one, other, kept in zip(alone, packed, scored, strict=True):
        assert torch.allclose(one, other, atol=1e-4) and np.allclose(one, kept, atol=1e-4)


def test_so_are_states_and_readouts(turning, sides):
    alone, packed = (dict(read_out(turning, sides, (1, 2), plain=plain)) for plain in (True, False))
    pooled, apart = (dict(pooled_states(turning, sides, 2, plain=plain)) for plain in (False, True))
    with torch.no_grad():
        states = hidden_states(turning, sides, (2,))
    for i in range(len(sides)):
        assert np.allclose(alone[i].logps, packed[i].logps, atol=1e-4)
        assert np.allclose(alone[i].pooled, packed[i].pooled, atol=1e-4)
        assert np.allclose(pooled[i], apart[i], atol=1e-4)
        assert np.allclose(states[i][0].mean(0), apart[i], atol=1e-4)


def test_no_pack_holds_both(turning, sides, tiny):
    assert turning_lengths(turning) == (TURN,) and turning_lengths(tiny) == ()
    packs = [{len(sides[i].ids) > TURN for i in pack} for pack in sorted_packs(turning, sides, 10_000)]
    assert packs == [{False}, {True}]
    assert len(list(sorted_packs(tiny, sides, 10_000))) == 1


def test_parameters_for_each_kind_of_layer_are_seen(tiny):
    tiny.config.rope_parameters = {
        "full_attention": {**LONGROPE, "original_max_position_embeddings": 64},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    assert turning_lengths(tiny) == (64,)
    assert [side_of((64, 128), n) for n in (64, 65, 128, 129)] == [0, 1, 1, 2]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_the_same_in_any_batch_and_ends_where_positions_turn(
    turning, make_tokenizer, load, temperature
):
    turning.generation_config.eos_token_id = None
    loaded = load(turning, make_tokenizer())
    contexts = [tuple(range(60, 60 + n)) for n in (5, 36, TURN, TURN + 1, 70, 12)]
    draws = [Draw(context, temperature, 1) for context in contexts]
    whole = {}
    for part in draw_samples(loaded, draws, tokens=8):
        whole |= part
    for i, draw in enumerate(draws):
        (alone,) = draw_samples(loaded, [draw], tokens=8)
        assert alone == {0: whole[i]}
    assert [room(loaded, c) for c in contexts] == [35, 4, 1, 512 - TURN - 1, 442, 28]
    assert all(len(whole[i].ids) <= room(loaded, c) for i, c in enumerate(contexts))
