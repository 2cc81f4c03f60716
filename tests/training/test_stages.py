"""Stages, recipes, texts and the run behind the command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from probe.errors import ProbeError
from probe.records import Decision, Reason, stage_values
from probe.scoring.encode import make_encoder
from probe.scoring.scores import PairScore, SideScore
from probe.scoring.service import Scorer
from probe.training.before_after import before_after_rows
from probe.training.data import batches, examples, micro_batches, order, split_by_prompt
from probe.training.guard_records import Event
from probe.training.methods import stages_of
from probe.training.plan import Material, Options, StageResult
from probe.training.policy import trainable_model
from probe.training.recipes import of_values, recipe
from probe.training.run import TrainOptions, as_run, guard_findings, recipes_for
from probe.training.stages import Trained, encoded_texts, train_stages
from probe.training.texts import read_texts

OPTIONS = Options(eval_every=4, log_every=1, sampled_prompts=0)


def staged(material, tmp_path, *methods, **values):
    loaded, items = material()
    train_items, held_out = split_by_prompt(items, 0.25, 0)
    settings = {"learning_rate": 1e-2, "batch": 4, "epochs": 2, **values}
    recipes = [recipe(method, 10**6).with_values(settings) for method in methods]
    return loaded, train_stages(loaded, recipes, Material(train_items, held_out), OPTIONS, tmp_path), held_out


def test_sft_then_dpo_takes_the_sft_model_as_its_reference(material, tmp_path):
    """The base model's scores would give a first loss far from ln 2; those of the SFT result give ln 2."""
    _, trained, _ = staged(material, tmp_path, "sft", "dpo")
    second = trained.results[1].log_history
    first_row = next(row for row in second if "loss" in row)
    assert first_row["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first_row["rewards/chosen"] == pytest.approx(0.0, abs=1e-4)
    sft = [row["eval_loss"] for row in trained.results[0].log_history if "eval_loss" in row]
    assert min(sft) < sft[0]  # so the SFT result is another model than the base


@pytest.mark.parametrize("method", ["dpo", "simpo", "orpo"])
def test_the_guard_counts_a_second_stage_from_where_it_starts(material, tmp_path, method):
    """Without a reference of its own a loss was judged from the first start: what SFT had given to the chosen
    side could be lost, and the budget for displacement on top."""
    staged(material, tmp_path, "sft", method)
    place = next((tmp_path / f"2-{method}").glob("checkpoint-*"))
    start = json.loads((place / "progress.json").read_text())["guard"]["held_out"][0]
    assert (start["step"], start["chosen_change"]) == (0, pytest.approx(0.0, abs=1e-5))


@pytest.mark.parametrize("methods", [("dpo",), ("ipo",), ("sft", "dpo"), ("sft", "dpop")])
@pytest.mark.parametrize("full", [False, True])
def test_under_mixed_precision_policy_and_reference_start_alike(material, tmp_path, methods, full):
    """Stored scores are of float32: beside the policy's bfloat16 they made margins before any update."""
    loaded, items = material()
    train_items, held_out = split_by_prompt(items, 0.25, 0)
    recipes = [recipe(method, 10**6, full=full).with_values({"batch": 4}) for method in methods]
    options = replace(OPTIONS, mixed_precision="bf16", steps=1)
    trained = train_stages(loaded, recipes, Material(train_items, held_out), options, tmp_path)
    start = trained.results[-1].log_history[0]
    assert (start["step"], start["eval_rewards/accuracies"], start["eval_rewards/margins"]) == (0, 0.0, 0.0)
    if methods[-1] == "dpo":
        first = next(row for row in trained.results[-1].log_history if "loss" in row)
        assert start["eval_loss"] == pytest.approx(math.log(2), abs=1e-7)
        assert first["loss"] == pytest.approx(math.log(2), abs=1e-3)


def test_the_saved_adapter_is_the_trained_model(material, loaded, pairs, tmp_path):
    """A normal peft adapter: loaded onto the base model, it scores as the model in memory does."""
    from peft import PeftModel

    _, trained, _ = staged(material, tmp_path, "dpo")
    encoder = make_encoder(trained.loaded.tokenizer, pairs, "raw")
    trained.loaded.model.eval()
    here = list(Scorer(trained.loaded, encoder).scores(pairs))
    base = loaded()
    again = replace(base, model=PeftModel.from_pretrained(base.model, trained.weights))
    there = list(Scorer(again, encoder).scores(pairs))
    assert [a.gap for a in here] == pytest.approx([b.gap for b in there], abs=1e-5)
    untouched = list(Scorer(loaded(), encoder).scores(pairs))
    assert max(abs(a.gap - b.gap) for a, b in zip(here, untouched, strict=True)) > 0.1


def test_full_tuning_saves_a_whole_model(material, pairs, tmp_path):
    from transformers import AutoModelForCausalLM

    _, trained, _ = staged(material, tmp_path, "dpo", full=True)
    saved = AutoModelForCausalLM.from_pretrained(trained.weights)
    for name, value in trained.loaded.model.state_dict().items():
        torch.testing.assert_close(saved.state_dict()[name], value)


def with_adapter(loaded, targets, tied=False):
    """The tiny model under an adapter that changes it."""
    from peft import LoraConfig, get_peft_model

    loaded.model.config.tie_word_embeddings = tied
    torch.manual_seed(1)
    config = LoraConfig(r=3, lora_alpha=7, target_modules=targets, init_lora_weights=False)
    return replace(loaded, model=get_peft_model(loaded.model, config).eval())


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "embed_tokens"]])
@pytest.mark.parametrize("methods", [("dpo",), ("sft", "dpo")])
def test_full_tuning_of_an_adapted_model_saves_what_was_trained(loaded, pairs, tmp_path, methods, targets):
    """The trained weights below the adapter were lost: only the untrained adapter was written."""
    from transformers import AutoModelForCausalLM

    start = with_adapter(loaded(), targets)
    encoder = make_encoder(start.tokenizer, pairs, "raw")
    items = examples(pairs, encoder, list(Scorer(start, encoder).scores(pairs)))
    recipes = [
        recipe(method, 10**6, full=True).with_values({"learning_rate": 1e-2, "batch": 8})
        for method in methods
    ]
    trained = train_stages(start, recipes, Material(items[:18], items[18:]), OPTIONS, tmp_path)
    first = next(row for row in trained.results[-1].log_history if "loss" in row)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    saved = replace(start, model=AutoModelForCausalLM.from_pretrained(trained.weights).eval())
    here, there = (list(Scorer(one, encoder).scores(pairs)) for one in (trained.loaded, saved))
    assert [a.gap for a in here] == pytest.approx([b.gap for b in there], abs=1e-6)
    base = Scorer(loaded(), encoder).scores(pairs)
    assert max(abs(a.gap - b.gap) for a, b in zip(here, base, strict=True)) > 0.1


