"""`probe sample` on a tiny saved model: resumed, never overwriting, with provenance."""

import json
import sys
from types import SimpleNamespace

import pytest

from probe.__main__ import main
from probe.pairs.fields import FieldNames
from probe.pairs.rows import pair_of
from probe.probes.sample import run as sample_run
from probe.probes.sample.output import rows_of_pair
from probe.probes.sample.select import SampledResponse
from probe.runs import load_run
from probe.training.reference import _as_scored

PROMPTS = [
    {"id": f"q{i}", "prompt": f"Why do diets {i} fail?", "chosen": "People eat more. " * 3} for i in range(6)
]
LOOSE = ("--keep-if", "contrast>=0.1", "--no-match-length", "--tokens", "6", "--temperatures", "0,1")


@pytest.fixture
def home(tmp_path, monkeypatch, tiny, make_tokenizer):
    monkeypatch.chdir(tmp_path)
    tiny.generation_config.eos_token_id = list(range(2, 120))  # short answers
    tiny.save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return tmp_path


@pytest.fixture
def probe(monkeypatch):
    def run(*words):
        argv = ["probe", "sample", "p.jsonl", "--model", "tiny", "--template", "qa", "--no-cache", *LOOSE]
        monkeypatch.setattr(sys, "argv", [*argv, *words])
        return main()

    return run


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pairs_carry_where_their_rejected_side_came_from(home, probe):
    assert probe("--to", "new.jsonl", "--rejected", "all", "--out", "run") == 0
    rows, run = rows_of(home / "new.jsonl"), load_run(home / "run")
    assert rows and {row["chosen"] for row in rows} == {PROMPTS[0]["chosen"]}
    source = rows[0]["sampled"]
    assert source["model"] == "tiny" and len(source["weights_sha256"]) == 64
    assert {"temperature", "seed", "draw", "cut", "template", "top_p"} <= source.keys()
    journal = rows_of(home / "new.candidates.jsonl")
    assert journal[0]["temperatures"] == [0.0, 1.0] and len(journal) == 1 + 12
    by_seed = {row["seed"]: row["text"] for row in journal[1:]}
    assert all(by_seed[row["sampled"]["seed"]] == row["rejected"] for row in rows)
    counted = {row["check"]: row["count"] for row in run.details["data"]}
    dropped = sum(n for check, n in counted.items() if check.startswith("dropped"))
    assert counted["candidates"] == 12 == dropped + counted["kept"] and counted["kept"] == len(rows)


