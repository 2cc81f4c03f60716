"""Judging signal, authorship and trimming from numbers: no model."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from probe.cli import app
from probe.errors import ProbeError
from probe.pairs.record import Pair
from probe.probes.negatives.authorship import SideAuthorship, judge_authorship
from probe.probes.negatives.classify import Separation
from probe.probes.negatives.signal import Views, judge_signal, preference_share, separate_views
from probe.probes.negatives.trimming import export_trimmed, lines_to_drop
from probe.records import Run
from probe.reports import negatives_tables
from probe.reports.text import render

N = 80
PAIRS = [Pair(str(i), f"q{i}", "a", "b", line=i + 1) for i in range(N)]
CLUSTERS = np.arange(N)


def views(signal, shift=0.0, seed=0):
    """Two candidate layers of noise; `signal` is added to the second one's first coordinate of chosen."""
    rng = np.random.default_rng(seed)
    chosen, rejected = rng.normal(size=(2, N, 2, 6)).astype(np.float32)
    chosen[:, 1, 0] += signal
    return Views(chosen, rejected, rng.normal(shift, 1, N))


def silent():
    return Separation(np.zeros(N), CLUSTERS, np.full(19, 0.5))


def judged(given, alone):
    found = [(v, separate_views(v, CLUSTERS, permutations=99)) for v in (given, alone)]
    measured = judge_signal(PAIRS, *found, silent())
    return {f.code: f for f in measured.findings}, measured


def test_no_signal_is_said():
    codes, measured = judged(views(0.0), views(0.0))
    assert codes["PB240"].severity == "info"
    assert "guessing could reach too" in codes["PB240"].message
    assert measured.details["axis"]["position"] == pytest.approx(0.5, abs=0.15)
    assert "PB242" not in codes


def test_signal_in_one_layer_is_found_there():
    codes, measured = judged(views(2.5), views(0.0))
    signal = next(e for e in measured.estimates if e.name == "signal_accuracy")
    assert signal.low > 0.6
    assert "PB242" in codes  # told given the prompt and by nothing without it
    ratio = next(e for e in measured.estimates if e.name == "usable_information_ratio")
    assert ratio.value == pytest.approx(0)


def test_saturated_and_trivial_are_two_findings():
    codes, _ = judged(views(12.0), views(12.0))
    assert {"PB241", "PB204"} <= set(codes)
    assert "PB242" not in codes
    assert "PB204" not in judged(views(12.0), views(0.0))[0]


def test_prompt_free_preference():
    codes, _ = judged(views(0.0), views(0.0, shift=-2.0))
    share = re.search(r"finds the rejected side likelier in (\d+)%", codes["PB205"].message)
    assert share and int(share[1]) > 50


def test_preference_by_hand():
    """Three wins, one loss, one tie: 3.5 of 5. Four signed halves sum to 1 or more in 10 of 16 ways."""
    made = preference_share("ranking_accuracy", np.array([1.0, 2.0, 3.0, -1.0, 0.0]), np.arange(5), 0.05)
    assert made.value == pytest.approx(0.7)
    assert made.p == pytest.approx(10 / 16, abs=0.05)


def writing(excess, top=0.5):
    noise = np.random.default_rng(1).normal(0, 0.2, N)
    return SideAuthorship(noise - 2, noise + excess, np.full(N, top))


@pytest.mark.parametrize(
    ("chosen", "rejected", "codes"),
    [
        (0.0, 0.0, []),
        (-1.0, 0.0, ["PB221"]),
        (0.0, 0.8, ["PB222"]),
        (0.0, -1.0, ["PB223"]),
        (-1.0, -1.0, ["PB221", "PB223"]),
    ],
)
def test_authorship(chosen, rejected, codes):
    measured = judge_authorship(PAIRS, writing(chosen), writing(rejected), CLUSTERS)
    assert [f.code for f in measured.findings] == codes


def test_writers_in_words():
    measured = judge_authorship(PAIRS, writing(0.0), writing(1.5, top=0.97), CLUSTERS)
    lines = [row["writer"] for row in measured.details["authorship"]]
    assert lines[0].startswith("as probable as the model's own samples")
    assert lines[1].startswith("decoded greedily")