def test_an_adapter_on_one_of_two_tied_weights_is_not_merged(loaded):
    with pytest.raises(ProbeError, match="--full: the adapter changes the embedding"):
        trainable_model(with_adapter(loaded(), ["embed_tokens"], True).model, recipe("dpo", 10**6, full=True))


def test_mixed_lora_and_full_stages_are_refused(material, tmp_path):
    loaded, items = material()
    recipes = [recipe("sft", 10**6), recipe("dpo", 10**6, full=True)]
    with pytest.raises(ProbeError, match="mixed"):
        train_stages(loaded, recipes, Material(items, items), OPTIONS, tmp_path)


def test_details_name_their_stage(material, tmp_path):
    _, trained, _ = staged(material, tmp_path, "sft", "dpo")
    details = trained.details()
    assert [row["method"] for row in details["stages"]] == ["sft", "dpo"]
    assert {row["stage"] for row in details["log_history"]} == {"sft", "dpo"}
    json.dumps(details)


def test_every_stage_tells_what_its_guard_saw():
    """A second stage's stop was left out where the first had been stopped by the same rule."""
    step = [
        Event(4, "PB807", "stop", "no better"),
        Event(2, "PB803", "warn", "half"),
        Event(3, "PB803", "warn", "x"),
    ]
    other = [Event(8, "PB807", "stop", "no better"), Event(9, "PB803", "rollback", "fell")]
    stages = [("sft", step), ("dpo", other)]
    recipes = tuple(recipe(method, 10**6) for method, _ in stages)
    results = tuple(StageResult(9, 1, (), tuple(events), None) for _, events in stages)
    told = guard_findings(Trained(None, recipes, results, Path()))
    assert [(found.severity, found.code, found.message) for found in told] == [
        ("warning", "PB807", "sft, step 4: no better"),
        ("warning", "PB807", "dpo, step 8: no better"),
        ("warning", "PB803", "dpo, step 9: fell"),
        ("info", "PB803", "sft, step 2: half"),
    ]
    (alone, _) = guard_findings(Trained(None, recipes[:1], results[:1], Path()))
    assert alone.message == "step 4: no better"


