"""`probe.Preflight` in a TRL script: what cannot train is stopped, the rest is left as it is."""

import math

import pytest

import probe
from probe.errors import ProbeError
from probe.probes.numerics.judge import STEP_PAIRS

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

NOUNS = ("tree", "stone", "river", "cloud", "lamp", "road", "bird", "door", "leaf", "boat", "wall", "seed")
VERBS = ("grows", "falls", "turns", "waits", "shines", "bends", "sings", "opens")


def taste(n=24):
    """Pairs whose sides are of one kind: neither template nor length tells them apart."""
    return [
        {
            "prompt": f"What does the {NOUNS[i % 12]} do on day {i}?",
            "chosen": f" It {VERBS[i % 8]} beside the {NOUNS[(i + 5) % 12]} number {i}.",
            "rejected": f" It {VERBS[(i + 3) % 8]} beside the {NOUNS[(i + 7) % 12]} number {i}.",
        }
        for i in range(n)
    ]


def templated(n=60):
    return [
        {**row, "rejected": f" Sorry, nothing can be said about {i}. Please ask the support team."}
        for i, row in enumerate(taste(n))
    ]


@pytest.fixture
def parts():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"</s>": 0} | {letter: i for i, letter in enumerate(alphabet, 1)}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", bos_token="</s>", pad_token="</s>"
    )

    def model(seed=0, dtype=torch.float32):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512,
        )  # fmt: skip
        return LlamaForCausalLM(config).to(dtype)

    return model, tokenizer


@pytest.fixture
def trainer_of(parts, tmp_path):
    def make(rows, callback, *, policy=None, reference=None, **changes):
        model, tokenizer = parts
        settings = {
            "output_dir": str(tmp_path), "max_steps": 2, "per_device_train_batch_size": 4, "report_to": [],
            "learning_rate": 1e-4, "logging_steps": 1, "use_cpu": True, "bf16": False, "seed": 3,
            "gradient_checkpointing": False, "save_strategy": "no", "disable_tqdm": True,
        }  # fmt: skip
        return trl.DPOTrainer(
            model=policy if policy is not None else model(),
            ref_model=reference if reference is not None else model(),
            args=trl.DPOConfig(**{**settings, **changes}),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[callback] if callback else [],
        )

    return make


def quick(**options):
    return probe.Preflight(off=("negatives", "trial"), **options)


def conditions(callback):
    return {c.name: c.result for c in callback.result.verdict.conditions}


def test_a_good_run_goes_on_bit_for_bit_as_without_it(trainer_of):
    losses = []
    for callback in (None, quick()):
        trainer = trainer_of(taste(), callback)
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert losses[0] == losses[1]
    assert callback.result.verdict.status != "fail" and callback.setup.reference_gap == 0
    assert conditions(callback)["numerics"] == "pass"
    loss = callback.result.estimate("initial_loss")
    assert loss.n == STEP_PAIRS and loss.value == pytest.approx(math.log(2), abs=1e-6)
    assert callback.result.estimate("weights_moved").value > 0.9


def test_the_trial_leaves_no_trace_either(trainer_of):
    losses = []
    for callback in (None, probe.Preflight(off=("negatives",), on_fail="warn")):
        trainer = trainer_of(taste(), callback)
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert losses[0] == losses[1] and callback.result.estimate("trial_accuracy")


@pytest.mark.parametrize(
    ("kind", "code"), [("float16", "PB001"), ("reference", "PB011"), ("frozen", "PB012")]
)
def test_a_set_up_that_cannot_train_is_stopped(trainer_of, parts, kind, code):
    model, callback = parts[0], quick()
    options = {
        "float16": {"policy": model(dtype=torch.float16), "reference": model(dtype=torch.float16)},
        "reference": {"reference": model(seed=1)},
        "frozen": {"policy": model().requires_grad_(False)},
    }[kind]
    trainer = trainer_of(taste(), callback, **options)
    if kind == "frozen":  # the optimizer refuses to be made without weights; what is asked is the finding
        from probe.probes.trainer.checks import judge_setup
        from probe.probes.trainer.read import read_setup

        assert code in {f.code for f in judge_setup(read_setup(trainer))}
        return
    with pytest.raises(probe.PreflightFailed, match=code):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_first_step_that_changes_nothing_is_stopped_before_it(trainer_of, parts):
    model = parts[0]
    options = {"policy": model(dtype=torch.bfloat16), "reference": model(dtype=torch.bfloat16)}
    before = {name: p.clone() for name, p in options["policy"].named_parameters()}
    trainer = trainer_of(taste(), quick(), learning_rate=1e-7, optim="adamw_torch", **options)
    with pytest.raises(probe.PreflightFailed, match=r"PB003 .* of the weights moved in a step of 1e-07"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.named_parameters())


