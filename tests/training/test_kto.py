"""KTO: its loss against TRL's own code, its batches against one at a time, and `probe train` on answers."""

import json
import math
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from probe.cli import app
from probe.errors import ProbeError
from probe.gate import auto
from probe.pairs.unpaired import UnpairedAnswer, read_unpaired
from probe.probes.trial.options import TrialOptions
from probe.records import Condition, Decision, Reason, Verdict, run_from_json
from probe.scoring.answers import AnswerReader
from probe.scoring.encode import make_encoder
from probe.scoring.service import Scorer
from probe.training.checkpoint import trainable_weights
from probe.training.kto import kto, reference_point
from probe.training.methods import LossConstants, stages_of
from probe.training.plan import Material, Options
from probe.training.policy import trainable_model
from probe.training.recipes import recipe
from probe.training.run import TrainOptions, recipes_for
from probe.training.stages import train_stages
from probe.training.unpaired import balanced, mismatched, split_answers
from probe.training.unpaired_run import unpaired_changes
from probe.training.unpaired_stage import UnpairedStage

OPTIONS = Options(eval_every=4, log_every=1, sampled_prompts=0)
LABELS = torch.tensor([True, False, False, True, False, True])


def token_logps(seed):
    """Per-token log-probs [6 answers, 7] that end after 3 to 7 tokens."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([5, 3, 7, 4, 6, 5])
    return -torch.rand(6, 7, generator=rng).exp() * (torch.arange(7) < lengths[:, None])


def trl_loss(policy, mismatch, constants, labels):
    """`KTOTrainer._compute_loss`; `token_logps(2)` and `(4)` are the reference of both."""
    from accelerate import Accelerator
    from trl import KTOTrainer

    zeros = torch.zeros_like(policy)

    class Model(torch.nn.Module):
        def forward(self, *, input_ids, **_):
            given = mismatch if input_ids[0, 0] else policy
            return SimpleNamespace(log_probs=given, entropy=zeros, mean_logits=zeros, aux_loss=None)

    trainer = KTOTrainer.__new__(KTOTrainer)
    trainer.model, trainer.accelerator = Model(), Accelerator(cpu=True)
    trainer._metrics = {mode: defaultdict(list) for mode in ("train", "eval")}
    vars(trainer).update(
        aux_loss_enabled=False, precompute_ref_logps=True, calculate_KL=True, loss_type="kto",
        beta=constants.beta, desirable_weight=constants.desirable_weight,
        undesirable_weight=constants.undesirable_weight, _total_train_tokens=0, _tp_size=1,
    )  # fmt: skip
    ids, mask = torch.zeros(6, 8, dtype=torch.long), torch.ones(6, 8, dtype=torch.long)
    inputs = {
        "input_ids": ids, "attention_mask": mask, "completion_mask": mask, "KL_input_ids": ids + 1,
        "KL_attention_mask": mask, "KL_completion_mask": mask, "label": labels,
        "ref_logps": token_logps(2).sum(1), "ref_KL_logps": token_logps(4).sum(1),
    }  # fmt: skip
    return trainer._compute_loss(trainer.model, inputs, return_outputs=False), trainer._metrics["train"]


@pytest.mark.oracle
@pytest.mark.parametrize("shift", [-9.0, 0.4])  # a reference point that is clamped to 0, and one that is not
@pytest.mark.parametrize(
    "labels", [LABELS, torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)]
)
def test_loss_and_gradient_equal_trl(shift, labels):
    pytest.importorskip("trl")
    constants = LossConstants(beta=0.2, desirable_weight=1.3, undesirable_weight=0.8)
    found = []
    for ours in (True, False):
        policy, mismatch = token_logps(1).requires_grad_(), (token_logps(3) + shift).requires_grad_()
        if ours:
            point = reference_point(mismatch.sum(1) - token_logps(4).sum(1))
            loss = kto(policy.sum(1) - token_logps(2).sum(1), labels, point, constants).mean()
        else:
            loss, metrics = trl_loss(policy, mismatch, constants, labels)
            assert metrics["kl"] == [pytest.approx(float(point))] and (float(point) > 0) == (shift > 0)
        loss.backward()
        assert mismatch.grad is None
        found.append((float(loss.detach()), policy.grad))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-7, rtol=1e-5)


def test_by_hand_and_far_out():
    """β(r − z) = 1: 1 − σ(1) = .268941 where wanted, σ(1) = .731059 where not; λ multiplies."""
    constants = LossConstants(beta=0.5, desirable_weight=2.0)
    two = kto(torch.tensor([3.0, 3.0]), torch.tensor([True, False]), 1.0, constants)
    assert two.tolist() == pytest.approx([2 * 0.268941, 0.731059], abs=1e-6)
    far = torch.tensor([-1e30, -1e4, 0.0, 1e4, 1e30], requires_grad=True)
    for wanted in (True, False):
        losses = kto(far, torch.full((5,), wanted), 0.0, LossConstants())
        losses.sum().backward()
        assert losses.isfinite().all() and far.grad.isfinite().all()


def answers(n=24):
    """Over n prompts a wanted answer "good …" and an unwanted "bad …"; every third has one label."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "red", "blue"]
    made = []
    for i in range(n):
        for wanted in (True, False):
            if i % 3 == 0 and wanted is bool(i % 2):
                continue
            prompt = f"what {words[i % 9]} {words[(i // 9 + 3 * i) % 9]} ?"
            text = f" {'good' if wanted else 'bad'} {words[(i + 2 * wanted) % 9]} ."
            made.append(UnpairedAnswer(f"a{len(made)}", prompt, text, wanted, line=len(made) + 1))
    return made


