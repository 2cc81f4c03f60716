"""`probe export`: each tool's own parser or published fields accept what is written, and TRL trains on it."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from probe.errors import ProbeError
from probe.files import sha256_file
from probe.gate.export.export import as_yaml, write_configs
from probe.gate.export.tools import ABLE, TOOLS
from probe.gate.row import STAGES
from probe.records import Decision, Reason, Run, stage_values
from probe.training.shipped import shipped_values

FIELDS = json.loads((Path(__file__).parent / "data/tool_fields.json").read_text())
PAIRS = [
    {
        "prompt": f"Why is the sky blue, {i}?",
        "chosen": f" Light scatters, {i} times.",
        "rejected": " It is paint.",
    }
    for i in range(8)
]
LOSS_OF = {"dpo": "dpo", "sft": "sft", "sft+dpo": "dpo", "dpop": "dpop", "dpo+nll": "dpo_nll", "orpo": "orpo"}


def staged(method: str) -> Decision:
    """The decision for a method, with the shipped recipe of each stage."""
    stages = STAGES[method]
    recipes = {stage: shipped_values(stage, parameters=135_000_000, n=len(PAIRS)) for stage in stages}
    flat = {f"{s}.{k}": v for s, values in recipes.items() for k, v in values.items()}
    values = flat if len(stages) != 1 else recipes[stages[0]]
    return Decision(method, stages, values, (Reason("PB501", "It learns.", "x"),))


@pytest.fixture
def gated(tmp_path):
    """A function that makes a gated run with the given method over a small pair file."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))

    def make(method="dpo", template="raw", model="tiny", **config) -> Run:
        return Run(
            "gate", "2026-11-21T12:00:00Z", decision=staged(method), config=config,
            inputs={
                "pairs": {"path": str(path), "sha256": sha256_file(path), "n": len(PAIRS)},
                "model": {"name": model, "template": template, "dtype": "float32"},
                "scores": {"max_length": 64},
            },
        )  # fmt: skip

    return make


def settings_of(path: Path) -> dict:
    return json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())


def rows_of(config: Path) -> list[dict]:
    data = config.parent / f"data-{config.stem}" / "train.jsonl"
    return [json.loads(line) for line in data.read_text().splitlines()]


COMBINATIONS = [
    (tool, method)
    for tool in TOOLS
    for method, stages in STAGES.items()
    if stages and set(stages) <= ABLE[tool]
]


@pytest.mark.parametrize(("tool", "method"), COMBINATIONS)
def test_every_tool_gets_every_method_it_can_do(tool, method, gated, tmp_path):
    run = gated(method, "chat")
    paths = write_configs(run, tool, tmp_path / "out")
    assert [path.stem for path in paths] == list(STAGES[method])
    for path in paths:
        tested = path.parent / f"data-{path.stem}/test.jsonl"
        n = len(tested.read_text().splitlines()) if tested.exists() else 0
        assert len(rows_of(path)) + n == len(PAIRS) and (n > 0) is (tool == "alignment-handbook")
        values = stage_values(run.decision, path.stem)
        text = json.dumps(settings_of(path))
        assert tool == "openai" or f'"learning_rate": {values["learning_rate"]}' in text
        if path.suffix == ".yaml":
            assert "PB501: It learns." in path.read_text()


