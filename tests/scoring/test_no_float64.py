"""No command makes a float64 tensor on the device: Apple's GPUs have none, and this machine has no such GPU.

A stand-in on the CPU: what a model computes is on the device until `.cpu()` takes it to the host, and there
a tensor of float64 is an error, as it would be on the GPU.
"""

import json
from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode

HOST = "_on_host"
ASKS = ("cpu", "tolist", "item", "__float__", "__int__", "__bool__")


class AppleGpu(TorchFunctionMode):
    """Raises where a tensor of the device is float64. Counts what it has looked at."""

    seen = 0

    def __init__(self):
        super().__init__()
        self.asked = Counter()  # what the host asked of the device, and waited for

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        every = [b for a in (*args, *kwargs.values()) for b in (a if isinstance(a, list | tuple) else (a,))]
        given = [a for a in every if isinstance(a, torch.Tensor)]
        if name in ASKS and not getattr(args[0], HOST, False):
            self.asked[name] += 1
        out = func(*args, **kwargs)
        if not isinstance(out, torch.Tensor):
            return out
        AppleGpu.seen += 1
        if name == "cpu":
            out = out.view_as(out)
            setattr(out, HOST, True)
            return out
        # A float64 tensor that was not noticed when it was made is one of NumPy, on the host.
        host = (
            any(t.dtype == torch.float64 for t in given)
            or any(getattr(t, HOST, False) for t in given)
            or (not given and kwargs.get("device") is None)
        )
        if name == "to" and any(isinstance(a, torch.device) for a in (*args[1:], *kwargs.values())):
            host, out = False, out.view_as(out)
        if host:
            with torch._C.DisableTorchFunction():
                setattr(out, HOST, True)
        elif out.dtype == torch.float64:
            raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype ({name})")
        return out


def rows(n=24):
    return [
        {"prompt": f"Say {i}:", "chosen": f" yes {i * 3 % 11}", "rejected": f" no {i * 7 % 10}"}
        for i in range(n)
    ]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, tiny_model_dir):
    import sys

    from probe.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"prompt": r["prompt"]}) + "\n" for r in rows(3))
    )

    def command(*argv):
        monkeypatch.setattr(sys, "argv", ["probe", *map(str, argv)])
        before = AppleGpu.seen
        with AppleGpu():
            code = main()
        captured = capfd.readouterr()
        assert code in (0, 1), captured.err[-2000:]
        assert AppleGpu.seen > before + 100
        return captured

    return command


def test_the_stand_in_refuses_float64():
    with AppleGpu():
        on_device = torch.zeros(3, device="cpu")
        with pytest.raises(TypeError, match="float64"):
            on_device.double()
        with pytest.raises(TypeError, match="float64"):
            on_device.to(torch.float64)
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(3, dtype=torch.float64, device="cpu")
        assert on_device.cpu().double().sum() == 0 and torch.zeros(3, dtype=torch.float64).sum() == 0


@pytest.mark.parametrize(
    "argv",
    [
        ("bias", "pairs.jsonl"),
        ("negatives", "pairs.jsonl"),
        ("trial", "pairs.jsonl"),
        ("gate", "pairs.jsonl"),
        ("train", "pairs.jsonl", "--steps", "2"),
        ("train", "pairs.jsonl", "--steps", "2", "--method", "sft"),
        ("sample", "prompts.jsonl", "--tokens", "8"),
    ],
    ids=lambda argv: "-".join(argv[::2]),
)
def test_a_command(run, argv, tiny_model_dir):
    run(*argv, "--model", tiny_model_dir)


def test_compare(run, tiny_model_dir):
    run("compare", tiny_model_dir, tiny_model_dir, "pairs.jsonl", "--samples", "4", "--tokens", "8")


@pytest.mark.parametrize(("advised", "expected"), [(1 << 40, torch.float32), (1000, torch.bfloat16)])
def test_the_default_dtype_fits_the_memory(monkeypatch, advised, expected, tiny_model_dir):
    from transformers import AutoConfig

    from probe.scoring.model import _dtype

    config = AutoConfig.from_pretrained(tiny_model_dir)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: advised)
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: True)
    assert _dtype(None, torch.device("mps"), config) == expected
    monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_: False)
    assert _dtype(None, torch.device("mps"), config) in (torch.float32, torch.float16)


def test_a_pack_of_scores_is_one_transfer(tiny, make_tokenizer, load, pairs):
    from probe.scoring.encode import make_encoder
    from probe.scoring.service import Scorer

    loaded = load(tiny, make_tokenizer())
    encoder = make_encoder(loaded.tokenizer, pairs, "raw")
    scorer = Scorer(loaded, encoder, budget=1 << 20)
    sides = [side for code in encoder.many(pairs) for side in (code.chosen, code.rejected)]
    scorer.side_logps(sides[:2])  # with the self-proof
    with AppleGpu() as gpu:
        scorer.side_logps(sides)
    assert gpu.asked == {"cpu": 1}


def test_a_log_row_of_a_batch_is_one_transfer():
    from probe.training.losses import Logps
    from probe.training.methods import LossConstants
    from probe.training.objective import PairLogps, Sums, losses_of

    with AppleGpu() as gpu:
        columns = [torch.full((4,), float(-i), device="cpu") for i in range(1, 5)]
        batch = PairLogps(Logps(*columns), Logps(*columns))
        Sums.of(losses_of(batch, "dpo", LossConstants()), batch, "dpo", LossConstants())
    assert gpu.asked == {"tolist": 1}
