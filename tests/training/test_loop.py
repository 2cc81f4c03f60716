"""The loop: gradients against the plain form, accumulation, resuming, failures that lose nothing."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from probe.errors import CannotMeasure, ProbeError
from probe.scoring.generate import answers
from probe.scoring.sampling import Draw
from probe.training.checkpoint import latest_checkpoint, save_checkpoint, trainable_weights
from probe.training.data import sides_of, split_by_prompt
from probe.training.evaluate import LIKELIEST_TOKENS, NEW_TOKENS, sampled_health
from probe.training.guard_records import GuardLimits
from probe.training.loop import Stage, interruptible
from probe.training.methods import METHODS
from probe.training.objective import losses_of, pair_logps
from probe.training.plan import Material, Options
from probe.training.policy import Policy, trainable_model
from probe.training.recipes import recipe

OPTIONS = Options(eval_every=4, log_every=1, sampled_prompts=0)


def stage(material, tmp_path, method="dpo", *, options=OPTIONS, full=False, seed=0, **values):
    loaded, items = material(seed)
    train, held_out = split_by_prompt(items, 0.25, 0)
    chosen = recipe(method, 10**6, full=full).with_values(
        {"learning_rate": 1e-2, "batch": 4, "epochs": 3, **values}
    )
    model = trainable_model(loaded.model, chosen)
    return Stage(replace(loaded, model=model), chosen, Material(train, held_out), options, tmp_path, cpu=True)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_equal_the_plain_form_in_double(material, method):
    """Shared prefixes, packed rows: loss and every gradient as one sequence at a time gives them.

    The model is float64; the engine's log-softmax is float32 whatever the model is, hence the tolerances.
    """
    loaded, items = material()
    # DPOP has a kink where policy = reference: away from it.
    items = [replace(item, reference=(item.reference[0] + 0.5, item.reference[1])) for item in items]
    constants = recipe(method, 10**6).constants
    loaded.model.double()

    def gradients(logps):
        loaded.model.zero_grad()
        losses = losses_of(pair_logps(logps, items, method), method, constants)
        losses.mean().backward()
        return losses.detach(), [p.grad.clone() for p in loaded.model.parameters()]

    policy = Policy(loaded.model)
    packed, ours = gradients(policy(sides_of(items)))
    plain, theirs = gradients([plain_logps_double(loaded.model, side) for side in sides_of(items)])
    torch.testing.assert_close(packed.double(), plain, atol=1e-5, rtol=1e-5)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def plain_logps_double(model, side):
    ids = torch.tensor([side.ids])
    table = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].double(), dim=-1)
    return table[side.start - 1 : -1].gather(-1, ids[0, side.start :, None])[:, 0]


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_micro_batches_do_not_change_a_step(material, tmp_path, method):
    """One forward for the batch, or one a pair: the same weights after an update."""
    weights = []
    for tokens in (10_000, 1):
        one = stage(material, tmp_path / str(tokens), method, options=replace(OPTIONS, micro_tokens=tokens))
        one.step(one.material.train[:8])
        weights.append(trainable_weights(one.accelerator.unwrap_model(one.policy)))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=1e-4)


def test_checkpointing_gives_the_same_update(material, tmp_path):
    """The layers run again in the backward pass, where tree attention must still be on."""
    results = []
    for checkpointing in (False, True):
        loaded, items = material()
        chosen = replace(recipe("dpo", 10**6), learning_rate=1e-2, batch=8)
        model = trainable_model(loaded.model, chosen, checkpointing=checkpointing)
        tuned = replace(loaded, model=model)
        one = Stage(tuned, chosen, Material(items, items), OPTIONS, tmp_path / str(checkpointing), cpu=True)
        one.step(items[:8])
        results.append(trainable_weights(one.accelerator.unwrap_model(one.policy)))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(material, tmp_path, method):
    """A tiny model, 18 pairs: the held-out loss falls, and the log is in trainer_state form."""
    result = stage(material, tmp_path, method).run()
    losses = [row["eval_loss"] for row in result.log_history if "eval_loss" in row]
    assert min(losses) < losses[0]
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert state["log_history"] == [*result.log_history]
    assert state["best_global_step"] == result.best_step
    rows = [row for row in state["log_history"] if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert all({"learning_rate", "grad_norm", "epoch"} <= row.keys() for row in rows)


@pytest.mark.parametrize("full", [False, True])
def test_dpo_starts_at_ln2(material, tmp_path, full):
    """Reference scores from the scorer, a fresh adapter: loss ln 2, margin and accuracy 0."""
    first = stage(material, tmp_path, full=full, options=replace(OPTIONS, steps=1)).run().log_history[1]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["rewards/margins"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("killed_after", [5, 9])
def test_resuming_is_bitwise_the_uninterrupted_run(material, tmp_path, method, killed_after):
    """Stopped after some step at random, resumed from the last checkpoint: equal weights, equal rows."""
    whole = stage(material, tmp_path / "whole", method)
    result = whole.run()
    killed = stage(material, tmp_path / "killed", method)
    taken = killed.step.__class__.__call__
    count = 0

    class Killed(BaseException):
        pass

    def step(self, items, texts=()):
        nonlocal count
        count += 1
        if count > killed_after:
            raise Killed
        return taken(self, items, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(killed.step.__class__, "__call__", step)
        with pytest.raises(Killed):
            killed.run()
    resumed = stage(material, tmp_path / "killed", method, options=replace(OPTIONS, resume=True))
    again = resumed.run()
    assert again.log_history == result.log_history
    assert again.best_step == result.best_step
    for name, value in trainable_weights(whole.accelerator.unwrap_model(whole.policy)).items():
        other = trainable_weights(resumed.accelerator.unwrap_model(resumed.policy))[name]
        assert torch.equal(value, other)


@pytest.mark.parametrize(("steps", "schedule"), [(1, "cosine"), (7, "cosine"), (6, "constant_with_warmup")])
def test_a_row_has_the_rate_of_its_update(material, tmp_path, steps, schedule):
    """That of the next one stood there: the last row of a run said 0, as the only row of one step did."""
    one = stage(material, tmp_path, schedule=schedule, warmup=0.3, options=replace(OPTIONS, steps=steps))
    used, update = [], one.optimizer.step
    one.optimizer.step = lambda: (used.append(one.optimizer.param_groups[0]["lr"]), update())
    told = [row["learning_rate"] for row in one.run().log_history if "loss" in row]
    assert told == used and used[-1] > 0


def test_resuming_another_run_is_refused(material, tmp_path):
    stage(material, tmp_path).run()
    with pytest.raises(ProbeError, match="other options"):
        stage(material, tmp_path, learning_rate=5e-3, options=replace(OPTIONS, resume=True)).run()


def test_a_nan_loses_nothing(material, tmp_path, capsys):
    """A reference of NaN makes step k's loss NaN: the step is not taken, the run stops and says so."""
    broken = stage(material, tmp_path, options=replace(OPTIONS, eval_every=100))
    taken = broken.step.__class__.__call__
    seen = []

    def step(self, items, texts=()):
        seen.append(1)
        if len(seen) == 6:
            items = [replace(items[0], reference=(math.nan, 0.0)), *items[1:]]
        return taken(self, items, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broken.step.__class__, "__call__", step)
        result = broken.run()
    assert result.stopped is not None and result.stopped.code == "PB801"
    assert result.steps == 5
    weights = trainable_weights(broken.accelerator.unwrap_model(broken.policy))
    assert all(value.isfinite().all() for value in weights.values())
    assert result.log_history[-1]["step"] == 5 and math.isfinite(result.log_history[-1]["eval_loss"])
    assert "PB801" in capsys.readouterr().err