@pytest.mark.parametrize("tool", ["axolotl", "llamafactory", "alignment-handbook"])
@pytest.mark.parametrize("template", ["chat", "raw"])
@pytest.mark.parametrize("method", ["sft", "dpo", "dpo+nll", "orpo"])
def test_only_published_fields_are_written(tool, template, method, gated, tmp_path):
    """The fields are those of the released packages (data/tool_fields.json here), with transformers' own."""
    if not set(STAGES[method]) <= ABLE[tool] or (
        template == "raw" and (tool[:2], method) in [("ax", "orpo")]
    ):
        pytest.skip("the tool cannot do this; the refusal has its own test")
    if tool == "alignment-handbook" and template == "raw":
        pytest.skip("chat only; the refusal has its own test")
    path = write_configs(gated(method, template), tool, tmp_path)[0]
    known = set(FIELDS[tool]["settings"])
    if tool != "axolotl":
        trl = pytest.importorskip("trl")
        from transformers import TrainingArguments

        known |= {f.name for f in dataclasses.fields(TrainingArguments)}
        if tool == "alignment-handbook":
            known |= {f.name for c in (trl.SFTConfig, trl.DPOConfig) for f in dataclasses.fields(c)}
            known |= {"max_seq_length"}  # SFTConfig's name for it in the TRL that handbook 0.3 pins
    assert set(settings_of(path)) <= known
    for dataset in settings_of(path).get("datasets", ()):
        assert set(dataset) <= set(FIELDS["axolotl"]["dataset"])
        if isinstance(dataset["type"], dict):
            assert set(dataset["type"]) <= set(FIELDS["axolotl"]["type"])


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_mlx_lm_lora_is_given_what_its_file_can_set_and_the_rest_on_its_command(method, gated, tmp_path):
    """Options with a value of the parser's own are not read from the file (train.py of 5.10.2)."""
    path = write_configs(gated(method, "chat"), "mlx-lm-lora", tmp_path / "out")[0]
    settings, fields = settings_of(path), FIELDS["mlx-lm-lora"]
    assert set(settings) <= set(fields["settings"]) - set(fields["command_line_wins"])
    values = stage_values(gated(method).decision, method)
    assert settings["batch_size"] * 2 == values["batch"] and settings["iters"] == 2 * values["epochs"]
    assert "--gradient-accumulation-steps 2" in path.read_text()
    assert settings["lora_parameters"] == {"rank": 16, "scale": 2.0, "dropout": 0.0}
    row = rows_of(path)[0]
    if method == "sft":
        assert settings["mask_prompt"] and [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
    else:
        assert row == PAIRS[0] and settings["beta"] == values["beta"]
        assert "--dpo-cpo-loss-type sigmoid" in path.read_text()


def test_mlx_lm_lora_refuses_what_it_would_read_otherwise(gated, tmp_path):
    with pytest.raises(ProbeError, match="--template chat"):
        write_configs(gated("dpo", "raw"), "mlx-lm-lora", tmp_path / "raw")
    run = gated("dpo", "chat")
    path = Path(run.inputs["pairs"]["path"])
    turns = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "a"}]
    rows = [{**row, "prompt": [*turns, {"role": "user", "content": row["prompt"]}]} for row in PAIRS]
    for row in rows:
        row |= {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = {**run.inputs["pairs"], "sha256": sha256_file(path)}
    with pytest.raises(ProbeError, match="line 1: mlx-lm-lora's form has one question"):
        write_configs(
            dataclasses.replace(run, inputs={**run.inputs, "pairs": pairs}), "mlx-lm-lora", tmp_path / "two"
        )


def parsed_by_trl(path: Path, script: str):
    """What TRL's own parser makes of a config: it refuses unknown keys."""
    trl = pytest.importorskip("trl")
    config = {"dpo": trl.DPOConfig, "sft": trl.SFTConfig}[script]
    parser = trl.TrlParser((trl.ScriptArguments, config, trl.ModelConfig))
    return parser.parse_args_and_config(["--config", str(path)], fail_with_unknown_args=True)


@pytest.mark.oracle
def test_trl_parses_its_configs_to_the_values_decided(gated, tmp_path):
    path = write_configs(gated("dpo+nll"), "trl", tmp_path)[0]
    script, training, model = parsed_by_trl(path, "dpo")
    assert script.dataset_name == "data-dpo_nll"
    assert (training.loss_type, training.loss_weights, training.beta) == (["sigmoid", "sft"], [1.0, 1.0], 0.1)
    assert training.learning_rate == stage_values(gated("dpo+nll").decision, "dpo_nll")["learning_rate"]
    assert model.lora_target_modules == "all-linear" and model.use_peft
    _, sft, _ = parsed_by_trl(write_configs(gated("sft"), "trl", tmp_path)[0], "sft")
    assert (sft.learning_rate, sft.completion_only_loss) == (2e-4, True)


@pytest.mark.oracle
@pytest.mark.parametrize("method", ["dpo", "sft"])
def test_trl_trains_two_steps_on_what_was_exported(method, gated, tmp_path, tiny_model_dir):
    pytest.importorskip("trl")
    directory = tmp_path / "out"
    (path,) = write_configs(gated(method, model=str(tiny_model_dir)), "trl", directory)
    command = [sys.executable, "-m", f"trl.scripts.{method}", "--config", path.name, "--max_steps", "2"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(tmp_path),
    }
    done = subprocess.run(
        [*command, "--report_to", "none", "--use_cpu", "true"],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads((directory / f"out-{method}/checkpoint-2/trainer_state.json").read_text())
    first = state["log_history"][0]
    assert state["global_step"] == 2
    assert method == "sft" or first["loss"] == pytest.approx(0.6931, abs=1e-3)


# --- data -----------------------------------------------------------------------------------------------


def test_text_rows_are_the_words_that_were_measured(gated, tmp_path):
    assert rows_of(write_configs(gated("dpo"), "trl", tmp_path)[0]) == PAIRS
    custom = rows_of(write_configs(gated("dpo", "Q: {prompt}\nA:"), "trl", tmp_path)[0])
    assert custom[0]["prompt"] == "Q: Why is the sky blue, 0?\nA:"
    asked = rows_of(write_configs(gated("dpo", "qa"), "trl", tmp_path)[0])
    assert asked[0]["prompt"] == "Question: Why is the sky blue, 0?\nAnswer: "


def test_chat_rows_are_messages(gated, tmp_path):
    row = rows_of(write_configs(gated("dpo", "chat"), "trl", tmp_path)[0])[0]
    assert row["prompt"] == [{"role": "user", "content": "Why is the sky blue, 0?"}]
    assert row["rejected"] == [{"role": "assistant", "content": " It is paint."}]
    hosted = rows_of(write_configs(gated("dpo", "chat"), "openai", tmp_path)[0])[0]
    assert set(hosted) == {"input", "preferred_output", "non_preferred_output"}
    assert hosted["preferred_output"][0]["content"] == " Light scatters, 0 times."


def test_the_hosted_form_is_read_back_as_the_same_pairs(gated, tmp_path):
    from probe.pairs.read import read_pairs
    from probe.pairs.record import text_of

    config = write_configs(gated("dpo", "chat"), "openai", tmp_path)[0]
    back = list(read_pairs(config.parent / "data-dpo/train.jsonl"))
    assert [(text_of(p.prompt), text_of(p.chosen), text_of(p.rejected)) for p in back] == [
        (row["prompt"], row["chosen"], row["rejected"]) for row in PAIRS
    ]


def test_llamafactory_gets_its_dataset_entry(gated, tmp_path):
    write_configs(gated("dpo", "chat"), "llamafactory", tmp_path)
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["probe_dpo"]
    assert entry["ranking"] is True and (tmp_path / entry["file_name"]).exists()
    row = json.loads((tmp_path / entry["file_name"]).read_text().splitlines()[0])
    assert set(entry["columns"].values()) == set(row)
    assert set(row["chosen"]) == {entry["tags"]["role_tag"], entry["tags"]["content_tag"]}


def test_the_second_stage_starts_from_the_first(gated, tmp_path):
    first, second = write_configs(gated("sft+dpo"), "trl", tmp_path)
    assert settings_of(first)["output_dir"] == "out-sft"
    assert settings_of(second)["model_name_or_path"] == "out-sft-merged"
    assert "merge the adapter in out-sft" in second.read_text() and "merge" not in first.read_text()


STAGED = [tool for tool in TOOLS if {"sft", "dpo"} <= ABLE[tool] and tool != "openai"]


@pytest.mark.parametrize("tool", STAGED)
def test_a_head_says_what_its_config_does(tool, gated, tmp_path):
    """No config evaluates, so none keeps a best epoch; the next stage loads the merged model."""
    first, second = write_configs(gated("sft+dpo", "chat"), tool, tmp_path)
    head = first.read_text()
    assert "best epoch kept" not in head and "the last epoch is kept" in head
    name = "base_model" if tool == "axolotl" else "model"
    told = settings_of(second)
    assert told.get("model_name_or_path", told.get(name)) == "out-sft-merged"
    merging = next(
        line
        for line in second.read_text().splitlines()
        if "out-sft-merged" in line and "as" not in line.split()
    )
    assert ("mlx_lm.fuse --model tiny --adapter-path out-sft" in merging) is (tool == "mlx-lm-lora")


@pytest.mark.parametrize("tool", STAGED)
def test_every_config_finds_its_own_data(tool, gated, tmp_path):
    """Each stage names data of its own form, and what stands beside the configs has the entries of all."""
    paths = write_configs(gated("sft+dpo", "chat"), tool, tmp_path)
    told = [json.dumps(settings_of(path)) for path in paths]
    if tool != "llamafactory":
        assert all(f"data-{path.stem}" in text for path, text in zip(paths, told, strict=True))
        return
    entries = json.loads((tmp_path / "dataset_info.json").read_text())
    named = [entries[settings_of(path)["dataset"]] for path in paths]
    assert [entry["ranking"] for entry in named] == [False, True]
    assert [entry["file_name"] for entry in named] == ["data-sft/train.jsonl", "data-dpo/train.jsonl"]


@pytest.mark.parametrize("command", ["gate", "train"])
def test_the_handbook_gets_the_test_split_that_its_scripts_read(command, gated, tmp_path):
    """run_sft.py and run_dpo.py of 0.3 read `raw_datasets["test"]` whether they evaluate or not."""
    run = dataclasses.replace(gated("dpo", "chat", held_out=0.5, seed=3), command=command)
    (path,) = write_configs(run, "alignment-handbook", tmp_path)
    head, told = path.read_text(), settings_of(path)
    splits = [
        (tmp_path / f"data-dpo/{name}.jsonl").read_text().splitlines() for name in told["dataset_splits"]
    ]
    assert [len(rows) for rows in splits] == ([4, 4] if command == "train" else [7, 1])
    assert not set(splits[0]) & set(splits[1])
    assert "alignment-handbook 0.3" in head
    assert ("as the run held them out" if command == "train" else "held none out") in head


def test_of_one_prompt_the_handbook_gets_a_copy_and_is_told(gated, tmp_path):
    run = gated("dpo", "chat")
    path = Path(run.inputs["pairs"]["path"])
    path.write_text("".join(json.dumps({**row, "prompt": "Why?"}) + "\n" for row in PAIRS))
    pairs = {**run.inputs["pairs"], "sha256": sha256_file(path)}
    run = dataclasses.replace(run, inputs={**run.inputs, "pairs": pairs})
    (path,) = write_configs(run, "alignment-handbook", tmp_path / "out")
    assert "is a copy of the training pairs" in path.read_text()
    texts = [(tmp_path / f"out/data-dpo/{name}.jsonl").read_text() for name in ("train", "test")]
    assert texts[0] == texts[1] and len(rows_of(path)) == len(PAIRS)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("command", ["gate", "train"])
def test_what_a_training_held_out_is_trained_on_by_no_tool(command, tool, gated, tmp_path, capsys):
    """All rows stood in the data of a config "as run by probe train"; steps are counted of those trained."""
    run = dataclasses.replace(gated("dpo", "chat", held_out=0.5, seed=3), command=command)
    (path,) = write_configs(run, tool, tmp_path)
    told, n = path.read_text() + capsys.readouterr().err, len(rows_of(path))
    if command == "gate":
        assert n == len(PAIRS) - (tool == "alignment-handbook") and "as the run held them out" not in told
        return
    (split,) = write_configs(run, "alignment-handbook", tmp_path / "split")
    out = (split.parent / "data-dpo/test.jsonl").read_text().splitlines()
    texts = {json.loads(row)["messages" if "messages" in row else "chosen"][0]["content"] for row in out}
    assert n == len(out) == 4
    assert not [row for row in rows_of(path) if any(text in json.dumps(row) for text in texts)]
    assert "4 pairs" in told and "50% of the prompts (seed 3), as the run held them out" in told


def test_the_pair_file_is_never_overwritten(gated, tmp_path, monkeypatch):
    """It is known by the saved run, not by the command line: ids and groups had been lost with rc 0."""
    run = gated("sft+dpo", "chat")
    kept = Path(run.inputs["pairs"]["path"])
    (tmp_path / "data-dpo").mkdir()
    moved = kept.rename(tmp_path / "data-dpo/train.jsonl")
    before = moved.read_text()
    with pytest.raises(ProbeError, match="an input of this command, which is kept"):
        write_configs(run, "trl", tmp_path, moved)
    assert moved.read_text() == before and sorted(path.name for path in tmp_path.iterdir()) == ["data-dpo"]
    assert write_configs(run, "trl", tmp_path / "elsewhere", moved)


@pytest.mark.parametrize("tool", ["trl", "openai"])
def test_configs_of_an_earlier_export_are_told(tool, gated, tmp_path, capsys):
    (tmp_path / "orpo.yaml").write_text("own: 1\n")
    write_configs(gated("sft+dpo", "chat"), tool, tmp_path)
    assert "earlier" not in capsys.readouterr().err
    write_configs(gated("dpo", "chat"), tool, tmp_path)
    ending = "json" if tool == "openai" else "yaml"
    told = capsys.readouterr().err
    assert f"sft.{ending}: of an earlier export" in told and "orpo" not in told and "dpo.yaml" not in told


WHY = {"excluded_why": {"the prompt fills --max-length": 2}}
LINES = {"excluded_lines": [3, 4]}
OLD = {"excluded": [{"line": 3, "why": "x"}, {"line": 4, "why": "x"}]}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("scores", [LINES, OLD], ids=["now", "before"])
def test_pairs_that_could_not_be_scored_are_left_out_as_in_training(tool, scores, gated, tmp_path):
    """They stood in the data of every tool, where `probe train` leaves them out."""
    run = gated("dpo", "chat")
    run = dataclasses.replace(run, inputs={**run.inputs, "scores": {"max_length": 64, **WHY, **scores}})
    (path,) = write_configs(run, tool, tmp_path)
    files = sorted(tmp_path.glob("data-dpo/*.jsonl"))
    rows = [line for file in files for line in file.read_text().splitlines()]
    assert len(rows) == len(PAIRS) - 2
    assert not [row for row in rows if "2 times" in row or "3 times" in row]
    assert tool == "openai" or "2 pairs that could not be scored left out" in path.read_text()


@pytest.mark.parametrize("tool", sorted(set(TOOLS) - {"openai"}))
def test_a_run_that_cut_nothing_does_not_take_a_tool_s_own_length(tool, gated, tmp_path):
    run = gated("dpo", "chat")
    run = dataclasses.replace(run, inputs={**run.inputs, "scores": {"max_length": None}})
    (path,) = write_configs(run, tool, tmp_path)
    told = settings_of(path)
    if tool == "trl":
        assert told["max_length"] is None
    else:
        assert "set one that holds the longest" in path.read_text()


def test_llamafactory_merges_an_adapter_before_it_trains_a_new_one(chatted, tmp_path):
    """Else its reference is the model without the adapter, and the loss does not start at ln 2."""
    told = settings_of(write_configs(chatted(CHATS[:1], adapter="org/ad"), "llamafactory", tmp_path)[0])
    assert told["adapter_name_or_path"] == "org/ad" and told["create_new_adapter"] is True
    (path,) = write_configs(chatted(CHATS[:1], adapter="org/ad"), "axolotl", tmp_path / "a")
    assert "loss starts at 0.6931" in path.read_text()


@pytest.mark.oracle
@pytest.mark.parametrize("tool", ["trl", "axolotl", "llamafactory"])
def test_the_command_in_the_head_merges_all_that_the_stage_lies_on(
    tool, chatted, tmp_path, tiny_model_dir, monkeypatch
):
    """LLaMA-Factory's first stage lies on the model with the measured adapter merged; its own config names
    the model alone, which the command had merged into. Axolotl's output is the measured adapter, gone on."""
    peft, torch = pytest.importorskip("peft"), pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def base():
        return AutoModelForCausalLM.from_pretrained(tiny_model_dir)

    for seed, name in enumerate(("a'd $x", "out-sft")):
        torch.manual_seed(seed)
        config = peft.LoraConfig(target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        peft.get_peft_model(base(), config).save_pretrained(tmp_path / name)
    AutoTokenizer.from_pretrained(tiny_model_dir).save_pretrained(tmp_path / "out-sft")
    below = [] if tool == "trl" else ["a'd $x"]
    facts = {"adapter": str(tmp_path / below[0])} if below else {}
    run = chatted(CHATS[:1], name=str(tiny_model_dir), **facts)
    run = dataclasses.replace(run, decision=staged("sft+dpo"))
    second = write_configs(run, tool, tmp_path)[1]
    line = next(line for line in second.read_text().splitlines() if line.startswith("# python -c "))
    monkeypatch.chdir(tmp_path)
    exec(shlex.split(line)[3], {})
    expected = base()
    for name in [*(below if tool == "llamafactory" else []), "out-sft"]:
        expected = peft.PeftModel.from_pretrained(expected, tmp_path / name).merge_and_unload()
    AutoTokenizer.from_pretrained("out-sft-merged")
    merged = AutoModelForCausalLM.from_pretrained("out-sft-merged").state_dict()
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(merged[key], value)
    assert ("load both before out-sft" in (tmp_path / "sft.yaml").read_text()) is (tool == "llamafactory")


def test_the_command_in_the_head_merges_into_the_revision_that_was_measured(chatted, tmp_path):
    run = dataclasses.replace(chatted(CHATS[:1], revision="abc"), decision=staged("sft+dpo"))
    assert 'from_pretrained("tiny", revision="abc")' in write_configs(run, "trl", tmp_path)[1].read_text()


def test_the_hosted_form_takes_no_rendered_prompt(chatted, tmp_path):
    prompt = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    rendered = {"prompt": prompt, "chosen": "a", "rejected": "b"}
    with pytest.raises(ProbeError, match="line 1: this prompt is rendered already"):
        write_configs(chatted([rendered], template="raw"), "openai", tmp_path)


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "method", "template", "word"),
    [
        ("trl", "dpop", "raw", "probe train"),
        ("trl", "orpo", "raw", "axolotl"),
        ("openai", "dpo+nll", "chat", "trl"),
        ("alignment-handbook", "dpo", "raw", "chat template"),
        ("axolotl", "orpo", "raw", "chat messages"),
        ("openai", "dpo", "Q: {prompt} A:", "renders chat messages"),
        ("axoltl", "dpo", "raw", "Did you mean axolotl"),
        ("trl", "do-not-train", "raw", "nothing to export"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_a_way_out(tool, method, template, word, gated, tmp_path):
    with pytest.raises(ProbeError, match=word):
        write_configs(gated(method, template), tool, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_changed_or_missing_file_is_refused(gated, tmp_path):
    run = gated()
    path = Path(run.inputs["pairs"]["path"])
    moved = path.rename(tmp_path / "moved.jsonl")
    with pytest.raises(ProbeError, match="--pairs"):
        write_configs(run, "trl", tmp_path / "out")
    assert write_configs(run, "trl", tmp_path / "out", moved)
    moved.write_text(moved.read_text() + "\n")
    with pytest.raises(ProbeError, match="changed"):
        write_configs(run, "trl", tmp_path / "out", moved)
    with pytest.raises(ProbeError, match="no decision"):
        write_configs(dataclasses.replace(run, decision=None), "trl", tmp_path / "out")


texts = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{3,12}", fullmatch=True), values, max_size=5))
def test_yaml_is_read_back_as_it_was(written):
    kept = {k: v for k, v in written.items() if v is not None}
    assert yaml.safe_load(as_yaml(written, ["head"])) == kept


CALL = {"type": "function", "function": {"name": "weigh", "parameters": {"type": "object", "properties": {}}}}
CHATS = [
    {
        "prompt": [{"role": "user", "content": f"Why, {i}?"}],
        "chosen": [{"role": "assistant", "content": "so"}],
        "rejected": [{"role": "assistant", "content": "no"}],
        **({"tools": [CALL]} if i % 2 else {}),
    }
    for i in range(8)
]


@pytest.fixture
def chatted(gated, tmp_path):
    """A gated run over chat rows."""

    def make(rows, **facts) -> Run:
        run = gated(template="chat")
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        pairs = {**run.inputs["pairs"], "sha256": sha256_file(path)}
        model = {**run.inputs["model"], **facts}
        return dataclasses.replace(run, inputs={**run.inputs, "pairs": pairs, "model": model})

    return make


@pytest.mark.parametrize("tool", ["trl", "llamafactory", "openai"])
def test_tools_go_with_their_rows(chatted, tool, tmp_path):
    (config,) = write_configs(chatted(CHATS), tool, tmp_path / "out")
    rows = rows_of(config)
    given = [row["input"].get("tools") if tool == "openai" else row["tools"] for row in rows]
    read = [json.loads(tools) if tools and isinstance(tools, str) else tools for tools in given]
    assert read[1] == [CALL] and not read[0]


@pytest.mark.parametrize("given", [[CALL], [], None])
def test_trl_reads_what_is_exported_for_it(chatted, given, tmp_path):
    """It reads any text under `tools` as JSON, and hands an empty list on to the template."""
    (config,) = write_configs(chatted([*CHATS, {**CHATS[0], "tools": given}]), "trl", tmp_path / "out")
    tools = [json.loads(t) if isinstance(t, str) else t for t in (row["tools"] for row in rows_of(config))]
    assert tools == [[CALL] if i % 2 else None for i in range(8)] + [given]


@pytest.mark.parametrize("tool", sorted(set(TOOLS) - {"trl"}))
def test_what_a_tool_would_leave_out_is_an_error_with_the_line(chatted, tool, tmp_path):
    rows = [*CHATS[:1], {**CHATS[0], "chat_template_kwargs": {"enable_thinking": False}}]
    with pytest.raises(ProbeError, match=r"line 2: .*chat_template_kwargs"):
        write_configs(chatted(rows), tool, tmp_path / "out")


def test_template_options_go_to_trl(chatted, tmp_path):
    rows = [CHATS[0], {**CHATS[0], "chat_template_kwargs": {"enable_thinking": False}}]
    (config,) = write_configs(chatted(rows), "trl", tmp_path / "out")
    assert [row["chat_template_kwargs"] for row in rows_of(config)] == [{}, {"enable_thinking": False}]


SPOKEN = {
    "prompt": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "And?"},
    ],
    "chosen": [{"role": "assistant", "content": "That."}],
    "rejected": [{"role": "assistant", "content": "No."}],
}


@pytest.mark.parametrize("tool", ["axolotl", "openai", "llamafactory"])
def test_earlier_answers_of_a_dialogue_are_not_trained(chatted, tool, tmp_path):
    """They are part of the prompt that was measured; all three tools train every answer by default."""
    run = dataclasses.replace(chatted([SPOKEN] * 8), decision=staged("sft"))
    (config,) = write_configs(run, tool, tmp_path / "out")
    settings, messages = settings_of(config), rows_of(config)[0]["messages"]
    assert [turn["content"] for turn in messages] == ["Be brief.", "Why?", "So.", "And?", "That."]
    if tool == "llamafactory":
        assert settings["mask_history"] is True
        return
    name, none, asked = {"axolotl": ("train", False, True), "openai": ("weight", 0, None)}[tool]
    assert (messages[2][name], messages[4].get(name)) == (none, asked)
    if tool == "axolotl":
        assert settings["datasets"][0]["message_field_training"] == name
        assert not any(messages[i][name] for i in (0, 1, 3))


@pytest.mark.parametrize(
    "roles", [["user", "user"], ["assistant", "user"], ["user", "assistant", "tool"], ["system"]]
)
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_llamafactory_is_given_no_dialogue_that_it_drops(chatted, roles, method, tmp_path):
    """It takes user and assistant in turn, behind a system text, and leaves other rows out with a warning."""
    turns = [{"role": role, "content": "Hm?"} for role in roles]
    run = dataclasses.replace(chatted([SPOKEN, {**SPOKEN, "prompt": turns}]), decision=staged(method))
    with pytest.raises(ProbeError, match=r"line 2: llamafactory leaves out dialogues"):
        write_configs(run, "llamafactory", tmp_path / "out")


def test_mlx_refuses_an_answer_of_which_it_would_train_the_end_alone(chatted, tmp_path):
    more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "This."}]
    row = {**SPOKEN, "chosen": SPOKEN["chosen"] + more}
    run = dataclasses.replace(chatted([SPOKEN, row]), decision=staged("sft"))
    with pytest.raises(ProbeError, match=r"line 2: .*last message"):
        write_configs(run, "mlx-lm-lora", tmp_path / "out")
    run = dataclasses.replace(chatted([SPOKEN]), decision=staged("sft"))
    assert write_configs(run, "mlx-lm-lora", tmp_path / "out")


@pytest.mark.parametrize("tool", ["trl", "alignment-handbook", "axolotl"])
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_adapters_have_no_dropout_and_all_linear_layers(tool, method, gated, tmp_path):
    """TRL's and the handbook's own rate is 0.05, and the handbook's own layers are query and value alone."""
    settings = settings_of(write_configs(gated(method, "chat"), tool, tmp_path)[0])
    assert settings["lora_dropout"] == 0.0
    layers = settings.get("lora_target_modules")
    assert settings["lora_target_linear"] if tool == "axolotl" else layers in ("all-linear", ["all-linear"])
    assert tool != "alignment-handbook" or (layers, settings["optim"]) == ("all-linear", "adamw_torch")


def test_the_handbook_s_sft_is_told_to_train_on_prompts(gated, tmp_path):
    texts = {
        s: write_configs(gated(s, "chat"), "alignment-handbook", tmp_path)[0].read_text()
        for s in ("sft", "dpo")
    }
    assert "trains on the prompts as well" in texts["sft"] and "on the prompts" not in texts["dpo"]


@pytest.mark.parametrize("tool", ["llamafactory", "axolotl"])
def test_no_turn_and_no_tool_is_lost_in_silence(chatted, tool, tmp_path):
    """Axolotl's preferences keep the last message of a side, and give no tools to the template."""
    if tool == "axolotl":
        with pytest.raises(ProbeError, match=r"line 2: axolotl's form of preferences gives no tools"):
            write_configs(chatted(CHATS), tool, tmp_path / "out")
    more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "that"}]
    with pytest.raises(ProbeError, match=r"line 1: .*several turns"):
        write_configs(chatted([{**CHATS[0], "chosen": CHATS[0]["chosen"] + more}]), tool, tmp_path / "out")
    call = [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weigh"}}]}]
    with pytest.raises(ProbeError, match=r"line 1: .*tool calls"):
        write_configs(chatted([{**CHATS[0], "chosen": call}]), tool, tmp_path / "out")


@pytest.mark.parametrize(
    ("tool", "name"),
    [("trl", "label_smoothing"), ("axolotl", "dpo_label_smoothing"), ("llamafactory", "dpo_label_smoothing")],
)
def test_an_export_trains_the_loss_that_was_decided(gated, tool, name, tmp_path):
    """cDPO without its ε is plain DPO; a batch of 6 is two passes of 3; the end token is not lost unsaid."""
    values = {**shipped_values("cdpo", parameters=135_000_000, n=len(PAIRS)), "smoothing": 0.2, "batch": 6}
    decision = Decision("cdpo", ("cdpo",), values, (Reason("", "asked for with --method", "x"),))
    run = dataclasses.replace(gated(), command="train", decision=decision)
    (config,) = write_configs(run, tool, tmp_path / "out")
    settings, head = settings_of(config), config.read_text()
    assert settings[name] == 0.2 and "as run by probe train" in head
    micro = settings.get("per_device_train_batch_size", settings.get("micro_batch_size"))
    assert micro * settings["gradient_accumulation_steps"] == 6
    assert ("no end token" in head) is (tool == "llamafactory")


TEXT = {"prompt": "Why?", "chosen": "so", "rejected": "no"}
RENDERED = {**TEXT, "prompt": "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"}
SPECIAL = {**TEXT, "prompt": "[USR] Why? [BOT]"}


@pytest.mark.parametrize("tool", sorted(TOOLS))
@pytest.mark.parametrize(
    ("row", "said"),
    [
        (RENDERED, "is rendered already"),
        (SPECIAL, "is rendered already"),
        ({k: v for k, v in TEXT.items() if k != "prompt"}, "has no prompt"),
    ],
)
def test_a_row_that_was_measured_raw_gets_no_chat_template(chatted, row, said, tool, tmp_path):
    run = chatted([CHATS[0], TEXT, row], special_tokens=["[USR]", "[BOT]"])
    with pytest.raises(ProbeError, match=rf"line 3: .*{said}.* raw"):
        write_configs(run, tool, tmp_path / "out")


@pytest.mark.parametrize("tool", ["trl", "axolotl", "llamafactory"])
def test_chat_rows_among_raw_ones_are_refused_unless_they_were_measured_raw(chatted, tool, tmp_path):
    rows = [RENDERED, RENDERED, CHATS[0]]
    with pytest.raises(ProbeError, match=r"line 3: .*under the chat template"):
        write_configs(chatted(rows, template="raw"), tool, tmp_path / "out")
    asked = dataclasses.replace(chatted(rows, template="raw"), config={"template": "raw"})
    (config,) = write_configs(asked, tool, tmp_path / "out")
    assert len(rows_of(config)) == 3


NAMES = {"trl": "model_name_or_path", "alignment-handbook": "model_name_or_path", "axolotl": "base_model"}
NAMES["llamafactory"] = "model_name_or_path"


@pytest.mark.parametrize("tool", NAMES)
def test_the_model_can_be_loaded_by_the_other_tool(chatted, tool, tmp_path, monkeypatch):
    plain = CHATS[:1]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local").mkdir()
    (config,) = write_configs(chatted(plain, name="./local"), tool, tmp_path / "out")
    assert settings_of(config)[NAMES[tool]] == str((tmp_path / "local").resolve())
    (config,) = write_configs(chatted(plain, name="org/model", revision="abc"), tool, tmp_path / "out")
    told = settings_of(config)
    assert told[NAMES[tool]] == "org/model"
    assert told["revision_of_model" if tool == "axolotl" else "model_revision"] == "abc"


def test_an_adapter_is_gone_on_from_or_named(chatted, tmp_path):
    (tmp_path / "adapter").mkdir()
    run = chatted(CHATS[:1], adapter=str(tmp_path / "adapter"))
    told = settings_of(write_configs(run, "axolotl", tmp_path / "out")[0])
    assert told["lora_model_dir"] == str((tmp_path / "adapter").resolve())
    with pytest.raises(ProbeError, match="Merge it"):
        write_configs(run, "trl", tmp_path / "out")


def test_the_embedded_model_is_named_by_its_directory_or_copied(chatted, tmp_path, monkeypatch, capsys):
    from probe.scoring import embedded

    home = tmp_path / "cache"
    home.mkdir()
    (home / "config.json").write_text("{}")
    monkeypatch.setattr(embedded, "embedded_gguf", lambda: tmp_path / "x.gguf")
    monkeypatch.setattr(embedded, "converted", lambda path: home)
    run = chatted(CHATS[:1], name="SmolLM2-135M-Instruct (embedded)")
    (config,) = write_configs(run, "trl", tmp_path / "out")
    assert settings_of(config)["model_name_or_path"] == str(home)
    assert "--with-model" in capsys.readouterr().err
    (config,) = write_configs(run, "trl", tmp_path / "out", with_model=True)
    copied = Path(settings_of(config)["model_name_or_path"])
    assert copied == (tmp_path / "out/model").resolve() and (copied / "config.json").exists()
    assert write_configs(run, "trl", tmp_path / "out", with_model=True)
    (copied / "config.json").write_text('{"own": 1}')
    with pytest.raises(ProbeError, match="something else than this model, and is kept"):
        write_configs(run, "trl", tmp_path / "out", with_model=True)
    assert (copied / "config.json").read_text() == '{"own": 1}'


def test_yaml_keeps_the_order_and_leaves_out_what_has_no_value():
    values = {"model": "tiny", "beta": 0.1, "adapter": None, "a": [1, 2]}
    assert as_yaml(values, ["one\ntwo"]) == "# one\n# two\nmodel: tiny\nbeta: 0.1\na: [1, 2]\n"


@pytest.mark.parametrize(("asked", "written"), [({"max_length": 48}, 48), ({}, 64)])
def test_the_length_is_the_one_asked_for_else_the_one_measured(gated, tmp_path, asked, written):
    (path,) = write_configs(gated("dpo", **asked), "trl", tmp_path)
    assert settings_of(path)["max_length"] == written


@pytest.mark.parametrize(
    ("method", "length", "beta"), [("sft", "max_seq_length", None), ("dpo", "max_length", "beta")]
)
def test_the_handbook_has_a_name_for_the_length_of_each_stage(method, length, beta, gated, tmp_path):
    """Its SFT settings have another name for the length than its DPO settings, and no beta."""
    run = gated(method, "chat")
    (path,) = write_configs(run, "alignment-handbook", tmp_path)
    written = settings_of(path)
    assert {name for name in written if name.endswith("length")} == {length} and written[length] == 64
    assert ("beta" in written) is bool(beta)
    if beta:
        assert written["beta"] == stage_values(run.decision, "dpo")["beta"]


@pytest.mark.parametrize("reasons", [(Reason("PB010", "It would not fit.", "x"),), ()])
def test_a_decision_not_to_train_is_refused_with_its_reason(reasons, gated, tmp_path):
    run = gated("do-not-train")
    run = dataclasses.replace(run, decision=dataclasses.replace(run.decision, reasons=reasons))
    told = reasons[0].text if reasons else "nothing to export. "
    with pytest.raises(ProbeError, match=rf"the decision is do-not-train.*{told}$"):
        write_configs(run, "trl", tmp_path)