def test_sides_are_compared_with_what_the_model_wrote_to_the_same_prompts():
    """Of three prompts: chosen is likelier than the sample by 1 on average, rejected less likely by 1."""
    chosen, rejected = (SideAuthorship(np.full(N, mean), np.zeros(N), np.zeros(N)) for mean in (-1.0, -3.0))
    own = SideAuthorship(np.array([-1.0, -2.0, -3.0]), np.zeros(3), np.ones(3))
    measured = judge_authorship(PAIRS, chosen, rejected, CLUSTERS, own={"sample": own})
    found = {e.name: e for e in measured.estimates if e.group == "all"}
    assert (found["chosen_over_sample"].value, found["rejected_over_sample"].value) == (1.0, -1.0)
    assert found["chosen_over_sample"].n == 3
    assert [row["side"] for row in measured.details["authorship"]] == ["chosen", "rejected", "sample"]


def test_authorship_of_each_group():
    pairs = [
        Pair(p.id, p.prompt, p.chosen, p.rejected, "even" if i % 2 == 0 else "odd")
        for i, p in enumerate(PAIRS)
    ]
    excess = np.where(np.arange(N) % 2 == 0, -1.0, 1.0)
    mixed = SideAuthorship(np.zeros(N), excess, np.zeros(N))
    measured = judge_authorship(pairs, mixed, mixed, CLUSTERS)
    found = {e.group: e.value for e in measured.estimates if e.name == "chosen_excess"}
    assert found == {"all": 0.0, "even": -1.0, "odd": 1.0}


def test_the_report_tells_who_wrote_and_which_pairs_are_worst():
    """Sorted by the probe's log-odds; a score that a pair lacks is a dash."""
    scored = [
        {"id": f"p{i}", "line": i, "group": None, "signal": s} for i, s in ((1, 2.0), (2, -1.5), (3, 0.5))
    ]
    scored[0]["gap"] = 0.25
    authorship = judge_authorship(PAIRS, writing(0.0), writing(-1.0), CLUSTERS).details["authorship"]
    run = Run("negatives", "2026-01-01T00:00:00Z", details={"negatives": scored, "authorship": authorship})
    assert [row[1] for row in negatives_tables.pairs(run).rows] == ["p2", "p3", "p1"]
    text = render(run, width=100, everything=True)
    assert "rejected" in text
    assert "off-policy" in text
    assert "gets most wrong first" in text
    assert negatives_tables.authorship(replace(run, command="gate")).rows == ()


def test_gap_is_trimmed_at_both_ends_and_others_at_the_top():
    scores = {line: float(line) for line in range(1, 21)}
    assert list(lines_to_drop(scores, "gap", 0.05)) == [20, 1]
    assert list(lines_to_drop(scores, "ches", 0.10)) == [20, 19]


@pytest.mark.parametrize(
    ("scores", "by", "share"),
    [({1: 1.0}, "luck", 0.1), ({}, "ches", 0.1), ({1: 1.0}, "gap", 0.6), ({1: 1.0}, "ches", 0)],
)
def test_trimming_never_guesses(scores, by, share):
    with pytest.raises(ProbeError):
        lines_to_drop(scores, by, share)


def test_trimmed_file_and_its_log(tmp_path):
    source, target = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    rows = [{"prompt": str(i), "chosen": "a", "rejected": "b", "extra": i} for i in range(4)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = export_trimmed(source, target, {2: 0.5}, "ches")
    assert [json.loads(line) for line in target.open()] == [rows[0], rows[2], rows[3]]
    assert json.loads(log.read_text()) == {"line": 2, "trimmed_by": "ches", "ches": 0.5, "row": rows[1]}
    with pytest.raises(ProbeError, match="is the file itself"):
        export_trimmed(source, source, {2: 0.5}, "ches")


@pytest.mark.parametrize("command", ["negatives", "trial"])
@pytest.mark.parametrize("options", [("--trim", "1.5"), ("--trim", "0"), ("--trim-by", "nix")])
def test_what_cannot_be_trimmed_is_told_before_anything_is_measured(tmp_path, monkeypatch, command, options):
    def measured(*_, **__):
        raise AssertionError("measured")

    for place in ("probe.probes.negatives.run.measure_negatives", "probe.probes.trial.run.trial_run"):
        monkeypatch.setattr(place, measured)
    source = tmp_path / "pairs.jsonl"
    source.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    word = {"trial": "--by"}.get(command, options[0]) if options[0] == "--trim-by" else options[0]
    asked = [command, str(source), "--export-trimmed", str(tmp_path / "kept.jsonl"), word, options[1]]
    done = CliRunner().invoke(app, asked)
    assert isinstance(done.exception, ProbeError), done.exception