def test_where_the_first_step_fails_and_may_not_stop_no_gate_runs_on_its_numbers(trainer_of, parts, capsys):
    policy = parts[0]()
    policy.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    callback = quick(on_fail="warn", guard=False)
    trainer_of(taste(), callback, policy=policy).train()
    assert "PB009" in {f.code for f in callback.findings} and callback.result is None
    assert "not finite in the forward pass" in capsys.readouterr().err


def test_a_first_step_that_takes_too_much_memory_is_told_and_not_held_against_the_run(
    trainer_of, monkeypatch, capsys
):
    def full(*_):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr("probe.preflight.step_of", full)
    callback = quick()
    trainer_of(taste(), callback).train()
    assert conditions(callback)["numerics"] == "inconclusive"
    assert "the first step was not tried: it does not fit" in capsys.readouterr().err


def test_a_first_step_that_is_switched_off_is_not_tried(trainer_of, monkeypatch):
    monkeypatch.setattr("probe.preflight.step_of", lambda *_: pytest.fail("it was tried"))
    callback = probe.Preflight(off=("numerics", "negatives", "trial"))
    trainer_of(taste(), callback).train()
    assert conditions(callback)["numerics"] == "inconclusive"


def test_a_pair_by_labels_starts_where_they_do():
    from probe.probes.trainer.step import _pair

    row = {
        "chosen_input_ids": [5, 6, 7, 8, 0], "chosen_labels": [-100, -100, 7, 8, -100],
        "rejected_input_ids": [5, 6, 9], "rejected_labels": [-100, -100, -100],
    }  # fmt: skip
    pair = _pair(0, row, None)
    assert (pair.chosen.ids, pair.chosen.start) == ((5, 6, 7, 8), 2)
    assert len(pair.rejected.ids) == pair.rejected.start == 3  # nothing is scored: PB004


