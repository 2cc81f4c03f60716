"""The checks of `probe data` that need a tokenizer: what is cut, merged, and the same after the cut."""

from __future__ import annotations

import json
from functools import partial

import pytest

from probe.errors import ProbeError
from probe.pairs.read import read_pairs
from probe.probes.data.limits import data_limits
from probe.probes.data.run import DataRequest, check_data
from probe.probes.data.survey import survey
from probe.scoring.encode import make_encoder

LONG = "people gain weight when they eat more than they burn " * 4


def found(path, tokenizer, max_length):
    source = partial(read_pairs, path, skip_bad=True, lenient=True)
    encoder = partial(make_encoder, tokenizer, template="raw", max_length=max_length)
    surveyed = survey(source, data_limits(), encoder=lambda pairs: encoder(pairs))
    return {r.finding.code: r.finding for r in surveyed.results if r.finding}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_truncation_is_told_side_by_side(tmp_path, make_tokenizer):
    prompt = "Why do diets fail?\n"
    rows = [{"prompt": prompt, "chosen": f"It is {i}.", "rejected": f"{LONG} {i}"} for i in range(8)]
    rows += [{"prompt": prompt, "chosen": f"{LONG} yes", "rejected": f"{LONG} no"}]
    rows += [{"prompt": prompt, "chosen": "Eat more.", "rejected": "Burn more."} for _ in range(2)]
    path = write(tmp_path / "p.jsonl", rows)
    tokenizer = make_tokenizer("bpe")
    codes = found(path, tokenizer, 40)
    assert codes["PB340"].lines == (9,)  # both sides are the same up to the cut
    assert codes["PB341"].lines == tuple(range(1, 10))
    assert codes["PB342"].lines == tuple(range(1, 9))  # p = 2 · 2⁻⁸ = .0078
    assert "the rejected side alone is cut in 8 pairs" in codes["PB342"].message
    assert not {"PB340", "PB341", "PB342"} & set(found(path, tokenizer, None))


def test_merged_boundaries_are_counted(tmp_path, make_tokenizer):
    rows = [{"prompt": "They eat mo", "chosen": "re than they burn", "rejected": "ney and weight"}]
    tokenizer = make_tokenizer("bpe")
    assert len(tokenizer("more")["input_ids"]) < 4
    assert "PB343" in found(write(tmp_path / "p.jsonl", rows), tokenizer, None)


def test_a_saved_tokenizer_is_enough(tmp_path, make_tokenizer):
    make_tokenizer("bpe").save_pretrained(tmp_path / "tokenizer")
    path = write(tmp_path / "p.jsonl", [{"prompt": "Why?\n", "chosen": LONG, "rejected": "no"}])
    run = check_data(DataRequest(path, model=str(tmp_path / "tokenizer"), template="raw", max_length=20))
    assert "PB341" in {finding.code for finding in run.findings}
    with pytest.raises(ProbeError, match="no such directory"):
        check_data(DataRequest(path, model=str(tmp_path / "absent")))
