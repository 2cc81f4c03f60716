"""MLX's groups are dequantised to the values that MLX computes with; GGUF is known by its magic."""

import json
import shutil

import pytest

from probe.errors import ProbeError
from probe.scoring import embedded
from probe.scoring.mlx import BITS, dequantize, is_mlx

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")


def packed(weights, bits, group):
    """Affine groups by their definition: (words, scales, biases)."""
    rows, columns = weights.shape
    grouped = weights.reshape(rows, -1, group)
    low, high = grouped.amin(-1, keepdim=True), grouped.amax(-1, keepdim=True)
    scales = ((high - low) / (2**bits - 1)).clamp(min=1e-7)
    codes = ((grouped - low) / scales).round().clamp(0, 2**bits - 1).to(torch.uint8).reshape(rows, columns)
    digits = (codes.numpy()[..., None] >> np.arange(bits)) & 1
    octets = np.packbits(digits.reshape(rows, -1).astype(np.uint8), axis=1, bitorder="little")
    words = torch.from_numpy(octets.copy().view(np.uint32).view(np.int32)).view(torch.uint32)
    return words, scales.squeeze(-1), low.squeeze(-1)


@pytest.mark.parametrize("bits", BITS)
def test_integers_are_unpacked_where_they_were_packed(bits):
    weights = torch.randn(4, 128, generator=torch.Generator().manual_seed(bits))
    words, scales, biases = packed(weights, bits, 32)
    again = dequantize(words, scales, biases, bits, 32)
    assert again.shape == weights.shape
    assert (again - weights).abs().max() <= scales.max() * 0.501


@pytest.mark.oracle
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("group", [32, 64])
def test_it_is_bit_for_bit_what_mlx_gives(bits, group):
    mx = pytest.importorskip("mlx.core")
    weights = np.random.default_rng(bits).normal(size=(8, 256)).astype(np.float32)
    words, scales, biases = mx.quantize(mx.array(weights), group_size=group, bits=bits)
    theirs = np.array(mx.dequantize(words, scales, biases, group_size=group, bits=bits))
    ours = dequantize(
        torch.from_numpy(np.array(words).view(np.int32)).view(torch.uint32),
        torch.from_numpy(np.array(scales)), torch.from_numpy(np.array(biases)), bits, group,
    )  # fmt: skip
    exact = np.array(scales, np.float64).max() * 2**bits  # the size of what is added
    assert np.abs(ours.numpy() - theirs).max() <= exact * 2.0**-23  # one rounding: mlx may fuse the two steps


@pytest.fixture
def mlx_dir(tiny_model_dir, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "tiny-4bit"
    shutil.copytree(tiny_model_dir, place)
    tensors = {}
    for name, value in load_file(place / "model.safetensors").items():
        if value.ndim == 2:
            stem = name.removesuffix(".weight")
            bits = 8 if "embed" in name else 4
            tensors[name], tensors[f"{stem}.scales"], tensors[f"{stem}.biases"] = packed(value, bits, 32)
        else:
            tensors[name] = value
    save_file(tensors, place / "model.safetensors", {"format": "mlx"})
    config = json.loads((place / "config.json").read_text())
    config["quantization"] = {
        "group_size": 32,
        "bits": 4,
        "model.embed_tokens": {"group_size": 32, "bits": 8},
    }
    (place / "config.json").write_text(json.dumps(config | {"quantization_config": config["quantization"]}))
    return place


def test_an_mlx_checkpoint_is_loaded(mlx_dir, tiny_model_dir, capsys):
    from probe.scoring.model import load_model

    assert is_mlx(mlx_dir) and not is_mlx(tiny_model_dir)
    ids = torch.arange(20).reshape(1, -1) + 5
    with torch.no_grad():
        near, plain = (
            load_model(str(place), device="cpu").model(input_ids=ids).logits
            for place in (mlx_dir, tiny_model_dir)
        )
    assert 0 < (near - plain).abs().max() < 0.2
    assert "dequantised tiny-4bit" in capsys.readouterr().err
    load_model(str(mlx_dir), device="cpu")
    assert "dequantised" not in capsys.readouterr().err, "the conversion was not kept"


def test_another_mode_is_one_line(mlx_dir):
    from probe.scoring.model import load_model

    config = json.loads((mlx_dir / "config.json").read_text())
    config["quantization"]["mode"] = "mxfp4"
    (mlx_dir / "config.json").write_text(json.dumps(config))
    with pytest.raises(ProbeError, match="is quantised as mxfp4 in"):
        load_model(str(mlx_dir), device="cpu")


def test_gguf_is_known_by_its_magic(tmp_path, monkeypatch):
    from probe.scoring.model import source_of

    blob = tmp_path / "sha256-970aa74c"
    blob.write_bytes(b"GGUF" + bytes(60))
    monkeypatch.setattr(embedded, "converted", lambda path: tmp_path / f"of-{path.name}")
    assert embedded.is_gguf(blob) and source_of(str(blob)).endswith("of-sha256-970aa74c")
    (tmp_path / "other").write_bytes(b"PK\3\4")
    with pytest.raises(ProbeError, match="a file that is no GGUF"):
        source_of(str(tmp_path / "other"))