def with_a_hole(material, place, *, hole=True, resume=False):
    """A stage without the guard that cannot learn from the batch of one pair in each of three epochs."""
    options = replace(OPTIONS, guard=False, eval_every=2, resume=resume)
    one = stage(material, place, options=options)
    if hole:
        one.material.train[3] = replace(one.material.train[3], reference=(math.nan, 0.0))
    return one


def test_a_step_that_is_not_taken_is_a_step(material, tmp_path):
    """Its batch is spent: with the guard off it was not counted, and evaluations and batches came twice."""
    whole, sound = (
        with_a_hole(material, tmp_path / "one"),
        with_a_hole(material, tmp_path / "two", hole=False),
    )
    found, plain = whole.run(), sound.run()
    assert found.steps == plain.steps == whole.total
    rows, others = ([row for row in run.log_history if "loss" in row] for run in (found, plain))
    assert sum(math.isnan(row["loss"]) for row in rows) == 3
    for key in ("step", "epoch", "learning_rate"):
        assert [row[key] for row in rows] == [row[key] for row in others]
    measured = [row["step"] for row in found.log_history if "eval_loss" in row]
    assert measured == [*range(0, whole.total, 2), whole.total] or measured == [*range(0, whole.total + 1, 2)]


def test_a_run_with_such_steps_goes_on_as_itself(material, tmp_path):
    whole = with_a_hole(material, tmp_path / "whole")
    whole.run()
    killed = with_a_hole(material, tmp_path / "killed")
    taken = killed.step.__class__.__call__
    seen = []

    def step(self, items, texts=()):
        seen.append(1)
        if len(seen) == 12:
            raise RuntimeError("killed")
        return taken(self, items, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(killed.step.__class__, "__call__", step)
        with pytest.raises(RuntimeError, match="killed"):
            killed.run()
    resumed = with_a_hole(material, tmp_path / "killed", resume=True)
    resumed.run()
    ends = [trainable_weights(one.accelerator.unwrap_model(one.policy)) for one in (whole, resumed)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_over_fitting_ends_with_the_best_weights(material, tmp_path):
    loaded, items = material()
    held_out = [replace(i, codes=replace(i.codes, chosen=i.codes.rejected)) for i in items[:6]]
    chosen = replace(recipe("sft", 10**6), learning_rate=2e-2, batch=6, epochs=20)
    model = trainable_model(loaded.model, chosen)
    options = replace(OPTIONS, eval_every=1, limits=GuardLimits(patience=3))
    tuned = replace(loaded, model=model)
    result = Stage(tuned, chosen, Material(items[6:], held_out), options, tmp_path, cpu=True).run()
    losses = {row["step"]: row["eval_loss"] for row in result.log_history if "eval_loss" in row}
    assert result.stopped is not None and result.stopped.code == "PB807"
    assert result.best_step == min(losses, key=losses.get) == result.steps - 3


def test_a_constant_that_a_loss_does_not_read_changes_no_rule(material, tmp_path):
    """A config file's smoothing is for cdpo and robust; it had taken what is known of DPO from the guard."""
    one = stage(material, tmp_path, smoothing=0.1, options=replace(OPTIONS, steps=1))
    one.material.train[:] = [replace(item, reference=(-90.0, -1.0)) for item in one.material.train]
    assert "PB810" in {event.code for event in one.run().events}


def test_without_the_guard_nothing_stops(material, tmp_path):
    options = replace(OPTIONS, guard=False, limits=GuardLimits(patience=1))
    result = stage(material, tmp_path, options=options, learning_rate=0.5).run()
    assert result.stopped is None and all(event.action == "warn" for event in result.events)


def test_float16_weights_are_refused_with_the_reason(loaded):
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(ProbeError, match="AdamW's eps"):
            trainable_model(loaded(dtype=dtype).model, recipe("dpo", 10**6, full=True))
        adapted = trainable_model(loaded(dtype=dtype).model, recipe("dpo", 10**6))
        assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}


@pytest.mark.parametrize("full", [True, False])
def test_bf16_mixed_precision_trains_float32_weights(material, tmp_path, full):
    run = stage(material, tmp_path, full=full, options=replace(OPTIONS, mixed_precision="bf16", steps=6))
    result = run.run()
    assert result.stopped is None
    assert {p.dtype for p in run.policy.parameters()} == {torch.float32}
    losses = [row["loss"] for row in result.log_history if "loss" in row]
    assert losses[0] == pytest.approx(math.log(2), abs=0.02) and losses[-1] < losses[0]


def test_sampled_text_is_watched(material, tmp_path):
    options = replace(OPTIONS, sampled_prompts=2, steps=2, eval_every=2)
    result = stage(material, tmp_path, options=options).run()
    rows = [row for row in result.log_history if "eval_loss" in row]
    assert all(0 < row["eval_top_mass"] <= 1 and 0 <= row["eval_repetition"] < 1 for row in rows)


def test_the_mass_of_sampled_text_is_that_of_its_own_distributions(material):
    """By one forward per prefix; logits that are not finite give no numbers, and stop nothing here."""
    loaded, _ = material()
    alone = SimpleNamespace(is_main_process=True, num_processes=1)
    prompts = [(1, 5, 6), (1, 7)]
    masses = []
    for i, prompt in enumerate(prompts):
        (text,) = answers(loaded, [Draw(prompt, 1.0, 3 + i)], tokens=NEW_TOKENS)
        ids = [*prompt, *text.ids]
        places = range(len(prompt), len(ids) + text.ended)
        with torch.no_grad():
            tops = [
                loaded.model(torch.tensor([ids[:k]])).logits[0, -1].softmax(-1).topk(LIKELIEST_TOKENS)
                for k in places
            ]
        masses.append(sum(float(top.values.sum()) for top in tops) / len(tops))
    found = sampled_health(loaded, alone, prompts, 3)
    assert found is not None and found[0] == pytest.approx(sum(masses) / 2, abs=1e-5)
    assert sampled_health(loaded, alone, [], 3) is None
    loaded.model.lm_head.weight.data.fill_(float("nan"))
    assert sampled_health(loaded, alone, prompts, 3) is None


def test_health_asks_for_no_more_logits_than_it_needs(material):
    """A vocabulary's logits at every place of a long prompt may not fit beside a training."""
    loaded, _ = material()
    sizes = []
    loaded.model.lm_head.register_forward_hook(lambda module, given, made: sizes.append(made[..., 0].numel()))
    alone = SimpleNamespace(is_main_process=True, num_processes=1)
    prompts = [(1, *[5] * 60), (1, *[6] * 40)]
    assert sampled_health(loaded, alone, prompts, 3) is not None
    assert max(sizes) <= NEW_TOKENS + 1 < len(prompts[1])


def test_replay_and_watched_texts(material, tmp_path):
    """Replayed texts stay likelier than without them, and the watched perplexity is in the log."""
    loaded, items = material()
    texts = [item.codes.rejected for item in items[:4]]
    ends = {}
    for share in (0.0, 0.5):
        loaded, items = material()
        chosen = replace(recipe("sft", 10**6), learning_rate=1e-2, batch=4, epochs=4)
        model = trainable_model(loaded.model, chosen)
        stuff = Material(items[6:], items[:6], texts if share else (), texts)
        options = replace(OPTIONS, replay_share=share or 0.25, limits=GuardLimits(patience=99))
        tuned = replace(loaded, model=model)
        result = Stage(tuned, chosen, stuff, options, tmp_path / str(share), cpu=True).run()
        seen = [row["eval_perplexity"] for row in result.log_history if "eval_perplexity" in row]
        ends[share] = seen[-1]
    assert ends[0.5] < ends[0.0]


SCRIPT = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, {here!r})
    from dataclasses import replace
    from pathlib import Path
    from tiny_training import make_pairs, tiny_llama, tiny_tokenizer
    import torch
    from probe.scoring.encode import make_encoder
    from probe.scoring.model import LoadedModel
    from probe.scoring.service import Scorer
    from probe.training.checkpoint import trainable_weights
    from probe.training.data import examples, split_by_prompt
    from probe.training.loop import Stage, interruptible
    from probe.training.plan import Material, Options
    from probe.training.policy import trainable_model
    from probe.training.recipes import recipe
    model = LoadedModel(tiny_llama(), tiny_tokenizer(), "tiny", torch.device("cpu"), torch.float32, {{}})
    pairs = make_pairs(26)
    encoder = make_encoder(model.tokenizer, pairs, "raw")
    items = examples(pairs, encoder, list(Scorer(model, encoder).scores(pairs)))
    train, held_out = split_by_prompt(items, 0.25, 0)
    chosen = recipe("{method}", 10**6).with_values({{"learning_rate": 1e-2, "batch": 5, "epochs": 2}})
    tuned = replace(model, model=trainable_model(model.model, chosen))
    options = Options(eval_every=3, log_every=1, sampled_prompts=2, resume={resume})
    stage = Stage(tuned, chosen, Material(train, held_out), options, Path({out!r}), cpu=True)
    {extra}
    try:
        result = stage.run()
    except KeyboardInterrupt:
        sys.exit(130)  # as the command does
    if stage.accelerator.is_main_process:
        torch.save((trainable_weights(stage.accelerator.unwrap_model(stage.policy)),
                    result.log_history, stage.accelerator.num_processes), {out!r} + "/result.pt")
    """
)


def script(out, method="dpo", extra="", resume=False):
    return SCRIPT.format(
        here=str(Path(__file__).parents[1] / "helpers"),
        method=method,
        out=str(out),
        extra=extra,
        resume=resume,
    )


def run_python(path, *launcher):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *launcher, str(path)], capture_output=True, text=True, timeout=240, env=environment
    )


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_two_processes_train_what_one_trains(tmp_path, method):
    """Two CPU processes; batches of 5 pairs, so that the shares are unequal.

    torchrun starts them: `accelerate launch` does the same for GPUs, and uses MPI for CPUs.
    """
    results = []
    for n in (1, 2):
        out = tmp_path / str(n)
        out.mkdir()
        (out / "train.py").write_text(script(out, method))
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n)]
        done = run_python(out / "train.py", *launcher)
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(torch.load(out / "result.pt"))
    (one, rows, alone), (two, other_rows, both) = results
    assert (alone, both) == (1, 2)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=2e-4, rtol=1e-3)
    assert len(rows) == len(other_rows)
    for a, b in zip(rows, other_rows, strict=True):
        assert a["step"] == b["step"]
        key = "loss" if "loss" in a else "eval_loss"
        assert a[key] == pytest.approx(b[key], abs=1e-3)


def test_of_two_processes_one_is_killed(tmp_path):
    """The launch ends with an error in time, and resuming it gives the run that went through."""
    killed = (
        "import os, signal\n"
        "taken = type(stage.step).__call__; n = [0]\n"
        "def step(self, *a):\n    n[0] += 1\n"
        "    n[0] == 5 and os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return taken(self, *a)\n"
        "type(stage.step).__call__ = step"
    )
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for out, more in ((whole, ""), (cut, killed)):
        out.mkdir()
        (out / "train.py").write_text(script(out, extra=more))
    assert run_python(whole / "train.py", *two).returncode == 0
    done = run_python(cut / "train.py", *two)
    assert done.returncode == 1 and "Signal 9" in done.stderr and not (cut / "result.pt").exists()
    (cut / "train.py").write_text(script(cut, resume=True))
    assert run_python(cut / "train.py", *two).returncode == 0
    (one, rows, _), (other, other_rows, _) = (torch.load(out / "result.pt") for out in (whole, cut))
    assert rows == other_rows
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def cut_short(tmp_path, extra):
    """A whole run, and one that `extra` cuts short: both places, and how the second ended."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for out, more in ((whole, ""), (cut, extra)):
        out.mkdir()
        (out / "train.py").write_text(script(out, extra=more))
    assert run_python(whole / "train.py").returncode == 0
    return whole, cut, run_python(cut / "train.py")