def test_split_keeps_prompts_together(material):
    _, items = material()
    one, other = split_by_prompt(items, 0.3, 0)
    assert not {i.prompt for i in one} & {i.prompt for i in other}
    assert len(one) + len(other) == len(items)
    assert split_by_prompt(items, 0.3, 0) == (one, other)
    with pytest.raises(ProbeError, match="--held-out"):
        split_by_prompt(items, 0.001, 0)


def test_batches_visit_every_pair_once_an_epoch():
    steps = list(batches(10, 4, seed=3, steps=6))
    assert [len(indices) for _, indices in steps] == [4, 4, 2] * 2
    assert sorted(i for _, indices in steps[:3] for i in indices) == list(range(10))
    assert [epoch for epoch, _ in steps] == pytest.approx([0.4, 0.8, 1.0, 1.4, 1.8, 2.0])
    assert list(batches(10, 4, seed=3, steps=6, start=4)) == steps[4:]
    assert order(10, 3, 0) != order(10, 3, 1)


def test_micro_batches_keep_their_budget():
    assert micro_batches([3, 3, 5, 9, 1], 6) == [[0, 1], [2], [3], [4]]
    assert micro_batches([], 6) == []


def test_pairs_that_teach_nothing_are_left_out(tokenizer, pairs):
    same = replace(pairs[0], rejected=pairs[0].chosen)
    encoder = make_encoder(tokenizer, pairs, "raw")
    assert [item.line for item in examples([same, pairs[1]], encoder)] == [pairs[1].line]


def test_recipes_are_overridden_one_value_at_a_time():
    base = recipe("dpop", 10**9)
    assert (base.constants.beta, base.constants.penalty) == (0.3, 50.0) and "Pal" in base.source
    changed = base.with_values({"beta": 0.7, "epochs": 5, "batch": None})
    assert (changed.constants.beta, changed.epochs, changed.batch) == (0.7, 5, base.batch)
    assert of_values("dpop", base.facts()) == base
    assert "penalty" in base.facts() and "odds_weight" not in base.facts()
    with pytest.raises(TypeError):
        base.with_values({"learning_rte": 1.0})


def test_smaller_models_get_larger_rates():
    rates = [recipe("dpo", size, full=True).learning_rate for size in (10**8, 7 * 10**9)]
    assert rates == [1e-6, 5e-7]
    assert recipe("sft", 10**8).learning_rate == 2e-4


def test_a_decision_is_trained_as_it_says():
    values = {"sft.learning_rate": 2e-4, "sft.epochs": 2, "dpo.learning_rate": 1e-5, "dpo.beta": 0.2}
    decision = Decision("sft+dpo", ("sft", "dpo"), values | {"dpo.eval_steps": 3}, ())
    sft, dpo = recipes_for(TrainOptions(changes={"batch": 2}), None, 10, decision)
    assert (sft.method, sft.epochs, sft.batch) == ("sft", 2, 2)
    assert (dpo.learning_rate, dpo.constants.beta) == (1e-5, 0.2)
    assert stage_values(decision, "sft")["epochs"] == 2