@pytest.fixture
def reader(loaded):
    from probe.pairs.unpaired import as_pair

    def make(seed=0):
        model = loaded(seed)
        encoder = make_encoder(model.tokenizer, [as_pair(a) for a in answers()], "raw")
        return AnswerReader(model, encoder, Scorer(model, encoder))

    return make


def test_a_mismatched_answer_is_another_prompts_and_the_draw_is_the_seeds():
    given = answers()
    others = mismatched(given, 0)
    assert all(a.key != b.key for a, b in zip(given, others, strict=True))
    assert others == mismatched(given, 0) != mismatched(given, 1)
    assert len({b.line for b in others}) > 0.8 * len(given)
    with pytest.raises(ProbeError, match="several prompts"):
        mismatched([replace(a, prompt="one") for a in given], 0)


def stage(reader, tmp_path, tokens=1024, **values):
    opened = reader()
    items, held_out = split_answers(answers(), opened, 0.25, 0)
    chosen = recipe("kto", 10**6).with_values({"learning_rate": 1e-2, "batch": 8, "epochs": 6, **values})
    tuned = replace(opened.loaded, model=trainable_model(opened.loaded.model, chosen))
    options = replace(OPTIONS, micro_tokens=tokens)
    return UnpairedStage(tuned, chosen, Material(items, held_out), options, tmp_path, cpu=True)


