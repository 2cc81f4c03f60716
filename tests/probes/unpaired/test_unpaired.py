"""Unpaired answers: read, checked, told apart, scored, and made pairs of."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from typer.testing import CliRunner

from probe.__main__ import main
from probe.cli import app
from probe.commands.unpaired import unpaired
from probe.errors import ProbeError
from probe.gate.unpaired import judged_unpaired
from probe.pairs.read import read_pairs
from probe.pairs.unpaired import as_pair, is_unpaired, pair_of_answers, pairs_in, read_unpaired
from probe.probes.unpaired.model import _by_states
from probe.probes.unpaired.run import measure_unpaired
from probe.probes.unpaired.told import UnpairedOptions
from probe.records import Estimate, Run
from probe.reports.renderers import RENDERERS
from probe.scoring.session import ModelOptions
from probe.scoring.source import Source
from probe.stats.two_groups import group_difference
from probe.training.unpaired import mismatched

WORDS = ["tree", "stone", "river", "cloud", "lamp", "road", "bird", "door", "leaf", "boat", "wall", "seed"]


def answers(n=40, unwanted=lambda i: f"It is by the {WORDS[(i * 7 + 4) % 12]}."):
    for i in range(n):
        prompt = f"Where is the {WORDS[i % 12]} on day {i}?"
        yield {"prompt": prompt, "completion": f"It is by the {WORDS[(i * 7 + 1) % 12]}.", "label": True}
        yield {"prompt": prompt, "completion": unwanted(i), "label": False}


@pytest.fixture
def file(tmp_path):
    def write(rows):
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def measured(path, **options):
    return judged_unpaired(
        measure_unpaired(
            Source.of(path, None, None, False), ModelOptions(), UnpairedOptions(model=False, **options)
        )
    )


def test_rows_are_read_and_other_forms_refused_with_their_line(file):
    read = read_unpaired(file(answers(2))).rows
    assert [a.wanted for a in read] == [True, False, True, False] and read[3].line == 4
    assert is_unpaired(file(answers(1))) and not is_unpaired(file([{"prompt": "a", "chosen": "b"}]))
    for label in (-1, 2, "true", "yes", None, 0.5):
        with pytest.raises(ProbeError, match=rf'answers.jsonl:2: "label" is {label!r}\. Write true .*quotes'):
            read_unpaired(file([next(answers(1)), {"prompt": "a", "completion": "b", "label": label}]))
    with pytest.raises(ProbeError, match='"completion" is empty'):
        read_unpaired(file([{"prompt": "a", "completion": " ", "label": True}]))


def test_labels_are_what_a_trainer_takes_them_for(file, tmp_path):
    """In a table every cell is text, and its reader makes booleans or counts of a column of these."""
    rows = [
        {"prompt": f"p {i}", "completion": "c", "label": label}
        for i, label in enumerate((1, 0, True, 1.0, 0.0))
    ]
    assert [a.wanted for a in read_unpaired(file(rows)).rows] == [True, False, True, True, False]
    for wanted, unwanted in (
        ("True", "False"),
        ("true", "false"),
        ("TRUE", "FALSE"),
        ("1", "0"),
        ("1.0", "0.0"),
    ):
        table = tmp_path / "answers.csv"
        table.write_text(f"prompt,completion,label\np 1,c,{wanted}\np 2,d,{unwanted}\n")
        assert [a.wanted for a in read_unpaired(table).rows] == [True, False]
        trained = load_dataset("csv", data_files=str(table), cache_dir=str(tmp_path), split="train")["label"]
        assert [bool(label) for label in trained] == [True, False]
    table.write_text("prompt,completion,label\np 1,c,yes\n")
    with pytest.raises(ProbeError, match=r"""answers.csv:2: "label" is 'yes'\. Write true .* another\.$"""):
        read_unpaired(table)


def test_chat_answers_are_named_as_answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(
        json.dumps({"prompt": turn("user", "a"), "completion": turn("assistant", "b"), "label": 1})
    )
    with pytest.raises(ProbeError, match=r"unpaired .* `probe unpaired FILE --to PAIRS`"):
        list(read_pairs(path))


def test_commands_that_take_pairs_name_this_one(file):
    with pytest.raises(ProbeError, match="probe unpaired FILE --to PAIRS"):
        list(read_pairs(file(answers(2))))


def test_pairs_are_made_within_a_prompt_and_each_answer_once(file):
    rows = [
        {"prompt": p, "completion": c, "label": label}
        for p, c, label in (
            ("a", "1", True), ("a", "2", False), ("a", "3", True), ("b", "4", True), ("a", "5", False),
            ("c", "6", False), ("a", "7", False),
        )
    ]  # fmt: skip
    made = [(w.completion, u.completion) for w, u in pairs_in(read_unpaired(file(rows)).rows)]
    assert made == [("1", "2"), ("3", "5")]


def test_an_answer_with_both_labels_makes_no_pair_of_itself(file):
    """It had been written as chosen and rejected of one pair."""
    rows = [
        {"prompt": "a", "completion": c, "label": label}
        for c, label in (("1", True), ("1", False), ("2", True), ("3", False))
    ]
    made = [(w.completion, u.completion) for w, u in pairs_in(read_unpaired(file(rows)).rows)]
    assert made == [("2", "3")]


def test_the_written_pairs_are_a_pair_file(file, tmp_path):
    target = tmp_path / "pairs.jsonl"
    done = CliRunner().invoke(
        app,
        ["unpaired", str(file(answers())), "--no-model", "--to", str(target), "--out", str(tmp_path / "run")],
    )
    assert done.exit_code == 0, done.output
    pairs = list(read_pairs(target))
    assert len(pairs) == 40 and pairs[0].meta["lines"] == [1, 2]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["decision"]["method"] == "kto" and run["details"]["unpaired"]["pairs"] == 40
    assert "kto" in done.output


def test_sound_labels_are_for_kto_and_those_on_the_surface_are_not(file):
    sound = measured(file(answers()))
    assert sound.decision.method == "kto" and not sound.findings
    assert sound.verdict.status == "inconclusive"  # no model, so no signal was measured
    assert sound.estimate("surface_accuracy").value < 0.75
    shown = measured(file(answers(unwanted=lambda i: f"Sorry, day {i} is unknown to the support team.")))
    assert shown.decision.method == "fix-data" and shown.findings[0].code == "PB362"
    assert shown.estimate("surface_accuracy").value > 0.95


def test_one_label_and_contradictions(file):
    wanted = measured(file([row for row in answers() if row["label"]]))
    assert wanted.decision.method == "sft" and wanted.findings[0].code == "PB360"
    unwanted = measured(file([row for row in answers() if not row["label"]]))
    assert unwanted.decision.method == "fix-data"
    rows = [*answers()]
    both = measured(file([*rows, *({**row, "label": not row["label"]} for row in rows[:4])]))
    assert both.decision.method == "fix-data" and both.findings[0].code == "PB361"
    assert len(both.findings[0].lines) == 8


def test_few_answers_leave_it_open(file):
    few = measured(file(answers(5)))
    assert few.decision is None and few.estimate("surface_accuracy").value is None


def test_the_gap_is_that_of_the_scored_answers(file, tiny_model_dir):
    import probe

    path = file(answers(12))
    how = ModelOptions(str(tiny_model_dir), device="cpu", template="qa")
    gap = measure_unpaired(Source.of(path, None, None, False), how, UnpairedOptions()).estimate("gap")
    pairs = [
        {"prompt": w.prompt, "chosen": w.completion, "rejected": u.completion}
        for w, u in pairs_in(read_unpaired(path).rows)
    ]
    paired = probe.bias(pairs, str(tiny_model_dir), device="cpu", template="qa")
    # Every prompt has one answer of each label here, so that both are the same mean.
    assert gap.value == pytest.approx(paired.estimate("gap").value, abs=1e-6)
    assert gap.n == 24 and gap.low < gap.value < gap.high


def signal(low, high):
    return Estimate("signal_accuracy", (low + high) / 2, low, high, 80, None, "", "share")


@pytest.mark.parametrize(
    ("low", "high", "trial", "method", "status"),
    [
        (0.7, 0.9, (0.01, 0.2), "kto", "pass"),
        (0.4, 0.55, (0.01, 0.2), "do-not-train", "fail"),
        (0.5, 0.7, (0.01, 0.2), "kto", "inconclusive"),
        (0.7, 0.9, (-0.1, 0.2), "kto", "inconclusive"),
        (0.7, 0.9, (-0.2, -0.01), "do-not-train", "fail"),
        (0.7, 0.9, None, "kto", "inconclusive"),
    ],
)
def test_signal_and_trial_decide_whether_to_train(low, high, trial, method, status):
    surface = Estimate("surface_accuracy", 0.6, 0.5, 0.7, 80, None, "", "share")
    counts = {"unpaired": {"wanted": 40, "unwanted": 40, "pairs": 40}}
    change = (
        [Estimate("trial_gap_change", sum(trial) / 2, *trial, 40, None, "", "nats/token")] if trial else []
    )
    estimates = (surface, signal(low, high), *change)
    run = Run("unpaired", "2026-11-26T00:00:00Z", estimates=estimates, details=counts)
    found = judged_unpaired(run)
    assert (found.decision.method, found.verdict.status) == (method, status)
    assert found.verdict.exit_code == (status != "pass")
    for name, render in RENDERERS.items():
        told = method in render(found) or method.replace("-", " ") in render(found)
        assert told or name in ("junit", "github"), name


def test_limits_and_the_fewest_answers_of_a_gate_are_followed():
    surface = Estimate("surface_accuracy", 0.6, 0.5, 0.7, 80, None, "", "share")
    counts = {"unpaired": {"wanted": 40, "unwanted": 40, "pairs": 40}}
    trial = Estimate("trial_gap_change", 0.1, 0.05, 0.15, 80, None, "", "nats/token")
    run = Run(
        "unpaired", "2026-11-26T00:00:00Z", estimates=(surface, signal(0.7, 0.9), trial), details=counts
    )

    def status(**given):
        return judged_unpaired(run, **given).verdict.status

    assert status() == "pass" == status(limits={"signal_accuracy": False, "surface_accuracy": 0.75})
    assert status(limits={"surface_accuracy": 0.4}) == "fail"
    assert status(limits={"signal_accuracy": 0.8}) == status(minimum_n=81) == "inconclusive"


def test_states_that_hold_the_label_are_told_apart():
    rng = np.random.default_rng(0)
    wanted, keys = np.arange(80) % 2 == 0, np.arange(80) // 2
    states = rng.normal(size=(80, 12))
    assert abs(_by_states(states, wanted, keys, 0).mean() - 0.5) < 0.2
    states[:, 3] += 4.0 * wanted
    assert _by_states(states, wanted, keys, 0).mean() > 0.9


def test_the_gate_takes_such_a_file(file, tiny_model_dir, tmp_path, monkeypatch):
    path, out = file(answers(24)), tmp_path / "run"
    monkeypatch.chdir(tmp_path)

    def probe(*words):
        monkeypatch.setattr(sys, "argv", ["probe", "gate", *map(str, words)])
        return main()

    how = ("--model", tiny_model_dir, "--device", "cpu", "--no-cache", "--template", "qa")
    code = probe(path, *how, "--out", out)
    run = json.loads((out / "run.json").read_text())
    assert code == run["verdict"]["exit_code"]
    names = {c["name"] for c in run["verdict"]["conditions"]}
    assert names == {"labels", "surface_accuracy", "signal_accuracy", "trial_gap_change"}
    measured = {e["name"] for e in run["estimates"] if not e["name"].startswith("trial_")}
    assert measured == {"surface_accuracy", "gap", "signal_accuracy"}
    assert probe(out) == code
    for option in (
        ["--plan"],
        ["--no-numerics"],
        ["--goal", "fact"],
        ["--beta", "0.2"],
        ["--trial-pairs", "64"],
    ):
        assert probe(path, *option) == 2  # nothing is left out in silence
    assert (tmp_path / ".probe/last.json").exists()  # what `probe train --method auto` goes by


def test_group_difference_is_the_coefficient_of_a_dummy():
    """The value exactly; its jackknife error is a little above that of the sandwich, which is too small."""
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(3)
    marked, clusters = rng.random(80) < 0.4, rng.integers(0, 17, 80)
    values = rng.normal(size=80) + 0.7 * marked + 0.5 * clusters
    ours = group_difference(values, marked, clusters, name="d", units="nats")
    fit = sm.OLS(values, sm.add_constant(marked.astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    from scipy.stats import t

    fewest = min(len(set(clusters[marked])), len(set(clusters[~marked])))
    error = (ours.high - ours.low) / 2 / t.ppf(0.975, fewest - 1)
    assert ours.value == pytest.approx(fit.params[1]) and 1.0 < error / fit.bse[1] < 1.15


def test_empty_groups_give_no_interval():
    lone = group_difference([1.0, 2.0], [True, True], name="d", units="nats")
    assert lone.value is None and lone.low is None


def test_the_shared_example_is_read():
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "chat" / "unpaired.jsonl"
    if not path.exists():
        pytest.skip("the shared data is not here")
    read = read_unpaired(path).rows
    assert {a.wanted for a in read} == {True, False} and sum(1 for _ in pairs_in(read))


def test_a_trial_trains_on_one_half_and_leaves_the_model_alone(file, tiny_model_dir):
    """The change on unseen prompts is that of wanted minus that of unwanted answers; weights come back."""
    from probe.probes.unpaired.trial import trial_changes
    from probe.scoring.answers import AnswerReader

    given = read_unpaired(file(answers(24))).rows
    reader = AnswerReader.open(given, ModelOptions(str(tiny_model_dir), device="cpu", no_cache=True))
    before = {name: value.clone() for name, value in reader.loaded.model.state_dict().items()}
    found = {e.name: e for e in trial_changes(given, reader, UnpairedOptions(trial_steps=2))}
    assert found["trial_gap_change"].value == pytest.approx(
        found["trial_wanted_change"].value - found["trial_unwanted_change"].value
    )
    assert found["trial_gap_change"].n == 24 and found["trial_wanted_change"].value != 0
    after = reader.loaded.model.state_dict()
    assert before.keys() == after.keys() and all((before[name] == after[name]).all() for name in after)
    one = trial_changes(given[:2], reader, UnpairedOptions(trial_steps=2))
    assert one[0].value is None and "share one prompt" in one[0].method


def test_the_gate_makes_the_trial_unless_it_is_off(file, tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = file(answers(24))
    for flags, measured in (([], True), (["--no-trial"], False)):
        asked = ["gate", str(path), "--model", str(tiny_model_dir), "--device", "cpu", *flags]
        CliRunner().invoke(app, [*asked, "--out", str(tmp_path / f"run{measured}")])
        run = json.loads((tmp_path / f"run{measured}" / "run.json").read_text())
        (condition,) = (c for c in run["verdict"]["conditions"] if c["name"] == "trial_gap_change")
        assert (condition.get("measured") is not None) is measured


def test_a_pair_among_answers_is_told_without_a_flag_that_the_command_has_not(file):
    rows = [*answers(2), {"prompt": "a", "chosen": "b", "rejected": "c"}]
    with pytest.raises(ProbeError, match='no "completion"') as told:
        read_unpaired(file(rows))
    assert "--fields" not in str(told.value) and "per line, and no pairs" in str(told.value)


TOOLS = [{"type": "function", "function": {"name": "stock"}}]
KWARGS = {"enable_thinking": False}


def rows_read(tmp_path, rows):
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_unpaired(path).rows


def turn(role, text):
    return [{"role": role, "content": text}]


def test_what_the_template_is_given_names_the_prompt_and_is_written(tmp_path):
    asked = turn("user", "Weather?")
    options = [{}, {"tools": TOOLS}, {"chat_template_kwargs": KWARGS}, {"tools": json.dumps(TOOLS)}]
    rows = rows_read(tmp_path, [
        {"prompt": asked, "completion": turn("assistant", f"{i}"), "label": i == 1, **given}
        for i, given in enumerate(options)
    ])  # fmt: skip
    assert len({row.key for row in rows}) == 3
    assert [as_pair(row).meta for row in rows] == options
    (made,) = pairs_in(rows)
    assert {answer.line for answer in made} == {2, 4}
    assert pair_of_answers(*made)["tools"] == TOOLS


def test_answers_of_two_forms_make_no_pair(tmp_path):
    rows = rows_read(tmp_path, [
        {"prompt": "Why?", "completion": "So.", "label": True},
        {"prompt": turn("user", "Why?"), "completion": turn("assistant", "Who?"), "label": False},
        {"prompt": "Why?", "completion": "Eh.", "label": False},
    ])  # fmt: skip
    assert [(a.line, b.line) for a, b in pairs_in(rows)] == [(1, 3)]


@pytest.mark.parametrize("labels", [[1, 2, 3, 4, 5], [-1, 1], [1, 2], [0, 0.5, 1, 0.25]])
@pytest.mark.parametrize("table", [False, True])
def test_a_scale_is_no_label_also_where_bad_rows_may_be_left_out(tmp_path, labels, table):
    """Of ratings from 1 to 5 the rows rated 1 alone had been kept, as wanted ones."""
    rows = [{"prompt": f"q {i}", "completion": f"a {i}", "label": labels[i % len(labels)]} for i in range(10)]
    path = tmp_path / ("a.csv" if table else "a.jsonl")
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines if table else map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ProbeError, match=r"is a number of a scale .* a label says yes or no") as told:
        read_unpaired(path, skip_bad=True)
    if not table:  # the example parts the scale: some answers are wanted, others are not
        limit = float(str(told.value).split(" > ")[1].split(")")[0])
        assert {label > limit for label in labels} == {True, False}


def test_one_label_under_one_prompt_is_not_measured(file):
    rows = [{"prompt": f"p {i}", "completion": f"yes {i}", "label": True} for i in range(30)]
    rows += [{"prompt": "q", "completion": f"no {i}", "label": False} for i in range(25)]
    run = measure_unpaired(
        Source.of(file(rows), None, None, False), ModelOptions(), UnpairedOptions(model=False)
    )
    told = run.estimate("surface_accuracy")
    assert told.value is None and told.method == "not measured: all answers of a label are to one prompt"


def test_a_label_beyond_every_float_is_one_line(file):
    rows = [*answers(1), {"prompt": "a", "completion": "b", "label": 10**400}]
    with pytest.raises(ProbeError, match=r'"label" is 1000') as told:
        read_unpaired(file(rows))
    assert len(str(told.value)) < 400


def test_answers_without_a_prompt_share_none(file):
    """They had one key, and were made pairs of as answers to one prompt; KTO still has no other prompt."""
    rows = [
        {"completion": f"text {i % 13} of {'one' if i % 3 else 'two'}", "label": i % 2 == 0}
        for i in range(50)
    ]
    answers = read_unpaired(file(rows)).rows
    by_key = {}
    for answer in answers:
        by_key.setdefault(answer.key, set()).add(answer.completion)
    assert all(len(texts) == 1 for texts in by_key.values()) and len(by_key) > 20
    assert not list(pairs_in(answers))
    with pytest.raises(ProbeError, match="answers to several prompts"):
        mismatched(answers, 0)


def test_no_pairs_to_write_is_said_before_anything_is_measured(file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"completion": f"text {i}", "label": i % 2 == 0} for i in range(50)]
    monkeypatch.setattr("probe.gate.whole.answers_decided", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(ProbeError, match="no pairs to write"):
        unpaired(file(rows), to=tmp_path / "pairs.jsonl")
