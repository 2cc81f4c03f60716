"""A model behind an endpoint: a server in this process with true log-probs of a tiny random model."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from served_model import LikeLlamaCpp, Served, running

import probe
from probe.errors import CannotMeasure, ProbeError
from probe.pairs.record import Pair
from probe.scoring import asking
from probe.scoring.endpoint import Endpoint
from probe.scoring.options import ModelOptions
from probe.scoring.served import Width
from probe.scoring.session import Session, Source
from probe.scoring.store import model_key

ROWS = [
    {"prompt": f"Where is number {i}?", "chosen": f"At place {i * 7 % 11}.", "rejected": f"Nowhere, {i}!"}
    for i in range(10)
]


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(asking, "PAUSE", 0.01)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", [False, True])
def test_the_servers_numbers_are_those_of_its_weights(tiny_model_dir, text, capsys):
    """Every number of a bias run is that of local scoring; a busy server is asked again."""
    here = probe.bias(ROWS, str(tiny_model_dir), device="cpu", template="qa")
    with running(Served(tiny_model_dir, text=text, busy=2)) as url:
        there = probe.bias(ROWS, url, str(tiny_model_dir), template="qa")
    assert [e.name for e in there.estimates] == [e.name for e in here.estimates]
    for a, b in zip(there.estimates, here.estimates, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-4), a.name
    for a, b in zip(there.rows, here.rows, strict=True):
        for side in ("chosen", "rejected"):
            assert a[side]["logps"] == pytest.approx(b[side]["logps"], abs=1e-4)
            assert a[side]["end_logp"] == pytest.approx(b[side]["end_logp"], abs=1e-4)
    assert "the server's numbers" in str(there) and "served" in str(there)
    assert ("prompts are sent as text" in capsys.readouterr().err) is text


def test_scores_are_kept_by_endpoint_model_and_what_the_server_says(tiny_model_dir, tmp_path):
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    source = Source.of(tmp_path / "pairs.jsonl", None, None, False)
    served = Served(tiny_model_dir)
    with running(served) as url:
        how = ModelOptions(url, tokenizer=str(tiny_model_dir), template="qa")
        counts = []
        for says in (served.says, served.says | {"created": 0}, served.says | {"root": "another"}):
            served.says, before = says, served.asked
            session = Session.open(source, how, served=True)
            assert len(list(session.scores())) == len(ROWS)
            counts.append(served.asked - before)
    # Two prompts prove the server, and one asks each time which model answers; of what is kept one is asked.
    assert counts[0] == counts[2] == 2 * len(ROWS) + 3 and counts[1] == 4
    facts = session.loaded.facts
    assert model_key(facts) != model_key(facts | {"endpoint": facts["endpoint"] | {"url": "http://other/v1"}})


def test_another_model_under_the_name_has_not_the_numbers_that_were_kept(tiny_model_dir, tmp_path, capsys):
    """They were told as its own, and no request was made."""
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    source = Source.of(tmp_path / "pairs.jsonl", None, None, False)
    served = Served(tiny_model_dir)
    with running(served) as url:
        how = ModelOptions(url, tokenizer=str(tiny_model_dir), template="qa")
        first = [score.gap for score in Session.open(source, how, served=True).scores()]
        assert [score.gap for score in Session.open(source, how, served=True).scores()] == first
        assert "kept" not in capsys.readouterr().err
        with torch.no_grad():
            for weight in served.model.parameters():
                weight.mul_(1.2)
        session = Session.open(source, how, served=True)
        other = [score.gap for score in session.scores()]
        assert "gives other numbers than were kept" in capsys.readouterr().err
        assert session.scorer.cached == 0 and other != pytest.approx(first, abs=1e-3)
        no_store = Session.open(source, replace(how, no_cache=True), served=True)
        assert [score.gap for score in no_store.scores()] == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("page", ProbeError, "answers with text/html, not JSON"),
        ("no logprobs", ProbeError, "answers without log-probs of the prompt"),
        ("other tokens", ProbeError, "reads other tokens"),
        ("shifted", ProbeError, "when it generates it"),
        ("broken", CannotMeasure, r"answers 500 \(out of luck\), 4 times"),
        ("slow", CannotMeasure, "cannot be reached .*, 4 times"),
    ],
)
def test_a_bad_server_is_one_line(tiny_model_dir, monkeypatch, fault, error, said):
    if fault == "slow":
        monkeypatch.setattr(Endpoint, "__init__", _impatient(Endpoint.__init__))
    with running(Served(tiny_model_dir, fault=fault)) as url, pytest.raises(error, match=said) as caught:
        probe.bias(ROWS, url, str(tiny_model_dir), template="qa")
    assert isinstance(caught.value, CannotMeasure) is (error is CannotMeasure)
    assert "\n" not in str(caught.value)


def _impatient(init):
    def made(self, *given, **named):
        init(self, *given, **named)
        self.timeout = 0.05

    return made


def test_a_bos_that_only_the_server_adds_is_told(tiny_model_dir):
    served = Served(tiny_model_dir, text=True, bos=True)
    with running(served) as url, pytest.raises(ProbeError, match="one of them adds a BOS"):
        probe.bias(ROWS, url, str(tiny_model_dir), template="qa")


def test_an_address_without_a_server_and_options_of_weights(tiny_model_dir):
    with pytest.raises(ProbeError, match="Is the server running"):
        probe.bias(ROWS, "http://127.0.0.1:9/v1", str(tiny_model_dir))
    with pytest.raises(ProbeError, match="name the served model's tokenizer"):
        probe.bias(ROWS, "http://127.0.0.1:9/v1")
    with pytest.raises(ProbeError, match="--dtype: what a server computes with"):
        probe.bias(ROWS, "http://127.0.0.1:9/v1", str(tiny_model_dir), dtype="float32")
    with pytest.raises(ProbeError, match="needs the weights"):
        probe.trial(ROWS, "http://127.0.0.1:9/v1")
    served = Served(tiny_model_dir)
    served.more = [{"id": "second"}]
    with running(served) as url:
        tokenizer = served.tokenizer
        with pytest.raises(ProbeError, match="serves tiny, second"):
            Endpoint.open(url, tokenizer)
        assert Endpoint.open(f"{url}#second", tokenizer).name == "second"
        with pytest.raises(ProbeError, match=r"answers 404 \(no such place\)"):
            Endpoint.open(url.removesuffix("/v1"), tokenizer)


def test_a_gate_measures_what_log_probs_tell_and_says_what_is_left(tiny_model_dir):
    with running(Served(tiny_model_dir)) as url:
        run = probe.gate(ROWS, url, str(tiny_model_dir), template="qa")
    states = run.details["probes"]
    assert states["bias"] == states["data"] == "done"
    for name in ("numerics", "trial"):
        assert states[name] == "not measured: it needs the weights, and an endpoint gives log-probs"
    assert states["negatives"].startswith("only the text")
    assert run.verdict.status in ("inconclusive", "fail")
    assert run.estimate("gap") is not None and run.estimate("trial_accuracy") is None
    assert run.estimate("signal_accuracy") is None
    (signal,) = (c for c in run.verdict.conditions if c.name == "signal_accuracy")
    assert signal.result == "inconclusive" and "only the text" in signal.message


def test_a_gate_on_a_server_has_the_texts_numbers_of_one_on_weights(tiny_model_dir):
    """What needs no model is the same number to the last digit, and its conditions are judged the same."""
    rows = [*ROWS, *({**row, "prompt": f"{row['prompt']} Again?"} for row in ROWS)]
    textual = ("surface_accuracy", "length_accuracy")
    here = probe.gate(rows, str(tiny_model_dir), device="cpu", template="qa", off=("trial", "numerics"))
    with running(Served(tiny_model_dir)) as url:
        there = probe.gate(rows, url, str(tiny_model_dir), template="qa")
    for name in textual:
        assert there.estimate(name).value is not None
        assert there.estimate(name) == here.estimate(name)
    judged = [
        {c.name: (c.result, c.limit) for c in run.verdict.conditions if c.name in textual}
        for run in (here, there)
    ]
    assert judged[0] == judged[1] and len(judged[0]) == 2


def test_a_token_that_is_part_of_a_letter_has_no_name_to_compare(tiny_model_dir):
    served = Served(tiny_model_dir, text=True)
    pairs = [Pair("a", "Wo?", "schön ö", "schlecht", line=1)]
    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]
    here = probe.bias(rows, str(tiny_model_dir), device="cpu", template="qa")
    with running(served) as url:
        there = probe.bias(rows, url, str(tiny_model_dir), template="qa")
    assert there.rows[0]["chosen"]["logps"] == pytest.approx(here.rows[0]["chosen"]["logps"], abs=1e-4)


def test_a_server_that_shows_no_bos_has_the_same_numbers(tiny_model_dir):
    """Every BOS of a prompt and the first log-prob are missing, and none of them is one of a response."""
    served = LikeLlamaCpp(tiny_model_dir)
    bos = served.tokenizer.bos_token
    how = {"template": f"{bos}Q: {{prompt}} {bos}A: ", "templates": "none"}
    here = probe.bias(ROWS, str(tiny_model_dir), device="cpu", **how)
    with running(served) as url:
        there = probe.bias(ROWS, url, str(tiny_model_dir), **how)
    for a, b in zip(there.estimates, here.estimates, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-4), a.name


def test_prompts_without_a_bos_that_such_a_server_misreads_are_refused(tiny_model_dir):
    """Their log-probs are those of another token."""
    with (
        running(LikeLlamaCpp(tiny_model_dir)) as url,
        pytest.raises(ProbeError, match=r"shows no token that it generates.*begins with one"),
    ):
        probe.bias(ROWS, url, str(tiny_model_dir), template="Q: {prompt} A: ", templates="none")


def test_what_a_server_does_not_show_is_left_out_and_told(tiny_model_dir):
    """Other templates without a BOS, and responses right behind it, cost the run those numbers alone."""
    served = LikeLlamaCpp(tiny_model_dir)
    template = f"{served.tokenizer.bos_token}{{prompt}}"
    here = probe.bias(ROWS, str(tiny_model_dir), device="cpu", template=template)
    with running(served) as url:
        there = probe.bias(ROWS, url, str(tiny_model_dir), template=template)
    assert there.estimate("gap").value == pytest.approx(here.estimate("gap").value, abs=1e-4)
    (told,) = (f for f in there.findings if f.code == "PB612")
    assert told.severity == "info" and "template 'qa' and " in told.message
    assert told.message.endswith("and without prompt")
    assert "PB612" not in {f.code for f in here.findings}


def test_a_server_that_asks_for_a_key_gets_it(tiny_model_dir, monkeypatch):
    served = Served(tiny_model_dir)
    served.key = "secret"
    with running(served) as url:
        with pytest.raises(ProbeError, match=r"401 \(invalid API key\)\. Set PROBE_API_KEY") as caught:
            Endpoint.open(url, served.tokenizer)
        assert "secret" not in str(caught.value)
        monkeypatch.setenv("PROBE_API_KEY", "secret")
        run = probe.bias(ROWS, url, str(tiny_model_dir), template="qa", templates="none", corrected=False)
    assert run.estimate("gap").value is not None and "secret" not in json.dumps(run.config)


@pytest.mark.parametrize(("side_by_side", "ends"), [(1, 1), (4, 4), (64, 8)])
def test_as_many_requests_are_under_way_as_the_server_answers_side_by_side(side_by_side, ends):
    width = Width()
    for _ in range(12):
        width.took(-(-width.now // side_by_side), 10 * width.now)
    assert width.now == ends


def test_a_pair_whose_text_is_other_tokens_is_left_out_where_text_is_sent(tiny_model_dir):
    """--max-length cuts one answer within a letter: its text is read as other tokens, ids are not."""
    rows = [{"prompt": "Where? " * 20, "chosen": "é" * 30, "rejected": "Nowhere!"}, *ROWS]
    lengths = (200, 201)  # bytes, of which one ends a letter
    left_out = {True: [], False: []}
    for text, length in itertools.product(left_out, lengths):
        with running(Served(tiny_model_dir, text=text)) as url:
            run = probe.bias(rows, url, str(tiny_model_dir), template="qa", max_length=length)
        left_out[text].append(run.inputs["scores"]["excluded"])
        scored = len(rows) - len(left_out[text][-1])
        assert len(run.rows) == scored and run.estimate("gap").n == scored
    assert left_out[False] == [[], []]
    assert sorted(left_out[True], key=len) == [[], [{"line": 1, "why": "not_as_text"}]]


def test_so_it_is_where_no_other_pair_is_left_to_ask(tiny_model_dir):
    """Ten pairs are stored; of those left every answer ends within a letter, so a prompt is asked."""
    cut = [{"prompt": f"{i} Where? " * 20, "chosen": "é" * 30, "rejected": "ü" * 30} for i in range(2)]
    left_out = []
    for length in (200, 201):
        how = {"template": "qa", "max_length": length}
        with running(Served(tiny_model_dir, text=True)) as url:
            probe.bias(ROWS, url, str(tiny_model_dir), **how)
            run = probe.bias([*ROWS, *cut], url, str(tiny_model_dir), **how)
        left_out.append(run.inputs["scores"]["excluded_count"])
    assert sorted(left_out) == [0, 2]


def test_a_server_that_names_no_token_is_refused(tiny_model_dir):
    """A name of no letters is a special token's alone: else any token would pass for any other."""
    served = Served(tiny_model_dir, text=True)

    def nameless(answer):
        found = answer["choices"][0]["logprobs"]
        return {**answer, "choices": [{"logprobs": found | {"tokens": [""] * len(found["tokens"])}}]}

    served.changed = nameless
    with running(served) as url, pytest.raises(ProbeError, match="reads other tokens"):
        probe.bias(ROWS, url, str(tiny_model_dir), template="qa")