def test_a_step_is_the_plain_loss_of_the_batch_however_it_is_cut(reader, tmp_path):
    """z₀ is that of the whole batch: one forward, or one an answer, give the gradients of the plain form."""
    found = []
    for tokens in (10_000, 1):
        one = stage(reader, tmp_path / str(tokens), tokens)
        one.step(one.material.train[:8])  # the adapter's B is 0 before it, and with it z₀
        one.optimizer.zero_grad()
        sums = one.step.gradients(one.material.train[8:16])
        model = one.accelerator.unwrap_model(one.policy)
        found.append((sums, [p.grad.clone() for p in model.parameters() if p.requires_grad]))
    batch, policy = one.material.train[8:16], model
    one.optimizer.zero_grad()
    matched, other = (
        torch.stack([v.sum() for v in policy([getattr(i.codes, side) for i in batch])])
        for side in ("chosen", "rejected")
    )
    known = torch.tensor([i.reference for i in batch])
    point = reference_point(other - known[:, 1])
    loss = kto(
        matched - known[:, 0], torch.tensor([i.wanted for i in batch]), point, one.recipe.constants
    ).mean()
    loss.backward()
    plain = [p.grad for p in policy.parameters() if p.requires_grad]
    for sums, gradients in found:
        assert sums.loss / sums.weight == pytest.approx(float(loss.detach()), abs=1e-5)
        assert sums.kl / sums.weight == pytest.approx(float(point), abs=1e-5)
        assert (sums.pairs, sums.unwanted) == (sum(i.wanted for i in batch), sum(not i.wanted for i in batch))
        for a, b in zip(gradients, plain, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_kto_learns_and_its_log_is_read_as_kto(reader, tmp_path):
    """The loss starts at ½ (policy = reference, z₀ = 0), falls on unseen prompts; autopsy names KTO."""
    from probe.probes.autopsy.method import recognise
    from probe.probes.autopsy.read import read_log

    done = stage(reader, tmp_path).run()
    first = next(row for row in done.log_history if "loss" in row)
    assert first["loss"] == pytest.approx(0.5, abs=1e-5) and first["kl"] == pytest.approx(0.0, abs=1e-5)
    evaluated = [row for row in done.log_history if "eval_loss" in row]
    assert min(row["eval_loss"] for row in evaluated) < evaluated[0]["eval_loss"] - 0.01
    assert evaluated[-1]["eval_rewards/margins"] > 0
    assert recognise(read_log(tmp_path / "trainer_state.json")).name == "KTO"


def test_resuming_is_bitwise_the_uninterrupted_run(reader, tmp_path):
    whole = stage(reader, tmp_path / "whole")
    whole.run()
    cut = stage(reader, tmp_path / "cut")
    cut._steps = lambda *_: (_ for _ in ()).throw(
        KeyboardInterrupt
    )  # after the first evaluation's checkpoint
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    again = stage(reader, tmp_path / "cut")
    again.options = replace(again.options, resume=True)
    again.run()
    mine, other = (trainable_weights(s.accelerator.unwrap_model(s.policy)) for s in (whole, again))
    assert all(torch.equal(value, other[name]) for name, value in mine.items())


def test_sft_takes_the_wanted_answers_and_kto_goes_on_from_it(reader, tmp_path):
    opened = reader()
    items, held_out = split_answers(answers(), opened, 0.25, 0)
    made = [
        recipe(m, 10**6).with_values({"learning_rate": 1e-2, "batch": 8, "epochs": 2}) for m in ("sft", "kto")
    ]
    done = train_stages(opened.loaded, made, Material(items, held_out), OPTIONS, tmp_path)
    first, second = done.results
    assert first.steps == 2 * math.ceil(sum(i.wanted for i in items) / 8)
    assert second.steps == 2 * math.ceil(len(items) / 8)
    # Beside each answer stands another prompt's for KTO's reference point; none of them was rejected.
    for result, sides in (
        (first, {"eval_logps/chosen"}),
        (second, {"eval_logps/chosen", "eval_logps/rejected"}),
    ):
        rows = [row for row in result.log_history if "eval_loss" in row]
        assert all({key for key in row if "eval_logps" in key} == sides for row in rows)
    assert next(r for r in second.log_history if "loss" in r)["loss"] == pytest.approx(0.5, abs=1e-5)


def test_weights_of_the_rarer_label_and_methods_of_each_kind_of_data():
    item = SimpleNamespace
    few = balanced([item(wanted=True)] * 2 + [item(wanted=False)] * 8)
    assert (few.desirable_weight, few.undesirable_weight) == (4.0, 1.0)
    assert balanced([item(wanted=True)] * 3) == LossConstants()
    assert stages_of("sft+kto", unpaired=True) == ("sft", "kto")
    with pytest.raises(ProbeError, match=r"dpo compares two sides.*probe unpaired FILE --to PAIRS"):
        stages_of("dpo", unpaired=True)
    with pytest.raises(ProbeError, match="kto takes answers with a label each"):
        TrialOptions("kto")


@pytest.mark.parametrize("wanted", [7, 16, 40])
def test_epochs_are_those_of_the_rows_that_a_stage_takes(wanted):
    """Of 40 answers SFT trains on the wanted ones, and its epochs had been those of all."""
    options = TrainOptions("sft+kto", changes={"batch": 4}, loop=Options(steps=10))
    made = recipes_for(options, 10**8, 40, wanted=wanted)
    assert [one.epochs for one in made] == [round(10 / math.ceil(wanted / 4), 3), 1.0]
    few, all_of_them = (recipes_for(TrainOptions("sft"), 10**8, 40, wanted=n)[0] for n in (wanted, 40))
    assert few == recipe("sft", 10**8, n=wanted) and all_of_them == recipe("sft", 10**8, n=40)


def test_changes_by_hand():
    """Two wanted answers of 2 tokens gain 1 and 3 nats, two unwanted ones lose 1 each: +1 and −½ a token."""
    item = SimpleNamespace
    made = [item(tokens=(2, 2), reference=(-4.0, 0.0), wanted=i < 2, prompt=f"p{i}") for i in range(4)]
    estimates, rows = unpaired_changes(made, [-3.0, -1.0, -5.0, -5.0], 0.05)
    assert [e.value for e in estimates] == pytest.approx([1.5, 1.0, -0.5])
    assert [(r["name"], r["before"], r["after"]) for r in rows] == [
        ("gap", 0.0, pytest.approx(1.5)), ("wanted logps", -2.0, -1.0), ("unwanted logps", -2.0, -2.5),
    ]  # fmt: skip


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of 20 answers in an empty directory, where the test runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "answers.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": a.prompt, "completion": a.completion.strip(), "label": a.wanted}) + "\n"
            for a in answers(12)
        )
    )
    return path


