"""`probe reference`: the columns are what TRL's DPO trainer makes of the rows that they stand in."""

import json

import pytest
import torch

from probe.errors import ProbeError
from probe.pairs.fields import parse_fields
from probe.scoring.session import ModelOptions, Session, Source
from probe.training.reference import with_reference

data_utils = pytest.importorskip("trl.data_utils")

TEXTS = [("Why do diets fail?", "People eat more.", "Who says so?"), ("What is 12?", "that is so", "2 is so")]
KINDS = {
    "questions": [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in TEXTS],
    "a space at the end": [{"prompt": f"{p} Answer: ", "chosen": c, "rejected": r} for p, c, r in TEXTS],
    "a space at the start": [{"prompt": p, "chosen": f" {c}", "rejected": f" {r}"} for p, c, r in TEXTS],
    "no prompt": [{"chosen": f"{p} {c}", "rejected": f"{p} {r}"} for p, c, r in TEXTS],
    "a dialogue": [
        {side: f"\n\nHuman: {p}\n\nAssistant: {text}" for side, text in (("chosen", c), ("rejected", r))}
        for p, c, r in TEXTS
    ],
    "chats": [
        {
            "prompt": [{"role": "user", "content": p}],
            "chosen": [{"role": "assistant", "content": c}],
            "rejected": [{"role": "assistant", "content": r}],
        }
        for p, c, r in TEXTS
    ],
}


def written(tmp_path, loaded, rows, template):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(path, parse_fields(None), ("chosen", "rejected"))
    return list(with_reference(Session.open(source, ModelOptions(template=template), loaded=loaded)))


def by_trainer(model, tokenizer, row):
    """Both sums as `DPOTrainer` makes them: `add_eos`, `tokenize_fn`, and the log-probs of the completion."""
    prompt, sides = row["prompt"], (row["chosen"], row["rejected"])
    if isinstance(prompt, str):
        sides = [side if side.endswith("</s>") else side + "</s>" for side in sides]
    generation = {} if isinstance(prompt, str) else {"add_generation_prompt": True}
    asked = data_utils._tokenize(tokenizer, prompt, **generation)["input_ids"]
    made = [data_utils._tokenize(tokenizer, prompt + side)["input_ids"] for side in sides]
    start = max(min(data_utils.common_prefix_length(asked, ids) for ids in made), 1)
    with torch.no_grad():
        for ids in made:
            logps = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            yield sum(float(logps[at - 1, ids[at]]) for at in range(start, len(ids)))


@pytest.mark.oracle
@pytest.mark.parametrize("template", ["auto", "raw", "qa", "Q: {prompt} A:"])
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_are_those_of_the_trainer(tmp_path, make_tokenizer, tiny, load, kind, chat, template):
    tokenizer = make_tokenizer("bpe", bos=True, chat=chat)
    if kind == "chats" and not chat and template == "auto":
        with pytest.raises(ProbeError, match="no chat template"):
            written(tmp_path, load(tiny, tokenizer), KINDS[kind], template)
        return
    rows = written(tmp_path, load(tiny, tokenizer), KINDS[kind], template)
    assert len(rows) == len(TEXTS)
    for row in rows:
        ours = row["ref_chosen_logps"], row["ref_rejected_logps"]
        assert ours == pytest.approx(list(by_trainer(tiny, tokenizer, row)), abs=1e-3)


def test_rows_of_two_forms_are_refused_with_the_line(tmp_path, make_tokenizer, tiny, load):
    """A trainer reads all rows as it reads the first."""
    tokenizer = make_tokenizer("bpe", bos=True, chat=True)
    rows = [KINDS["chats"][0], KINDS["questions"][1], {**KINDS["no prompt"][0]}]
    loaded = load(tiny, tokenizer)
    with pytest.raises(ProbeError, match=r"line 3: .* as text, those before it as chat messages"):
        written(tmp_path, loaded, rows, "chat")
    assert len(written(tmp_path, loaded, rows, "raw")) == 3