def answering_as(*names):
    """What is made of an answer, so that the k-th names the k-th model, and all that follow the last."""
    left = list(names)
    return lambda answer: answer | {"model": left.pop(0) if len(left) > 1 else left[0]}


def measured_by(url, directory):
    return probe.bias(ROWS, url, str(directory), template="qa", templates="none", corrected=False)


@pytest.mark.parametrize("named", ["tiny", None, ""])
def test_a_server_that_answers_as_what_was_asked_for_is_not_told(tiny_model_dir, capsys, named):
    served = Served(tiny_model_dir)
    served.changed = answering_as(named)
    with running(served) as url:
        run = measured_by(url, tiny_model_dir)
    assert "answers as" not in capsys.readouterr().err + str(run)
    assert "answers_as" not in run.inputs["model"]["endpoint"]


def test_another_name_is_told_once_and_kept(tiny_model_dir, capsys, tmp_path):
    """Its numbers are kept as its own: the model that was asked for, when it is back, is asked again."""
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    source = Source.of(tmp_path / "pairs.jsonl", None, None, False)
    served = Served(tiny_model_dir)
    with running(served) as url:
        how, new = ModelOptions(url, tokenizer=str(tiny_model_dir), template="qa"), []
        for named in ("fallback", "fallback", "tiny", "tiny"):
            served.changed = answering_as(named)
            session = Session.open(source, how, served=True)
            assert len(list(session.scores())) == len(ROWS)
            new.append(session.scorer.new)
            told = capsys.readouterr().err.count("answers as fallback, and was asked for tiny")
            assert told == (named == "fallback")
            assert session.loaded.facts["endpoint"].get("answers_as") == ("fallback" if told else None)
            assert ("which answers as fallback" in session.loaded.facts["name"]) is bool(told)
    assert new == [2 * len(ROWS), 0, 2 * len(ROWS), 0]


