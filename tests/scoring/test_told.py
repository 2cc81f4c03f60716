"""What the encoder met is told once by every probe, of the pairs that it encoded."""

import pytest

from probe.probes.bias.run import BiasOptions
from probe.probes.bias.run import measure_bias_in as bias_in
from probe.probes.negatives.run import measure_negatives_in as negatives_in
from probe.probes.negatives.work import NegativesOptions
from probe.probes.trial.options import TrialOptions
from probe.probes.trial.run import trial_in
from probe.records import together
from probe.scoring.flags import Met
from probe.scoring.options import ModelOptions
from probe.scoring.session import Session, Source
from probe.scoring.told import met_findings, once

DROPS = (
    "{% for m in messages %}<|turn|>{{ m.content.split('</t>')[-1] | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>{% endif %}"
)
QUICK = NegativesOptions(surface=False, ches=False, plan=None)
MEASURES = {
    "bias": lambda s: bias_in(s, BiasOptions(templates="none", corrected=False)).run.findings,
    "bias in looks": lambda s: (
        bias_in(s, BiasOptions(templates="none", corrected=False, looks=(12, 24))).run.findings
    ),
    "negatives": lambda s: together(negatives_in(s, QUICK).parts).findings,
    "trial": lambda s: trial_in(s, TrialOptions(steps=1, pairs=24, samples=0)).findings,
}


@pytest.fixture
def session(tmp_path, build, make_tokenizer):
    """24 chat pairs: every second one loses words to the template, lines 3 and 6 all that parts the sides."""
    import json

    tokenizer = make_tokenizer("bpe")
    tokenizer.chat_template = DROPS
    build("llama").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")

    def side(i, say):
        words = f"eat {i}</t>" * (i % 2) + ("same" if i in (3, 6) else say)
        return [{"role": "assistant", "content": f" {words} " if i == 6 and say == "more" else words}]

    rows = [
        {
            "prompt": [{"role": "user", "content": f"Why {i}?"}],
            "chosen": side(i, "less"),
            "rejected": side(i, "more"),
        }
        for i in range(1, 25)
    ]
    rows[2]["chosen"][0]["content"] += " "
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    how = ModelOptions(model=str(tmp_path / "model"), device="cpu", no_cache=True)
    return lambda: Session.open(Source.of(path, None, None, False), how)


@pytest.mark.parametrize("name", MEASURES)
def test_each_probe_tells_what_the_template_did(name, session):
    opened = session()
    found = {f.code: f for f in MEASURES[name](opened)}
    assert found["PB346"].lines == tuple(range(1, 25, 2))
    assert found["PB346"].message.startswith("12 of 24 pairs") and "line 1, chosen" in found["PB346"].message
    assert found["PB349"].lines == (3, 6)
    told = opened.inputs()["scores"]
    assert told["excluded_count"] == 2 and {row["line"] for row in told["excluded"]} == {3, 6}
    assert {row["flag"]: row["count"] for row in told["flags"]}["template_dropped"] == 12


def test_probes_in_one_session_tell_it_once(session):
    opened = session()
    every = [f for name in ("bias in looks", "negatives", "bias") for f in MEASURES[name](opened)]
    told = [f.code for f in once(every)]
    assert sum(f.code == "PB346" for f in every) == 3 and told.count("PB346") == 1
    assert opened.inputs()["scores"]["excluded_count"] == 2
    assert met_findings(opened) == tuple(f for f in once(every) if f.code in ("PB346", "PB348", "PB349"))


def test_of_two_findings_that_of_more_pairs_is_kept(session):
    opened = session()
    pairs = list(opened.source.pairs())
    opened.encoded(pairs[:4])
    few = met_findings(opened)
    opened.encoded(pairs)
    most = met_findings(opened)
    assert [f.estimate.n for f in once([*few, *most])] == [24] * len(most)


def test_altered_pairs_are_not_the_files(session):
    opened = session()
    pairs = list(opened.source.pairs())
    opened.scores_of(pairs, "x", altered=True)
    opened.scores_of(pairs, "x", "raw")
    assert opened.inputs()["scores"]["flags"] == [] and met_findings(opened) == ()


def test_a_line_is_counted_once_with_all_that_was_met_in_it():
    met = Met()
    for line, flags in ((3, ("merged",)), (1, ()), (3, ("merged", "identical")), (9, ("prompt_fills",))):
        met.note(line, flags)
    assert met.n == 3 and met.counts == {"merged": 1, "identical": 1, "prompt_fills": 1}
    assert met.excluded == [(3, "identical"), (9, "prompt_fills")]
    assert met.lines == {"merged": [3], "identical": [3], "prompt_fills": [9]}


def test_looks_without_a_store_score_other_templates_once(session, monkeypatch):
    """24 pairs in looks of 12 and 24 whose bound nothing settles; a sample of 8 is asked again once."""
    from probe.probes.bias import looks, run

    asked = []
    measured = run.measured_again

    def counted(opened, pairs, *rest):
        asked.append([pair.line for pair in pairs])
        return measured(opened, pairs, *rest)

    monkeypatch.setattr(run, "measured_again", counted)
    monkeypatch.setattr(run, "settled_look", lambda result, limit: False)
    for most, times in ((8, 1), (256, 2)):
        asked.clear()
        monkeypatch.setattr(looks, "STABILITY_PAIRS", most)
        bias_in(session(), BiasOptions(corrected=False, looks=(12, 24)))
        assert len(asked) == times and len(set(map(tuple, asked))) == times
