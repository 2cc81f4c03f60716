"""`probe` from Python: the commands' numbers on lists and loaded models, which come back as they were."""

import inspect
import json
import re
import subprocess
import sys
from importlib import import_module

import pytest

import probe
from probe import api
from probe.api_inputs import Loading
from probe.commands.configured import OUTPUTS
from probe.errors import ProbeError
from probe.pairs.fields import parse_sides
from probe.runs import save_run

torch = pytest.importorskip("torch")

ROWS = [
    {
        "prompt": f"question {i % 12} about the garden",
        "chosen": f"answer one {i} grows well in {'sun' if i % 2 else 'shade'}",
        "rejected": f"reply two {i} dies {'slowly' if i % 3 else 'at once'}",
    }
    for i in range(24)
]


@pytest.fixture
def given(tmp_path):
    """A tiny model with a byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"</s>": 0} | {letter: i for i, letter in enumerate(alphabet, 1)}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", bos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256, attention_dropout=0.1,
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


def state_of(model):
    return {
        "weights": {n: p.detach().clone() for n, p in model.named_parameters()},
        "trainable": {n: p.requires_grad for n, p in model.named_parameters()},
        "grads": {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()},
        "modes": {n: m.training for n, m in model.named_modules()},
        "dropout": [m.attention_dropout for m in model.modules() if hasattr(m, "attention_dropout")],
        "config": model.config.to_dict() if hasattr(model.config, "to_dict") else {},
        "random": torch.get_rng_state(),
        "peft": hasattr(model, "peft_config"),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def test_a_list_and_a_loaded_model_give_the_commands_numbers(given, tmp_path):
    model, tokenizer = given
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    named = probe.bias(tmp_path / "pairs.jsonl", str(tmp_path / "model"), dtype="float32", device="cpu")
    loaded = probe.bias(ROWS, model.eval(), tokenizer)
    for name in ("gap", "win_rate"):
        assert loaded.estimate(name).value == pytest.approx(named.estimate(name).value, abs=1e-6)
    assert [row["line"] for row in loaded.rows] == list(range(1, 25))
    assert loaded.inputs["pairs"]["path"] == "list in memory"


@pytest.mark.parametrize("kind", ["plain", "adapter"])
@pytest.mark.parametrize("call", ["bias", "negatives", "trial", "gate"])
def test_a_loaded_model_comes_back_as_it_was(given, kind, call):
    model, tokenizer = given
    if kind == "adapter":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=2, lora_dropout=0.1, target_modules="all-linear"))
    model.train()
    next(p for p in model.parameters() if p.requires_grad).grad = None
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
            break
    options = {
        "negatives": {"gradients": 2, "numerics": False},
        "trial": {"steps": 2},
        "gate": {"off": ("negatives",)},
    }.get(call, {})
    before = state_of(model)
    run = getattr(probe, call)(ROWS, model, tokenizer, **options)
    after = state_of(model)
    assert run.estimates
    for part in before:
        assert same(before[part], after[part]), part


# What a command prints, writes or keeps is no argument; a bundle of flags has a parameter of its own.
PRINTED = {"format", "everything", "check", "plan", "how", "path", "trim", "trim_by", "by"}
RENAMED = {("show", "line"): "lines"}
IN_PYTHON = {("trial", "proxy")}  # the smaller model is given in place of the large one
CALLS = ("bias", "data", "show", "negatives", "trial", "gate", "autopsy")


@pytest.mark.parametrize("name", CALLS)
def test_every_flag_that_changes_what_is_measured_is_an_argument_with_the_same_default(name):
    command = inspect.signature(getattr(import_module(f"probe.commands.{name}"), name)).parameters
    ours = inspect.signature(getattr(api, name)).parameters
    for flag in command.keys() - PRINTED - set(OUTPUTS):
        if (name, flag) in IN_PYTHON:
            continue
        argument = RENAMED.get((name, flag), flag)
        if argument not in ours:
            assert "how" in ours and argument in Loading.__annotations__, flag
        elif ours[argument].default is not inspect.Parameter.empty:
            assert (ours[argument].default or None) == (command[flag].default or None), flag


def test_arguments_are_the_runs_settings_and_have_the_flags_ranges(given):
    model, tokenizer = given
    run = probe.bias(ROWS, model.eval(), tokenizer, alpha=0.01, max_length=64)
    assert run.config["alpha"] == 0.01 and run.config["max_length"] == 64
    assert run.config["origins"]["alpha"] == "argument" and run.config["origins"]["bound"] == "default"
    assert probe.data(ROWS).config["origins"]["template"] == "default"
    with pytest.raises(ProbeError, match=r"alpha=0\.7: must be more than 0 and less than 0\.5"):
        probe.gate(ROWS, model, tokenizer, alpha=0.7)
    with pytest.raises(ProbeError, match='--goal "x": not one of the choices'):
        probe.gate(ROWS, model, tokenizer, goal="x")


def test_a_saved_run_is_judged_again(given, tmp_path):
    model, tokenizer = given
    run = probe.gate(
        ROWS, model.eval(), tokenizer, off=("negatives", "trial", "numerics"), out=tmp_path / "r"
    )
    again = probe.gate(tmp_path / "r", limits={"gap": 1e6}, minimum_n=2)
    assert again.estimates == run.estimates
    assert {c.name: c.result for c in again.verdict.conditions}["gap"] == "pass"


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"gapp": 0.2}, 'no key "gapp". Did you mean "gap"'),
        ({"surface_accuracy": 7}, '"surface-accuracy" is 7. It must be'),
        ({"gap": "x"}, "\"gap\" is 'x'. It takes"),
        ({"gap": True}, '"gap" is true'),
        ([0.2], "has no"),
    ],
)
def test_limits_that_no_config_may_have_are_refused(limits, said, tmp_path):
    """They were ignored: the condition kept its own limit, and the verdict said pass."""
    with pytest.raises(ProbeError, match=re.escape(said)):
        probe.gate(ROWS, limits=limits)
    with pytest.raises(ProbeError, match=re.escape(said)):
        probe.Preflight(limits=limits)


def test_fields_and_probes_of_another_type_are_refused():
    with pytest.raises(ProbeError, match=r"--fields: .* is no text"):
        probe.data(ROWS, fields={"prompt": "q"})
    for call in (lambda: probe.gate(ROWS, off="trial"), lambda: probe.Preflight(off="trial")):
        with pytest.raises(ProbeError, match='off="trial": give a list'):
            call()
    with pytest.raises(ProbeError, match='methods="dpo": give a list'):
        probe.trial(ROWS, methods="dpo")
    with pytest.raises(ProbeError, match="there are no pairs"):
        probe.data([])


@pytest.mark.parametrize("sides", [("good", "bad"), ["good", "bad"], 3])
def test_sides_that_are_no_text_are_refused(sides):
    with pytest.raises(ProbeError, match=r"--sides: .* is no text"):
        parse_sides(sides)


@pytest.mark.parametrize("name", ["surface-accuracy", "surface_accuracy"])
def test_a_limit_has_its_name_of_a_config_or_of_python(name, given, tmp_path):
    model, tokenizer = given
    run = probe.gate(
        ROWS, model.eval(), tokenizer, off=("negatives", "trial", "numerics"), out=tmp_path / "r"
    )
    assert run.verdict.conditions
    told = {c.name: c.limit for c in probe.gate(tmp_path / "r", limits={name: 0.125}).verdict.conditions}
    assert told["surface_accuracy"] == 0.125


def test_without_states_and_numerics_no_model_is_loaded(monkeypatch):
    from probe.scoring import session

    monkeypatch.setattr(session, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    run = probe.negatives(ROWS, states=False, numerics=False)
    assert run.estimate("surface_accuracy") is not None


ANSWERS = [
    {
        "prompt": f"question {i // 2}",
        "completion": f"answer {i * 7 % 13} {'so' if i % 3 else 'then'}",
        "label": i % 2 == 0,
    }
    for i in range(80)
]


def test_answers_with_a_label_each_are_gated_and_tried(given):
    model, tokenizer = given
    before = state_of(model)
    gated = probe.gate(ANSWERS, model, tokenizer)
    assert {c.name for c in gated.verdict.conditions} >= {"labels", "surface_accuracy", "trial_gap_change"}
    assert gated.estimate("trial_gap_change").value is not None
    tried = probe.trial(ANSWERS, model, tokenizer, steps=2)
    assert tried.estimate("trial_gap_change").value is not None and not tried.verdict.conditions
    after = state_of(model)
    assert all(same(before[part], after[part]) for part in before)
    left_out = probe.gate(ANSWERS, model, tokenizer, off=("trial",))
    assert left_out.estimate("trial_gap_change") is None and left_out.verdict.status != "pass"
    for call, says in (
        (lambda: probe.gate(ANSWERS, model, tokenizer, beta=0.2), "--beta does nothing"),
        (lambda: probe.gate(ANSWERS, model, tokenizer, off=("bias",)), "--no-PROBE but --no-trial"),
        (lambda: probe.trial(ANSWERS, model, tokenizer, method="sft"), "trains on by kto"),
        (lambda: probe.trial(ANSWERS, model, tokenizer, methods=("dpo", "sft")), "--methods does nothing"),
    ):
        with pytest.raises(ProbeError, match=says):
            call()


def test_show_gives_the_ids_that_show_prints(given, tmp_path):
    """Pairs in memory and the same pairs in a file: the rows of `probe show --format json`."""
    from typer.testing import CliRunner

    from probe.cli import app

    model, tokenizer = given
    place, file = tmp_path / "model", tmp_path / "pairs.jsonl"
    model.config.save_pretrained(place)
    tokenizer.save_pretrained(place)
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:3]))
    words = ["show", str(file), "--line", "2", "--model", str(place), "--format", "json"]
    printed = json.loads(CliRunner().invoke(app, words).stdout)
    (row,) = probe.show(ROWS[:3], str(place), lines=[2]).rows
    assert [row] == list(printed if isinstance(printed, list) else [printed])
    assert tokenizer.decode(row["chosen"]).strip() == ROWS[1]["chosen"]
    assert len(probe.show(file, str(place)).rows) == 3
    with pytest.raises(ProbeError, match="no pair stands on this line"):
        probe.show(ROWS[:3], str(place), lines=[9])


def test_nothing_is_written_unless_asked(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, tokenizer = given
    run = probe.bias(ROWS, model, tokenizer)
    assert not list(tmp_path.iterdir())
    run.save("here")
    assert {p.name for p in (tmp_path / "here").iterdir()} == {"run.json", "report.html", "scores.jsonl"}


def test_a_result_shows_itself(given):
    run = probe.data(ROWS)
    assert "PB" in str(run) or "pairs" in str(run)
    assert run._repr_html_().startswith("<iframe srcdoc=")
    assert set(run.to_pandas("findings")["code"]) == {f.code for f in run.findings}
    with pytest.raises(ProbeError, match="no such table"):
        run.to_pandas("nothing")


def test_autopsy_takes_a_log_history():
    log = [{"step": i, "loss": 0.69 if i < 5 else float("nan"), "learning_rate": 1e-5} for i in range(1, 12)]
    assert probe.autopsy(log).details["autopsy"]["main"] == "numerics"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, t: probe.bias(ROWS, m), "without its tokenizer"),
        (lambda m, t: probe.bias(ROWS, m, t, dtype="float16"), "a loaded model has its own"),
        (lambda m, t: probe.bias(["text"], m, t), "pair 1 is a str"),
        (lambda m, t: probe.trial(ROWS, m, t, options={"stepz": 1}), "no stepz"),
        (lambda m, t: probe.bias([{**ROWS[0], "chosen": {1}}], m, t), '"chosen" is an object'),
    ],
)
def test_bad_calls_are_told_in_a_line(given, call, says):
    with pytest.raises(ProbeError, match=says):
        call(*given)


IMPORTING = """
import sys, time
before, start = set(sys.modules), time.process_time()
import probe
seconds = time.process_time() - start
heavy = {"torch", "transformers", "scipy", "sklearn", "numpy", "rich", "typer", "jinja2"}
print(seconds, ",".join(sorted(heavy & (set(sys.modules) - before))))
"""


def test_importing_probe_is_quick_and_loads_nothing_heavy():
    """Seconds of the processor, the best of three: a busy machine makes them wait, and does not add any."""
    done = [
        subprocess.run([sys.executable, "-c", IMPORTING], check=True, capture_output=True, text=True).stdout
        for _ in range(3)
    ]
    seconds, loaded = zip(*(line.strip("\n").split(" ") for line in done), strict=True)
    assert set(loaded) == {""}
    assert min(map(float, seconds)) < 0.1


def test_a_saved_run_is_not_measured_again_by_arguments(bias_run, tmp_path):
    save_run(bias_run, tmp_path)
    for given in ({"model": "org/other"}, {"off": ("trial",)}, {"budget": "5s"}, {"max_length": 64}):
        with pytest.raises(ProbeError, match=f"{next(iter(given))}= does nothing"):
            probe.gate(tmp_path / "run.json", **given)


def test_a_process_is_as_it_was_after_a_call_on_a_named_model(given, tmp_path):
    import random
    import warnings

    import numpy as np
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    def state():
        loud = logging.get_verbosity(), hub.get_verbosity(), logging.is_progress_bar_enabled()
        drawn = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
        return loud, drawn, torch.get_num_threads(), [str(f) for f in warnings.filters]

    model, tokenizer = given
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    was = logging.get_verbosity()
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    before = state()
    try:
        probe.trial(ROWS, str(tmp_path / "model"), steps=2, samples=0)
        assert state() == before
    finally:
        logging.set_verbosity(was)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (None, "the pairs are a NoneType"),
        (3, "the pairs are a int"),
        (b"pairs.jsonl", "the pairs are a bytes"),
        ({"train": ROWS, "test": ROWS}, r"one dict \(train, test\)"),
        ({key: [row[key] for row in ROWS] for key in ROWS[0]}, r"one dict \(prompt, chosen, rejected\)"),
    ],
)
def test_what_is_no_list_of_rows_is_told_as_what_it_is(pairs, says):
    with pytest.raises(ProbeError, match=says):
        probe.data(pairs)


def test_a_table_of_pandas_is_told_how_its_rows_are_had():
    table = pytest.importorskip("pandas").DataFrame(ROWS)
    with pytest.raises(ProbeError, match="table of pandas"):
        probe.data(table)
    assert probe.data(table.to_dict("records")).inputs["pairs"]["n"] == len(ROWS)


def test_a_tokenizer_beside_a_named_model_is_refused(given, tmp_path):
    """It was not used, in silence."""
    for tokenizer in (given[1], "gpt2"):
        with pytest.raises(ProbeError, match="a named model has its own"):
            probe.bias(ROWS, str(tmp_path), tokenizer)
    with pytest.raises(ProbeError, match="a server's is given by its name"):
        probe.bias(ROWS, "http://127.0.0.1:9/v1", given[1])


def test_what_is_no_causal_language_model_is_refused(given):
    from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

    model, tokenizer = given
    sizes = {"vocab_size": 257, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    masked = BertForMaskedLM(BertConfig(**sizes, intermediate_size=32, initializer_range=0.5))
    t5 = T5Config(vocab_size=257, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    for other, says in (
        (masked, "depends on the tokens behind"),
        (T5ForConditionalGeneration(t5), "does not run"),
        (model.model, "does not run"),
        (torch.nn.DataParallel(model), "is a DataParallel"),
        (torch.nn.Linear(2, 2), "is a Linear"),
    ):
        with pytest.raises(ProbeError, match=says):
            probe.bias(ROWS, other, tokenizer)
    with pytest.raises(ProbeError, match="tokenizer: is a str"):
        probe.bias(ROWS, model, "gpt2")


def test_an_adapter_of_virtual_tokens_is_refused(given):
    """Its tokens were left out, and the numbers were those of the model without it."""
    from peft import PromptTuningConfig, get_peft_model

    tuned = get_peft_model(given[0], PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    with pytest.raises(ProbeError, match="adds virtual tokens"):
        probe.bias(ROWS, tuned, given[1])


@pytest.mark.parametrize("kind", ["of peft", "of transformers"])
def test_an_adapter_that_is_switched_off_is_not_named_and_not_trained(given, kind):
    from peft import LoraConfig, get_peft_model

    model, tokenizer = given
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    if kind == "of peft":
        model = get_peft_model(model, lora)
        model.base_model.disable_adapter_layers()
    else:
        model.add_adapter(lora, "x")
        model.disable_adapters()
    assert probe.bias(ROWS, model, tokenizer).inputs["model"]["adapter"] is None
    for call in (
        lambda: probe.trial(ROWS, model, tokenizer, steps=2),
        lambda: probe.negatives(ROWS, model, tokenizer, states=False, numerics=False, gradients=2),
    ):
        with pytest.raises(ProbeError, match="is switched off, and a training would go on with it"):
            call()


def test_a_merged_adapter_is_measured_and_not_trained(given):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(given[0], LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    apart = probe.bias(ROWS, model, given[1])
    model.merge_adapter()
    merged = probe.bias(ROWS, model, given[1])
    assert merged.estimate("gap").value == pytest.approx(apart.estimate("gap").value, abs=1e-5)
    with pytest.raises(ProbeError, match="is merged into the weights"):
        probe.trial(ROWS, model, given[1], steps=2)


def test_the_adapter_of_transformers_stays_on_the_model(given):
    """The gradients of `negatives` took it off with their own."""
    from peft import LoraConfig

    model, tokenizer = given
    model.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False), "x")
    before = state_of(model)
    for call, options in (("negatives", {"gradients": 2, "states": False}), ("trial", {"steps": 2})):
        getattr(probe, call)(ROWS, model, tokenizer, **options)
        after = state_of(model)
        assert all(same(before[part], after[part]) for part in before), call


def test_calls_from_several_threads_have_the_numbers_of_one_after_the_other(given):
    """They shared the model's attention, and scored with each other's or ended in a traceback."""
    from concurrent.futures import ThreadPoolExecutor

    def gap(alpha):
        run = probe.bias(ROWS, model, tokenizer, alpha=alpha, templates="none", corrected=False)
        return run.estimate("gap").value, run.config["alpha"]

    model, tokenizer = given
    asked = [0.01 * k for k in range(1, 9)]
    alone = [gap(alpha) for alpha in asked]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(gap, asked)) == alone


def test_nothing_is_measured_under_autocast(given):
    """Numbers of bfloat16 had been told as float32's."""
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ProbeError, match=r"autocast is on for cpu.*Call probe outside"):
            probe.bias(ROWS, *given)
        assert probe.data(ROWS).verdict  # reads text alone


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_model_is_measured_as_the_model_that_it_is(given, in_place):
    """What torch had compiled failed as soon as a trial added its adapter."""

    def backend(graph, inputs):
        raise AssertionError("compiled")

    model, tokenizer = given
    told = [run(ROWS, model, tokenizer) for run in (bias_of, trial_of)]
    compiled = model if in_place else torch.compile(model, backend=backend)
    if in_place:
        model.compile(backend=backend)
    assert [run(ROWS, compiled, tokenizer) for run in (bias_of, trial_of)] == told
    if in_place:
        with pytest.raises(Exception, match="compiled"):  # as it was: it still compiles
            model(torch.tensor([[1, 2]]))


def bias_of(*given):
    return probe.bias(*given, templates="none", corrected=False).estimate("gap").value


def trial_of(*given):
    return probe.trial(*given, steps=1, samples=0).estimate("trial_accuracy").value