def test_steps_are_told_as_the_epochs_that_they_come_to():
    (dpo,) = recipes_for(TrainOptions("dpo", changes={"batch": 4}, loop=Options(steps=5)), None, 10)
    assert dpo.epochs == pytest.approx(5 / 3, abs=1e-3)


def test_a_report_shows_the_recipe_that_was_run_and_what_of_it_was_typed():
    """A typed rate stood under the shipped recipe's name, and a LoRA rank under a full run."""
    changes = {"beta": 0.3, "learning_rate": 1e-3, "batch": None, "warmup": 0.1}
    plain, typed = (recipes_for(TrainOptions("dpo", True, given), None, 10) for given in ({}, changes))
    told = as_run(None, typed).hyperparameters
    assert told["beta"] == 0.3 and told["source"] == f"{plain[0].source}; as typed: learning rate, beta"
    assert not {"lora_rank", "lora_alpha"} & told.keys()
    assert as_run(None, plain).hyperparameters["source"] == plain[0].source


def test_a_decision_is_reported_with_what_was_typed_over_it():
    reasons = (Reason("PB240", "why", "measured"),)
    given = {"learning_rate": 1e-5, "batch": 8, "source": "shipped", "eval_steps": 3}
    gated = Decision("dpo", ("dpo",), given, reasons)
    ran = as_run(gated, recipes_for(TrainOptions(changes={"batch": 2}), None, 10, gated))
    assert (ran.hyperparameters["batch"], ran.hyperparameters["eval_steps"], ran.reasons) == (2, 3, reasons)
    assert ran.hyperparameters["source"] == "shipped; as typed: batch"


def test_methods_and_stages_are_checked():
    assert stages_of("sft+dpo") == ("sft", "dpo")
    for wrong in ("ppo", "sft+", ""):
        with pytest.raises(ProbeError, match="not a method"):
            stages_of(wrong)


def score(line, chosen, rejected, group=None):
    side = lambda mean: SideScore(torch.full((4,), mean).numpy(), 10)  # noqa: E731
    return PairScore(f"p{line}", side(chosen), side(rejected), group, line)


def test_before_and_after_are_paired():
    """Gaps −.5 → +.5 on six of eight pairs, unchanged on two: change .75, six turned, p = 2/64."""
    before = [score(i, -1.5, -1.0) for i in range(8)]
    after = [score(i, -1.0, -1.5) for i in range(6)] + before[6:]
    rows = {row["name"]: row for row in before_after_rows(before, after, [str(i) for i in range(8)])}
    assert rows["gap"]["change"] == pytest.approx(0.75)
    assert (rows["win rate"]["before"], rows["win rate"]["after"]) == (0.0, 0.75)
    assert rows["win rate"]["p"] == pytest.approx(2 / 64)
    assert rows["chosen logps"]["change"] == pytest.approx(0.375)
    with pytest.raises(ValueError, match="same pairs"):
        before_after_rows(before, after[1:], ["0"] * 8)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "one two\nthree\n\nfour\n", [(None, "one two\nthree"), (None, "four")]),
        ("a.jsonl", '{"text": "one"}\n\n{"prompt": "p", "response": "r"}\n', [(None, "one"), ("p", "r")]),
    ],
)
def test_texts_are_read(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    assert [(text.prompt, text.chosen) for text in read_texts(tmp_path / name)] == expected


def test_lines_are_json_lines_whatever_breaks_stand_in_their_texts(tmp_path):
    """A raw line separator inside a string is JSON, and so is a file with a byte order mark."""
    rows = [{"text": "one\u2028two"}, {"text": "three\x85four"}]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "a.jsonl").write_text(f"\ufeff{lines}\r\n", encoding="utf-8", newline="")
    assert [text.chosen for text in read_texts(tmp_path / "a.jsonl")] == ["one\u2028two", "three\x85four"]