def assert_resumes_alike(whole, cut):
    """Resuming `cut` gives the rows and, bit for bit, the weights of `whole`."""
    (cut / "train.py").write_text(script(cut, resume=True))
    assert run_python(cut / "train.py").returncode == 0
    (one, rows, _), (two, other_rows, _) = (torch.load(out / "result.pt") for out in (whole, cut))
    assert rows == other_rows
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_ctrl_c_ends_the_step_and_keeps_it(tmp_path):
    """SIGINT in the middle of a step: the step ends, a checkpoint is written, resuming gives the same run."""
    at_step_4 = (
        # Whoever runs the tests may have had SIGINT ignored for them and all their children.
        "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "taken = type(stage.step).__call__; n = [0]\n"
        "def step(self, *a):\n    n[0] += 1\n    n[0] == 4 and os.kill(os.getpid(), signal.SIGINT)\n"
        "    return taken(self, *a)\n"
        "type(stage.step).__call__ = step"
    )
    whole, cut, done = cut_short(tmp_path, at_step_4)
    assert done.returncode == 130, done.stderr[-2000:]
    assert latest_checkpoint(cut).name == "checkpoint-4"
    assert_resumes_alike(whole, cut)


@pytest.mark.parametrize(("step", "after"), [(3, 0.02), (5, 0.0)])
def test_kill_9_loses_no_more_than_the_steps_since_a_checkpoint(tmp_path, step, after):
    """SIGKILL, once about where a checkpoint is written, once at a step: resuming gives the same weights."""
    killed = (
        "import os, signal, threading\n"
        "taken = type(stage.step).__call__; n = [0]\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"def step(self, *a):\n    n[0] += 1\n    n[0] == {step} and threading.Timer({after}, kill).start()\n"
        "    return taken(self, *a)\n"
        "type(stage.step).__call__ = step"
    )
    whole, cut, done = cut_short(tmp_path, killed)
    assert done.returncode == -signal.SIGKILL
    assert not (cut / "result.pt").exists()
    assert_resumes_alike(whole, cut)