def test_the_command_trains_answers_and_says_what_it_cannot(file, tmp_path, tiny_model_dir):
    assert len(read_unpaired(file).rows) == 20
    base = ["train", str(file), "--model", str(tiny_model_dir), "--device", "cpu", "--template", "qa"]
    done = CliRunner().invoke(
        app, [*base, "--method", "kto", "--steps", "3", "--held-out", "0.3", "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    run = run_from_json(json.loads((tmp_path / "run" / "run.json").read_text()))
    assert run.decision.method == "kto" and run.decision.hyperparameters["desirable_weight"] >= 1
    assert [e.name for e in run.estimates] == ["gap_change", "wanted_logps_change", "unwanted_logps_change"]
    assert (tmp_path / "run" / "adapter" / "adapter_config.json").exists()
    refused = CliRunner().invoke(app, [*base, "--method", "dpo"])
    assert isinstance(refused.exception, ProbeError) and "compares two sides" in str(refused.exception)


def run_in(place):
    return run_from_json(json.loads((place / "run.json").read_text()))


def test_a_trial_of_answers_is_one_of_kto(file, tmp_path, tiny_model_dir):
    base = ["trial", str(file), "--model", str(tiny_model_dir), "--device", "cpu", "--template", "qa"]
    done = CliRunner().invoke(app, [*base, "--steps", "2", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    run = run_in(tmp_path / "run")
    assert run.estimate("trial_gap_change").value is not None and not run.verdict.conditions
    for flags, said in (
        (["--method", "sft"], "trains on by kto, and --method is sft"),
        (["--batch", "4"], "--batch does nothing"),
    ):
        refused = CliRunner().invoke(app, [*base, *flags])
        assert isinstance(refused.exception, ProbeError) and said in str(refused.exception)


def test_auto_trains_answers_as_their_gate_decides(file, tmp_path, tiny_model_dir, monkeypatch):
    """Refused where a condition is open; else trained as decided, and once more from the noted gate."""
    real, verdict, why = auto.gate_answers, Verdict("pass", 0), Reason("PB362", "both labels", "measured")

    def gated(*given, **named):
        return replace(real(*given, **named), decision=Decision("kto", ("kto",), {}, (why,)), verdict=verdict)

    monkeypatch.setattr(auto, "gate_answers", gated)
    how = ["--model", str(tiny_model_dir), "--device", "cpu", "--template", "qa", "--method", "auto"]
    short = ["--steps", "2", "--held-out", "0.3"]
    left_open = Condition("signal_accuracy", "all", None, 0.6, "inconclusive", "PB240", "not measured")
    verdict = Verdict("inconclusive", 1, (left_open,))
    refused = CliRunner().invoke(app, ["train", str(file), *how, *short, "--out", str(tmp_path / "no")])
    assert not (tmp_path / "no").exists()
    assert "not trained: the decision is kto; open: signal_accuracy" in refused.output
    (tmp_path / ".probe" / "last.json").unlink()
    verdict = Verdict("pass", 0)
    done = CliRunner().invoke(app, ["train", str(file), *how, *short, "--out", str(tmp_path / "one")])
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(auto, "gate_answers", lambda *_, **__: pytest.fail("gated again"))
    again = CliRunner().invoke(app, ["train", *how, *short, "--out", str(tmp_path / "two")])
    assert again.exit_code == 0, again.output
    for place in ("one", "two"):
        decided = run_in(tmp_path / place).decision
        assert (decided.method, decided.reasons) == ("kto", (why,))
        assert decided.hyperparameters["learning_rate"]
        assert (tmp_path / place / "adapter" / "adapter_config.json").exists()
