"""Rows that are read as something else than was meant: every command that measures them says so."""

import json

import pytest

from probe.pairs.fields import FieldNames
from probe.pairs.misread import AMISS
from probe.pairs.rows import pair_of
from probe.probes.data.run import DataRequest, check_data
from probe.probes.negatives.run import measure_negatives
from probe.probes.negatives.work import NegativesOptions
from probe.reports.answer import answered
from probe.scoring.options import ModelOptions
from probe.scoring.session import Source
from probe.scoring.told import misread_findings

ASKED = "Why do the diets of town people fail?"
ROWS = {
    "unread_prompt": ("PB350", {"user_prompt": ASKED, "chosen": "yes", "rejected": "no"}),
    "user_turns": ("PB352", {"prompt": ASKED, "chosen": "a\n\nHuman: b\n\nAssistant: c", "rejected": "d"}),
    "template_marks": ("PB338", {"prompt": ASKED, "chosen": "a [/INST]", "rejected": "b"}),
    "written_out": ("PB356", {"prompt": ASKED, "chosen": "[{'role': 'x', 'content': 'y'}]", "rejected": "d"}),
    "shared_beginnings": ("PB359", {"chosen": f"Q: {ASKED}\nA: yes", "rejected": f"Q: {ASKED}\nA: no"}),
}


@pytest.fixture
def misread_file(tmp_path):
    def write(kind):
        path = tmp_path / "pairs.jsonl"
        row = ROWS[kind][1]
        rows = [{name: f"{value} {i}" for name, value in row.items()} for i in range(8)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Source.of(path, None, None, False)

    return write


@pytest.mark.parametrize("kind", sorted(AMISS))
def test_whoever_measures_says_what_the_file_check_says_of_how_rows_are_read(kind, misread_file):
    """`bias` and `negatives` scored answers without their question, and only `data` said so."""
    code = ROWS[kind][0]
    assert AMISS[kind].code == code
    source = misread_file(kind)
    (told,) = (f for f in misread_findings(source.survey(0)) if f.code == code)
    run = measure_negatives(source, ModelOptions(), NegativesOptions(states=False, plan=None)).run
    assert told in run.findings and told.message.startswith("8 of 8 pairs have")
    checked = check_data(DataRequest(source.path))
    (found,) = (f for f in checked.findings if f.code == code)
    assert (found.message, found.severity, found.remedy) == (told.message, told.severity, told.remedy)
    shown = answered(run)
    assert shown.summary[0].startswith(told.message) and shown.next == f"probe explain {code}"


@pytest.mark.parametrize(
    ("prompt", "chosen", "found"),
    [
        (ASKED, "They eat more.<|im_end|>", True),
        (ASKED, "They eat more.</s>", True),
        (ASKED, [{"role": "assistant", "content": "They eat more.<|eot_id|>"}], True),
        (
            "<|im_start|>user\n" + ASKED + "<|im_end|>\n<|im_start|>assistant\n",
            "They eat more.<|im_end|>",
            False,
        ),
        (ASKED, "<|channel|>final<|message|>They eat more.<|return|>", True),
        (ASKED, "They eat more.<|END_OF_TURN_TOKEN|>", True),
        (ASKED, "They eat more.<｜end▁of▁sentence｜>", True),
        (
            f"<|START_OF_TURN_TOKEN|>{ASKED}<|END_OF_TURN_TOKEN|>",
            "They eat more.<|END_OF_TURN_TOKEN|>",
            False,
        ),
        (ASKED, "p <|> q, and x |> f <| y", False),
        (ASKED, "It is <s>struck out</s>", False),
        (ASKED, "a\n\nHuman: b<|im_end|>", False),  # PB352
        (ASKED, "if a <|b|> c: return [INSTANCE]", False),
    ],
)
def test_marks_of_templates_are_those_that_no_trainer_needs(prompt, chosen, found):
    chat = not isinstance(chosen, str)
    rejected = [{"role": "assistant", "content": "No."}] if chat else "No."
    asked = [{"role": "user", "content": prompt}] if chat else prompt
    pair = pair_of({"prompt": asked, "chosen": chosen, "rejected": rejected}, 1, FieldNames.of({}))
    assert AMISS["template_marks"].found(pair) is found