ASKED = {"role": "user", "content": "p"}
SAID = {"role": "assistant", "content": "r"}
LED = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "i", "input": "x", "output": "o"}, ("i\nx", "o")),
        ({"instruction": "i", "input": "", "output": "o"}, ("i", "o")),
        ({"input": "p", "output": "o"}, ("p", "o")),
        ({"system": "s", "prompt": "p", "response": "r"}, ((LED, ASKED), (SAID,))),
        ({"system": "s", "instruction": "p", "output": "r"}, ((LED, ASKED), (SAID,))),
        ({"system": "s", "messages": [ASKED, SAID]}, ((LED, ASKED), (SAID,))),
        ({"system": "s", "messages": [LED, ASKED, SAID]}, ((LED, ASKED), (SAID,))),
        ({"prompt": "p", "messages": [ASKED, SAID]}, ((ASKED,), (SAID,))),
        ({"messages": json.dumps([ASKED, SAID])}, ((ASKED,), (SAID,))),
        (
            {"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "r"}]},
            ((ASKED,), (SAID,)),
        ),
        ({"prompt": [ASKED], "completion": [SAID]}, ((ASKED,), (SAID,))),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, ("p", "a")),
        ({"question": "q", "chosen": "a", "rejected": "b"}, ("q", "a")),
        ({"instruction": "i", "input": "x", "output": "o", "text": "whole"}, (None, "whole")),
    ],
)
def test_a_row_is_read_whole(tmp_path, row, expected):
    """Alpaca's input and system texts had been dropped."""
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    for name in ("a.json", "a.jsonl"):
        (text,) = read_texts(tmp_path / name)
        assert (text.prompt, text.chosen) == expected and text.rejected == text.chosen


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [ASKED, SAID, ASKED]}, "does not end on a turn of the assistant"),
        ({"messages": [ASKED]}, "does not end on a turn of the assistant"),
        ({"prompt": "p", "input": "x", "output": "o"}, '"input" stands beside the prompt'),
        ({"instruction": "i", "output": "o", "history": [["a", "b"]]}, '"history" stands beside'),
        ({"prompt": "p", "response": "a", "output": "b"}, '"response" and "output" could both'),
        ({"prompt": "p", "response": " "}, "no prompt with an answer"),
        ({"prompt": "p", "completion": 3}, "no prompt with an answer"),
    ],
)
def test_a_row_that_would_be_read_in_part_is_refused(tmp_path, row, told):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x"}) + "\n" + json.dumps(row))
    with pytest.raises(ProbeError, match=rf"a\.jsonl:2: .*{told}"):
        read_texts(tmp_path / "a.jsonl")


def test_rows_are_no_prose(tmp_path):
    """Tables and JSON had been read as paragraphs."""
    (tmp_path / "a.csv").write_text("instruction,input,output\ni,x,o\nj,,p\n")
    assert [(t.prompt, t.chosen) for t in read_texts(tmp_path / "a.csv")] == [("i\nx", "o"), ("j", "p")]
    (tmp_path / "a.txt").write_text('{"text": "one"}\n')
    with pytest.raises(ProbeError, match=r"Rename it to a\.jsonl"):
        read_texts(tmp_path / "a.txt")


def test_chat_texts_end_in_their_last_message(tmp_path):
    rows = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "r"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": rows}))
    (text,) = read_texts(tmp_path / "a.jsonl")
    assert text.prompt == (rows[0],) and text.chosen == (rows[1],)


@pytest.mark.parametrize("content", ["", '{"text": 3}\n', "no json\n", "[1]\n"])
def test_bad_texts_are_told(tmp_path, content):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ProbeError, match=r"a\.jsonl"):
        read_texts(tmp_path / "a.jsonl")


def test_texts_are_encoded_whole(tokenizer, pairs, tmp_path):
    (tmp_path / "a.txt").write_text("one two three\n\nfour five")
    sides = encoded_texts(read_texts(tmp_path / "a.txt"), make_encoder(tokenizer, pairs, "raw"))
    assert [len(side.ids) - side.start - side.ends for side in sides] == [3, 2]
