"""What is settled before a gate measures: the time that is left of the time allowed, and what is told."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from served_model import Served, running

from probe.errors import ProbeError
from probe.gate import beforehand
from probe.gate.beforehand import Prepared, check_asked, planned, prepared
from probe.probes.gated import GateRequest
from probe.records import Finding
from probe.runs import load_run
from probe.scoring import session
from probe.scoring.session import ModelOptions, Source

REQUEST = GateRequest(Source.of(Path("p.jsonl"), None, None, False), ModelOptions())
CUT = replace(REQUEST, trial_pairs=8)
OPENED = SimpleNamespace(survey=SimpleNamespace(n=40))
SHORT, LARGE = (Finding(code, "info", code, "do") for code in ("PB611", "PB010"))


@pytest.fixture
def asked(monkeypatch):
    """Loading takes 7 s and the warm-up 5 s; what `within` and `fitting` are given is kept."""
    seen = SimpleNamespace(allowed=None, memory=None, short=SHORT, large=LARGE)
    took = iter((7.0, 5.0))

    def within(allowed, request, spent, n):
        seen.allowed = allowed
        return CUT, seen.short

    def fitting(memory):
        seen.memory = memory
        return "fits"

    monkeypatch.setattr(session.Session, "open", lambda *_, served: OPENED if served else 1 / 0)
    monkeypatch.setattr(beforehand, "clocked", lambda work: (work(), next(took)))
    monkeypatch.setattr(beforehand, "expected", lambda _: (lambda request: {"of": request}, fitting))
    monkeypatch.setattr(beforehand, "within", within)
    monkeypatch.setattr(beforehand, "too_large", lambda fits, full: seen.large)
    return seen


def test_nothing_is_loaded_where_nothing_is_asked(asked):
    assert prepared(REQUEST, None, None) == Prepared(REQUEST)


def test_a_plan_under_a_budget_is_of_what_would_be_run(asked, monkeypatch):
    """It had been that of the whole gate, whatever the time allowed."""
    monkeypatch.setattr(beforehand, "bill", lambda _, cut, memory, known: ([cut.trial_pairs, memory], LARGE))
    assert planned(REQUEST, "1m", "2GiB") == (CUT, [8, "2GiB"], (SHORT, LARGE))
    assert asked.allowed == 48


def test_a_plan_without_one_is_of_the_whole_gate(asked, monkeypatch):
    monkeypatch.setattr(beforehand, "bill", lambda *_: (["lines"], None))
    assert planned(REQUEST, None, None) == (REQUEST, ["lines"], ())


@pytest.mark.parametrize(
    ("budget", "memory", "request_", "codes"),
    [
        ("1m", None, CUT, [SHORT]),
        (None, "2GiB", REQUEST, [LARGE]),
        ("1m", "2GiB", CUT, [SHORT, LARGE]),
    ],
)
def test_what_is_asked_is_answered_with_what_is_left_of_the_time(asked, budget, memory, request_, codes):
    found = prepared(REQUEST, budget, memory)
    assert found == Prepared(request_, OPENED, {"of": request_}, tuple(codes))
    assert asked.allowed == (60 - 7 - 5 if budget else None)
    assert asked.memory == (2 * 2**30 if memory else None)


def test_what_fits_is_no_finding(asked):
    asked.short = asked.large = None
    assert prepared(REQUEST, "1m", "2GiB").findings == ()


@pytest.mark.parametrize(
    ("budget", "memory", "told"), [("soon", None, "is not a time"), (None, "big", "is not a size")]
)
def test_what_is_no_time_or_size_is_told_before_anything_is_loaded(budget, memory, told):
    check_asked("5m", "24GiB")
    with pytest.raises(ProbeError, match=told):
        check_asked(budget, memory)


# --- behind a server --------------------------------------------------------------------------------------

ROWS = [
    {"prompt": f"Q{i}?", "chosen": f"Yes {i * 3 % 7}.", "rejected": f"No {i * 5 % 9}!"} for i in range(40)
]


@pytest.fixture
def server(tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with running(Served(tiny_model_dir)) as url:
        yield ["pairs.jsonl", "--model", url, "--tokenizer", str(tiny_model_dir), "--template", "qa"]


def test_a_plan_behind_a_server_is_of_what_runs_there(probe, server):
    done = probe("gate", *server, "--plan")
    assert done.code == 0, done.err
    rows = {line.split()[0]: line for line in done.out.splitlines() if line[:1].isalpha()}
    for name in ("numerics", "effects", "trial"):
        assert " off;" not in rows[name] and "not measured: it needs the weights" in rows[name]
    assert "the text alone" in rows["negatives"] and "every pair scored" in rows["bias"]
    (bill,) = (line for line in done.out.splitlines() if line.startswith("on this machine"))
    assert "bias" in bill and "trial" not in bill and "measured on the weights" in done.out


def test_a_budget_behind_a_server_is_kept_by_what_runs_there(probe, server):
    done = probe("gate", *server, "--budget", "1h", "--out", "run")
    assert done.code in (0, 1), done.err
    run = load_run(Path("run"))
    assert "PB611" not in {f.code for f in run.findings}
    assert run.details["probes"]["trial"].startswith("not measured: it needs the weights")
    assert probe("gate", *server, "--budget", "0.01s").code == 2


@pytest.mark.parametrize("more", [["--plan"], []])
def test_the_memory_of_a_training_is_not_asked_of_a_server(probe, server, more):
    done = probe("gate", *server, "--device-memory", "24GiB", *more)
    assert done.code == 2 and "--device-memory: what training takes" in done.line
