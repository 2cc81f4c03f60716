"""Chat templates that loop, allocate or raise, and rows that would replace them: stopped in a line."""

import json
import shutil
import time

import pytest

from probe.scoring import bounded

from .models import template

SOUND = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = (
    "{% set ns = namespace(x='abcdefgh') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
)
ENDLESS = {
    "loop": LOOP,
    "doubling": DOUBLING,
    "product": "{{ 'a' * 10**11 }}",
    "long-product": "{{ 'a' * 10**9 }}{{ 'a' * 10**9 }}{{ 'a' * 10**9 }}",
    "power": "{{ 10**(10**9) }}",
    "format": "{{ '%2000000000d' % 1 }}{{ '%2000000000d' % 1 }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "long": "{{ 'ab' * 40000000 }}",
}
BROKEN = {
    "syntax": "{% for m in messages %}",
    "undefined": "{{ nothing.at.all }}",
    "raises": "{{ raise_exception('only user and assistant') }}",
    "division": "{{ 1 // 0 }}",
    "index": "{{ messages[99].content }}",
    "type": "{{ messages + 1 }}",
    "sandbox": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "mutation": "{{ messages.append(1) }}",
}


@pytest.fixture
def model(tmp_path, tiny_model_dir):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Ten seconds are for people; a second shows the same."""
    monkeypatch.setattr(bounded, "TEMPLATE_MEMORY", 1 << 29)
    for function in (bounded.render_in_child, bounded.watched.__wrapped__):
        monkeypatch.setattr(function, "__defaults__", (1.0,))


def chat(tmp_path, **more):
    path = tmp_path / "chat.jsonl"
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Say {i}" + (" now" if i == 9 else "")}],
            "chosen": [{"role": "assistant", "content": "yes"}],
            "rejected": [{"role": "assistant", "content": "no"}],
            **more,
        }
        for i in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(done, *words):
    assert done.code == 2 and all(word in done.line for word in words), done


def test_a_sound_template(probe, tmp_path, model):
    template(SOUND)(model)
    assert probe("bias", chat(tmp_path), "--model", model, "--templates", "none").code == 0


@pytest.mark.parametrize("name", ENDLESS)
def test_one_without_end(probe, tmp_path, model, name):
    template(SOUND + ENDLESS[name])(model)
    began = time.monotonic()
    done = probe("bias", chat(tmp_path), "--model", model, "--templates", "none")
    refused(done, "the chat template", "--template raw")
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("name", ["loop", "doubling"])
def test_one_that_a_later_row_sets_off(probe, tmp_path, model, name):
    """The first row passes in the child; the watch over the thread ends the last."""
    template(SOUND + "{% if 'now' in messages[0].content %}" + ENDLESS[name] + "{% endif %}")(model)
    done = probe("bias", chat(tmp_path), "--model", model, "--templates", "none")
    refused(done, "line 10: ", "does not end within")


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_is_broken(probe, tmp_path, model, name):
    template(BROKEN[name])(model)
    done = probe("bias", chat(tmp_path), "--model", model, "--templates", "none")
    assert done.code in (0, 2) and (
        done.code == 0 or "chat template" in done.line or "excluded" in done.err
    ), done


@pytest.mark.parametrize(
    "key", ["chat_template", "tokenize", "add_generation_prompt", "continue_final_message", "conversation"]
)
def test_a_row_cannot_replace_the_template(probe, tmp_path, model, key):
    template(SOUND)(model)
    path = chat(tmp_path, chat_template_kwargs={key: "{{ 'mine' }}"})
    refused(
        probe("bias", path, "--model", model, "--templates", "none"),
        "line 1: ",
        key,
        "cannot be set by a row",
    )


def test_a_row_may_set_what_is_the_templates_own(probe, tmp_path, model):
    template(SOUND + "{% if thinking %}<think>{% endif %}")(model)
    path = chat(tmp_path, chat_template_kwargs={"thinking": True})
    assert probe("bias", path, "--model", model, "--templates", "none").code == 0