class WritesALine:
    """An accelerator whose state is one file."""

    is_main_process = True

    def __init__(self, line):
        self.line = line

    def wait_for_everyone(self):
        pass

    def save_state(self, place):
        (Path(place) / "state").write_text(self.line)


@pytest.mark.parametrize("killed_at", range(4))
def test_a_checkpoint_that_is_written_again_is_whole_at_every_moment(tmp_path, monkeypatch, killed_at):
    """A kill in the n-th deletion, when one file is gone: the checkpoint is the old or the new one."""
    save_checkpoint(WritesALine("old"), tmp_path, 4, {})
    delete, calls = shutil.rmtree, []

    def rmtree(path, ignore_errors=False):
        calls.append(path)
        if len(calls) == killed_at + 1:
            (Path(path) / "state").unlink(missing_ok=True)
            raise KeyboardInterrupt
        delete(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with contextlib.suppress(KeyboardInterrupt):
        save_checkpoint(WritesALine("new"), tmp_path, 4, {})
    assert (latest_checkpoint(tmp_path) / "state").read_text() in ("old", "new")
    monkeypatch.undo()
    save_checkpoint(WritesALine("last"), tmp_path, 4, {})
    assert (latest_checkpoint(tmp_path) / "state").read_text() == "last"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


def test_an_ignored_ctrl_c_stays_ignored():
    """What `nohup` and `&` in a script ask for; else the first one is remembered, the second interrupts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert not asked.is_set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with interruptible() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert asked.is_set()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_full_disk_is_told_and_the_last_checkpoint_stands(tmp_path):
    """No file may grow beyond 4 KiB from step 3 on: the write fails as on a full disk."""
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "taken = type(stage.step).__call__\n"
        "def step(self, *a):\n    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "    return taken(self, *a)\n"
        "type(stage.step).__call__ = step"
    )
    (tmp_path / "train.py").write_text(script(tmp_path, extra=limit))
    done = run_python(tmp_path / "train.py")
    assert done.returncode == 1
    assert "CannotMeasure" in done.stderr and "checkpoint-0 stands" in done.stderr
    assert latest_checkpoint(tmp_path).name == "checkpoint-0"
    assert not list(tmp_path.glob(".checkpoint-*"))
    (tmp_path / "train.py").write_text(script(tmp_path, resume=True))
    assert run_python(tmp_path / "train.py").returncode == 0


def test_an_unwritable_place_is_told(material, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotMeasure, match="file"):
        stage(material, tmp_path / "file" / "below").run()
