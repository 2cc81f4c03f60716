"""`logps/chosen` and `logps/rejected` of TRL's DPOTrainer at learning rate 0 are ours, end token included."""

import copy
import json

import pytest

from probe.pairs.record import Pair
from probe.scoring.encode import make_encoder
from probe.scoring.model import LoadedModel
from probe.scoring.service import Scorer
from probe.training.data import total

trl = pytest.importorskip("trl")
CHATML = (
    "{% if tools %}<|turn|>tools\n{{ tools | tojson }}<|end|>{% endif %}"
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] or '' }}"
    "{% for c in m['tool_calls'] or [] %}<call>{{ c['function']['name'] }}"
    "{{ c['function']['arguments'] | tojson }}</call>{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def said(role, content, **more):
    return {"role": role, "content": content, **more}


def call(food):
    function = {"name": "weigh", "arguments": {"food": food}}
    return said("assistant", "", tool_calls=[{"type": "function", "function": function}])


TOOLS = json.dumps([{"type": "function", "function": {"name": "weigh", "parameters": {"type": "object"}}}])
ASK = [said("user", "Why do diets fail?")]
ROWS = {
    "tool call": (ASK, [call("fern")], [call("rose")], {"tools": TOOLS}),
    "several turns": (
        ASK,
        [said("assistant", "so"), said("user", "And?"), said("assistant", "diets")],
        [said("assistant", "no"), said("user", "And?"), said("assistant", "people eat more")],
        {},
    ),
    "reasoning": (
        ASK,
        [said("assistant", "<think>\nhm\n</think>\n\nso")],
        [said("assistant", "<think>\nwell\n</think>\n\nno")],
        {},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_logps_are_those_of_the_trainer(make_tokenizer, build, row, tmp_path):
    import torch
    from datasets import Dataset

    tokenizer, model = make_tokenizer("bpe"), build("llama")
    tokenizer.chat_template = CHATML
    prompt, chosen, rejected, meta = ROWS[row]
    pair = Pair("1", tuple(prompt), tuple(chosen), tuple(rejected), meta=meta, line=1)
    loaded = LoadedModel(model, tokenizer, "tiny", torch.device("cpu"), torch.float32, {})
    (score,) = Scorer(loaded, make_encoder(tokenizer, [pair])).scores([pair])
    config = trl.DPOConfig(
        output_dir=str(tmp_path), learning_rate=0.0, max_steps=1, per_device_train_batch_size=1,
        logging_steps=1, report_to=[], use_cpu=True, save_strategy="no", bf16=False,
        gradient_checkpointing=False, max_length=512, disable_tqdm=True,
    )  # fmt: skip
    data = Dataset.from_list([{"prompt": prompt, "chosen": chosen, "rejected": rejected, **meta}])
    same = copy.deepcopy(model)  # a model in memory has no name to load its reference by
    trainer = trl.DPOTrainer(
        model=model, ref_model=same, args=config, train_dataset=data, processing_class=tokenizer
    )
    trainer.train()
    told = next(entry for entry in trainer.state.log_history if "logps/chosen" in entry)
    assert total(score.chosen) == pytest.approx(told["logps/chosen"], abs=2e-3)
    assert total(score.rejected) == pytest.approx(told["logps/rejected"], abs=2e-3)