def test_nothing_is_overwritten(home, probe, capsys):
    (home / "new.jsonl").write_text("mine")
    assert probe("--to", "new.jsonl") == 2
    assert (home / "new.jsonl").read_text() == "mine" and "nothing is overwritten" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_comes_to_the_same(home, probe, monkeypatch):
    assert probe("--to", "whole.jsonl") == 0
    true = sample_run.draw_samples

    def killed(*arguments, **options):
        yield next(true(*arguments, batch=5, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_run, "draw_samples", killed)
    assert probe("--to", "new.jsonl") == 130 and not (home / "new.jsonl").exists()
    journal = home / "new.candidates.jsonl"
    assert len(rows_of(journal)) == 1 + 5
    with journal.open("a") as file:
        file.write('{"line": 3, "text": "cut o')  # as a kill within a write leaves it
    asked = []

    def counting(loaded, draws, **options):
        asked.extend(draws)
        return true(loaded, draws, **options)

    monkeypatch.setattr(sample_run, "draw_samples", counting)
    assert probe("--to", "new.jsonl") == 0 and len(asked) == 12 - 5
    assert (home / "new.jsonl").read_text() == (home / "whole.jsonl").read_text()
    assert sorted(journal.read_text().splitlines()) == sorted(
        (home / "whole.candidates.jsonl").read_text().splitlines()
    )
    # Killed after its pairs are written, before its report is: the same command goes on.
    written = (home / "new.jsonl").stat()
    assert probe("--to", "new.jsonl") == 0 and (home / "new.jsonl").stat() == written
    (home / "new.jsonl").write_text("mine")
    assert probe("--to", "new.jsonl") == 2 and (home / "new.jsonl").read_text() == "mine"


def test_a_journal_of_other_settings_is_refused(home, probe, capsys):
    assert probe("--to", "new.jsonl") == 0
    (home / "new.jsonl").unlink()
    assert probe("--to", "new.jsonl", "--seed", "1") == 2 and "another seed" in capsys.readouterr().err


def test_prompts_alone_give_candidates_and_no_pairs(home, probe):
    (home / "p.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": "How so?"}\n')
    assert probe("--to", "new.jsonl", "--out", "run") == 0
    assert not (home / "new.jsonl").exists() and len(rows_of(home / "new.candidates.jsonl")) == 1 + 4


def test_only_what_a_run_calls_trivial_is_replaced(home, probe, monkeypatch, capsys):
    """Sixteen pairs whose rejected side shouts, which any classifier of the text can tell."""
    shouts = [
        {
            "id": f"s{i}",
            "prompt": f"Why {i}?",
            "chosen": f"Of reason {i}.",
            "rejected": "WOW WOW " * (i + 1),
        }
        for i in range(16)
    ]
    (home / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shouts))
    off = ("--no-states", "--gradients", "0", "--no-numerics", "--out", "neg")
    monkeypatch.setattr(sys, "argv", ["probe", "negatives", "p.jsonl", *off])
    assert main() == 0
    assert probe("--to", "new.jsonl", "--replace-trivial", "neg/run.json", "--out", "run") == 0
    new = {row["id"]: row for row in rows_of(home / "new.jsonl")}
    assert new and all("sampled" in row and "WOW" not in row["rejected"] for row in new.values())
    features = [row["feature"] for row in load_run(home / "run").details["ladder"]]
    assert "surface, before" in features and any(name.endswith(", after") for name in features)
    (home / "p.jsonl").write_text('{"prompt": "Why?", "chosen": "a", "rejected": "b"}\n')
    assert probe("--to", "other.jsonl", "--replace-trivial", "neg/run.json") == 2
    assert "not the file that the run measured" in capsys.readouterr().err


def test_a_prompt_that_fills_the_positions_is_left_out_and_counted(home, probe, capsys):
    config = json.loads((home / "tiny/config.json").read_text())
    (home / "tiny/config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}))
    rows = [*PROMPTS[:2], {**PROMPTS[2], "prompt": "Why do diets fail, and who says so? " * 12}]
    (home / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert probe("--to", "new.jsonl", "--out", "run") == 0
    assert "1 of 3 prompts fill the model's 64 positions" in capsys.readouterr().err
    assert {row["line"] for row in rows_of(home / "new.candidates.jsonl")[1:]} == {1, 2}
    run = load_run(home / "run")
    counted = {row["check"]: row["count"] for row in run.details["data"]}
    assert counted["prompts without room for an answer"] == 1
    assert 3 in next(f.lines for f in run.findings if f.code == "PB911")


def test_a_column_beside_the_mapped_one_does_not_replace_it_in_what_is_written():
    row = {"question": "Why?", "prompt": "Another", "good": "Yes.", "chosen": "Other", "rejected": "No."}
    pair = pair_of(row, 1, FieldNames.of({"prompt": "question", "chosen": "good"}))
    assert pair.meta == {"prompt": "Another", "chosen": "Other"}
    (written,) = rows_of_pair(pair, None, {})
    encoder = SimpleNamespace(
        texts=lambda pair: [
            SimpleNamespace(before=pair.prompt, text=pair.prompt + side)
            for side in (pair.chosen, pair.rejected)
        ]
    )
    for made in (written, _as_scored(pair, encoder)):
        assert [made[name] for name in ("prompt", "chosen", "rejected")] == ["Why?", "Yes.", "No."]


def test_ids_of_several_samples_are_none_of_the_file():
    row = {"id": "a", "prompt": "Why?", "chosen": "So.", "rejected": "No."}
    found = [SampledResponse(1, text, 1.0, k, 0, True) for k, text in enumerate(("It is.", "Who knows?"))]
    head = dict.fromkeys(("model", "weights_sha256", "adapter_sha256", "template", "top_p", "probe"))
    made = rows_of_pair(pair_of(row, 1, FieldNames.of({})), found, head, {"a", "a.1", "a.1.sampled"})
    assert [one["id"] for one in made] == ["a.1.sampled.sampled", "a.2"]