@pytest.mark.parametrize("names", [("tiny", "tiny", "other"), ("alias",) * 9 + ("tiny",), (None, "a", "b")])
def test_numbers_of_two_models_are_refused(tiny_model_dir, names):
    served = Served(tiny_model_dir)
    served.changed = answering_as(*names)
    with running(served) as url, pytest.raises(ProbeError, match=r"answers as .*, then as .*two models"):
        measured_by(url, tiny_model_dir)


@pytest.mark.parametrize(
    ("value", "finite"),
    [(-9999.0, False), (-9999, False), (-1e30, False), (-math.inf, False), (math.nan, False),
     (-9998.9, True)],
)  # fmt: skip
def test_what_stands_in_for_no_finite_log_prob_is_none(tiny_model_dir, value, finite):
    """vLLM's server writes max(log-prob, −9999), which a mean over tokens had taken for a number."""
    served, seen = Served(tiny_model_dir), []

    def changed(answer):
        seen.append(logps := answer["choices"][0]["logprobs"]["token_logprobs"])
        if len(seen) > 5 and len(logps) > 12:
            logps[-4] = value
        return answer

    served.changed = changed
    with running(served) as url:
        if finite:
            assert measured_by(url, tiny_model_dir).estimate("gap").value is not None
            return
        with pytest.raises(CannotMeasure, match=r"^line \d+: .* not finite, .*Take the line out") as caught:
            measured_by(url, tiny_model_dir)
    assert "\n" not in str(caught.value)
