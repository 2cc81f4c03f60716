"""What changed after it was measured, and `probe compare --promote-to`: refused, and nothing moves."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from .models import WEIGHTS, config, removed, template, written


@pytest.fixture
def compared(probe, pair_file, tmp_path, tiny_model_dir):
    """Two saved runs of copies of one model, and the directories that were measured."""
    sides = {}
    for name in ("base", "tuned"):
        model = shutil.copytree(tiny_model_dir, tmp_path / name)
        run = tmp_path / f"{name}-run"
        assert probe("bias", pair_file, "--model", model, "--templates", "none", "--out", run).code == 0
        sides[name] = (model, run)
    place = tmp_path / "serve"
    shutil.copytree(tiny_model_dir, place)

    def promote():
        return probe("compare", sides["base"][1], sides["tuned"][1], "--promote-to", place)

    return promote, sides["tuned"], place


def files(place):
    return {path.name: path.read_bytes() for path in place.iterdir() if path.name != "promotion.json"}


def test_what_was_measured_is_put_in_place(compared):
    promote, (model, _), place = compared
    (model / "note.txt").write_text("beside the weights")
    done = promote()
    assert done.code == 0, done
    assert place.is_symlink() and files(place) == files(model)


def flipped(directory):
    """One number of one tensor."""
    tensors = load_file(directory / WEIGHTS)
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, directory / WEIGHTS, {"format": "pt"})


def other_words(directory):
    """Two words of the tokenizer have changed places."""
    path = directory / "tokenizer.json"
    whole = json.loads(path.read_text())
    first, second = sorted(whole["model"]["vocab"], key=whole["model"]["vocab"].get)[-2:]
    vocabulary = whole["model"]["vocab"]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(whole))


CHANGES = {
    "a-number": (flipped, "other weights"),
    "config": (config(rms_norm_eps=0.1), "other weights"),
    "generation": (written("generation_config.json", b'{"suppress_tokens": [3]}'), "other weights"),
    "code": (written("modeling_x.py", b"print('x')"), "other weights"),
    "more-weights": (written("z.safetensors", b"x"), "other weights"),
    "no-weights": (removed(WEIGHTS), "no safetensors weights"),
    "words": (other_words, "another tokenizer"),
    "template": (template("{{ messages[0].content }} "), "another tokenizer or chat template"),
    "no-tokenizer": (removed("tokenizer.json"), ""),
    "gone": (shutil.rmtree, "no directory with weights"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_since_is_refused(compared, name):
    promote, (model, _), place = compared
    change, words = CHANGES[name]
    before = files(place)
    change(model)
    done = promote()
    assert done.code == 2 and words in done.line, done
    assert not place.is_symlink() and files(place) == before


@pytest.mark.parametrize("key", ["weights_sha256", "tokenizer_sha256"])
def test_a_run_that_does_not_tell_what_it_measured_promotes_nothing(compared, key):
    promote, (_, run), place = compared
    path = run / "run.json"
    whole = json.loads(path.read_text())
    del whole["inputs"]["model"][key]
    path.write_text(json.dumps(whole))
    done = promote()
    assert done.code == 2 and not place.is_symlink(), done