def test_an_sft_adapter_without_its_reference_is_named(trainer_of, parts):
    from peft import LoraConfig, get_peft_model

    policy = get_peft_model(parts[0](), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    trainer = trainer_of(taste(), quick(), policy=policy)
    trainer.ref_model = None  # as ref_model=None leaves it; TRL would look for a checkpoint of this name
    with pytest.raises(probe.PreflightFailed, match="PB011"):
        trainer.train()


def others():
    """Trainer, configuration and rows of each other kind that this TRL has."""
    from importlib import import_module

    pairs, texts = taste(), [{"prompt": r["prompt"], "completion": r["chosen"]} for r in taste()]
    marked = [{**row, "label": i % 2 == 0} for i, row in enumerate(texts)]
    for place, kind, rows in (
        ("trl", "SFT", texts), ("trl", "Reward", pairs), ("trl", "KTO", marked),
        ("trl.experimental.kto", "KTO", marked), ("trl.experimental.orpo", "ORPO", pairs),
        ("trl.experimental.cpo", "CPO", pairs),
    ):  # fmt: skip
        try:
            module = import_module(place)
            yield kind, getattr(module, f"{kind}Trainer"), getattr(module, f"{kind}Config"), rows
        except (ImportError, AttributeError, RuntimeError):
            continue


@pytest.mark.parametrize("kind", ["SFT", "Reward", "KTO", "ORPO", "CPO"])
def test_other_trainers_are_read_and_let_go(parts, tmp_path, kind):
    known = {name: rest for name, *rest in others()}
    if kind not in known:
        pytest.skip(f"this TRL has no {kind}Trainer")
    trainer_of, config, rows = known[kind]
    model, tokenizer = parts[0](), parts[1]
    if kind == "Reward":
        from transformers import LlamaForSequenceClassification

        model.config.num_labels, model.config.pad_token_id = 1, 0
        model = LlamaForSequenceClassification(model.config)
    callback = quick(guard=False)
    args = config(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        bf16=False, logging_steps=1, save_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    reference = {"ref_model": parts[0]()} if kind == "KTO" else {}
    trainer = trainer_of(
        model=model, args=args, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer,
        callbacks=[callback], **reference,
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 1
    assert callback.setup.trainable == callback.setup.weights > 0
    assert callback.setup.looked_at == (0 if kind == "Reward" else 8) and callback.setup.unlabelled == 0
    assert (callback.result is None) == (kind == "SFT")
    if kind == "KTO":
        told = conditions(callback)
        assert callback.result.command == "unpaired" and callback.result.estimate("gap").n == len(rows)
        assert told["labels"] == "pass" and told["trial_gap_change"] == "inconclusive"  # left out by `quick`
    if kind in ("ORPO", "CPO"):  # CPO's loss is none of `training.methods`
        assert conditions(callback)["numerics"] == ("pass" if kind == "ORPO" else "inconclusive")
    unjudged = kind in ("Reward", "KTO", "CPO")  # methods without recipes: said, not taken for another
    assert ("PB015" in {f.code for f in callback.findings}) == unjudged
    assert callback.setup.reference_gap == (0 if kind == "KTO" else None)


def test_templated_negatives_are_stopped(trainer_of):
    callback = probe.Preflight(off=("trial", "bias"))
    with pytest.raises(probe.PreflightFailed) as stopped:
        trainer_of(templated(), callback).train()
    assert stopped.value.result.verdict.status == "fail"
    assert any(f.code.startswith("PB2") for f in stopped.value.findings)


def test_a_warning_lets_the_run_go(trainer_of, parts, capsys):
    trainer = trainer_of(taste(), quick(on_fail="warn"), reference=parts[0](seed=1))
    trainer.train()
    assert trainer.state.global_step == 2
    assert "PB011" in capsys.readouterr().err


def test_rows_that_the_trainer_masks_wholly_are_counted():
    from probe.probes.numerics.judge import Plan
    from probe.probes.trainer.checks import Setup, judge_setup

    def codes(**facts):
        return {
            f.code: f.severity for f in judge_setup(Setup(Plan(lora_rank=None), 10, 10, "float32", **facts))
        }

    assert codes(unlabelled=8, looked_at=8)["PB013"] == "error"
    assert codes(unlabelled=1, looked_at=8)["PB013"] == "warning"
    assert "PB013" not in codes(unlabelled=0, looked_at=8)
    assert codes(cut=6, rows=100)["PB014"] == "warning" and "PB014" not in codes(cut=5, rows=100)


def test_outside_of_a_trainer_it_says_so():
    with pytest.raises(ProbeError, match="trainer's callback"):
        probe.Preflight().on_train_begin(None, type("S", (), {"global_step": 0})(), None)


# A line break stands behind the end token, as in ChatML: TRL's sums hold it.
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(params=["text", "chat"])
def rows(request, parts, monkeypatch):
    """Pairs as text, or as the messages of a chat template that goes on behind the end token."""
    if request.param == "text":
        return taste()
    monkeypatch.setattr(parts[1], "chat_template", TEMPLATE)
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    return [
        {name: [{"role": role, "content": row[name].strip()}] for name, role in roles.items()}
        for row in taste()
    ]


@pytest.fixture
def with_columns(parts, tmp_path, rows):
    """Rows with the columns that `probe reference` writes."""
    import json

    from probe.pairs.fields import parse_fields
    from probe.scoring.given import as_loaded
    from probe.scoring.session import ModelOptions, Session, Source
    from probe.training.reference import with_reference

    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = parts[0]().eval()
    source = Source(path, parse_fields(None), ("chosen", "rejected"))
    template = "raw" if isinstance(rows[0]["chosen"], str) else "chat"
    session = Session.open(source, ModelOptions(template=template), loaded=as_loaded(model, parts[1]))
    return list(with_reference(session))


def test_a_stored_reference_is_read_without_a_reference_forward(trainer_of, parts, rows, with_columns):
    losses = []
    for given, callback in ((rows, None), (with_columns, quick(guard=False, stored_reference=True))):
        reference = parts[0]()
        trainer = trainer_of(given, callback, reference=reference)
        seen = []
        trainer.ref_model.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
        assert bool(seen) == (callback is None)
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_a_stored_reference_of_another_model_is_stopped(trainer_of, with_columns):
    rows = [{**row, "ref_chosen_logps": row["ref_chosen_logps"] - 9.0} for row in with_columns]
    with pytest.raises(probe.PreflightFailed, match="PB011"):
        trainer_of(rows, quick(stored_reference=True)).train()


def test_a_stored_reference_that_is_not_there_is_one_line(trainer_of):
    with pytest.raises(ProbeError, match="no ref_chosen_logps and ref_rejected_logps"):
        trainer_of(taste(), quick(stored_reference=True)).train()


def test_the_axolotl_plugin_adds_the_callback(monkeypatch):
    import sys
    import types

    base = types.ModuleType("axolotl.integrations.base")
    base.BasePlugin = type("BasePlugin", (), {})
    for name in ("axolotl", "axolotl.integrations"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, base.__name__, base)
    monkeypatch.delitem(sys.modules, "probe.axolotl_plugin", raising=False)
    from importlib import import_module

    module = import_module("probe.axolotl_plugin")
    warn = type("Warn", (module.Preflight,), {"options": {"on_fail": "warn"}})
    assert issubclass(module.Preflight, base.BasePlugin)
    (callback,) = warn().add_callbacks_post_trainer({}, None)
    assert isinstance(callback, probe.Preflight) and callback.on_fail == "warn"
