"""Servers that are not there, hang, or answer nonsense: one line and exit 2 or 3, never a score."""

import copy
import json
import socket
import threading
import time

import pytest
from served_model import Served, running

from probe.scoring import asking
from probe.scoring import endpoint as client

TRAP = "a\x1b[2J\r\n::error::x\u202eb"
DEEP = b"[" * 100_000


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(asking, "PAUSE", 0.01)


@pytest.fixture(scope="module")
def sound(tiny_model_dir):
    return Served(tiny_model_dir)


@pytest.fixture
def served(sound):
    """The same model for every test, with nothing wrong yet."""
    made = copy.copy(sound)
    made.fault, made.changed, made.lists = "", lambda answer: answer, None
    return made


def refused(done, *words, code=(2, 3)):
    assert done.code in code and done.out == "", done
    assert done.line.startswith("probe: ") and all(word in done.line for word in words), done.line
    assert len(done.line) < 700, done.line


COMMANDS = ["bias", "negatives", "trial", "gate", "train", "sample", "effects", "levers"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_that_nobody_answers_or_that_it_needs_weights(
    probe, pair_file, tiny_model_dir, command
):
    done = probe(command, pair_file, "--model", "http://127.0.0.1:9/v1", "--tokenizer", tiny_model_dir)
    refused(done, "127.0.0.1:9" if command in ("bias", "gate") else "", code=(2,))


LISTS = {
    "empty": b"", "cut": b'{"data": [', "list": b"[]", "null": b"null", "number": b"3", "deep": DEEP,
    "binary": bytes(range(256)), "data-number": {"data": 3}, "data-object": {"data": {"id": "x"}},
    "data-text": {"data": "models"}, "models-numbers": {"data": [3]}, "no-id": {"data": [{"name": "x"}]},
    "no-models": {"data": []}, "error": {"error": {"message": TRAP}},
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_models_that_is_none(probe, pair_file, tiny_model_dir, served, name):
    served.lists = LISTS[name]
    with running(served) as url:
        refused(probe("bias", pair_file, "--model", url, "--tokenizer", tiny_model_dir), url, code=(2,))


@pytest.mark.parametrize("length", ["many", -1, 0, True, 1.5, None, [], 1e400])
def test_a_length_that_is_none_is_not_taken_for_one(probe, pair_file, tiny_model_dir, served, length):
    served.lists = {"data": [{"id": "tiny", "max_model_len": length}]}
    with running(served) as url:
        done = probe("bias", pair_file, "--model", url, "--tokenizer", tiny_model_dir, "--templates", "none")
    assert done.code == 0, done


def logprobs(**changes):
    """An answer of which these parts of `logprobs` are made anew from what they were."""

    def changed(answer):
        found = answer["choices"][0]["logprobs"]
        for key, make in changes.items():
            found[key] = make(found[key])
        return answer

    return changed


def whole(value):
    return lambda answer: value


def later(made):
    """Every log-prob but the first token's, which has none."""
    return lambda values: [values[0], *(made(v) for v in values[1:])]


ANSWERS = {
    "empty": whole(b""), "null": whole(None), "number": whole(3), "list": whole([1]), "deep": whole(DEEP),
    "no-choices": whole({}), "choices-empty": whole({"choices": []}), 
    "choices-null": whole({"choices": None}),
    "choices-object": whole({"choices": {"0": {}}}), "choice-text": whole({"choices": ["x"]}),
    "an-error-that-says-200": whole({"error": {"message": TRAP}}),
    "cut": lambda answer: json.dumps(answer).encode()[:-40],
    "usage-list": lambda answer: answer | {"usage": [1], "choices": [{"logprobs": None}]},
    "tokens-null": logprobs(tokens=lambda _: None),
    "tokens-numbers": logprobs(tokens=lambda t: list(range(len(t)))),
    "tokens-lists": logprobs(tokens=lambda t: [[name] for name in t]),
    "tokens-no-ids": logprobs(tokens=lambda t: ["token_id:x" for _ in t]),
    "tokens-hostile": logprobs(tokens=lambda t: [TRAP for _ in t]),
    "tokens-fewer": logprobs(tokens=lambda t: t[:-3]),
    "tokens-more": logprobs(tokens=lambda t: t * 3),
    "tokens-another-tokenizers": logprobs(
        tokens=lambda t: [f"token_id:{(int(name.partition(':')[2]) + 1) % 300}" for name in t]
    ),
    "logps-null": logprobs(token_logprobs=lambda _: None),
    "logps-number": logprobs(token_logprobs=lambda _: -1.0),
    "logps-text": logprobs(token_logprobs=later(lambda v: "low")),
    "logps-texts-of-numbers": logprobs(token_logprobs=later(str)),
    "logps-lists": logprobs(token_logprobs=later(lambda v: [v])),
    "logps-truths": logprobs(token_logprobs=later(lambda v: True)),
    "logps-nan": logprobs(token_logprobs=later(lambda v: float("nan"))),
    "logps-infinite": logprobs(token_logprobs=later(lambda v: float("-inf"))),
    "logps-huge": logprobs(token_logprobs=later(lambda v: -(10**400))),
    "logps-of-certain-and-more": logprobs(token_logprobs=later(lambda v: -v)),
    "logps-all-none": logprobs(token_logprobs=later(lambda v: None)),
    "logps-one-none": logprobs(token_logprobs=lambda v: [*v[:2], None, *v[3:]]),
    "logps-fewer": logprobs(token_logprobs=lambda v: v[:-2]),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none(probe, pair_file, tiny_model_dir, served, name):
    served.changed = ANSWERS[name]
    with running(served) as url:
        done = probe("bias", pair_file, "--model", url, "--tokenizer", tiny_model_dir, "--templates", "none")
    refused(done, "log-prob" if "logps" in name else "")


@pytest.mark.parametrize("name", ["cut", "logps-nan", "logps-text", "tokens-fewer", "usage-list"])
def test_a_gate_passes_nothing_that_a_server_did_not_say(probe, pair_file, tiny_model_dir, served, name):
    """It ends in a line, or says that the bias was not measured; it never passes."""
    served.changed = ANSWERS[name]
    with running(served) as url:
        done = probe("gate", pair_file, "--model", url, "--tokenizer", tiny_model_dir)
    if done.code == 1:
        assert "not measured" in done.out, done
    else:
        refused(done)


@pytest.mark.parametrize("name", ["logps-nan", "logps-one-none", "tokens-fewer", "cut", "logps-text"])
def test_an_answer_that_goes_wrong_after_the_server_was_proven(
    probe, pair_file, tiny_model_dir, served, name
):
    """The first answers are sound and a later one is not: there is no score of the others alone."""
    sound_answers = iter(range(6))
    served.changed = lambda answer: answer if next(sound_answers, None) is not None else ANSWERS[name](answer)
    with running(served) as url:
        refused(
            probe("bias", pair_file, "--model", url, "--tokenizer", tiny_model_dir, "--templates", "none")
        )


@pytest.mark.parametrize(
    "says", ["nothing", "a byte at a time", "closes", "noise", "half a header", "endless"]
)
def test_a_server_that_is_none(probe, pair_file, tiny_model_dir, monkeypatch, says):
    """Whatever is at the other end, a time is kept, and what is read has an end."""
    monkeypatch.setattr(client, "OPENING_S", 0.2)
    monkeypatch.setattr(asking, "LARGEST", 1 << 16)
    with talking(says) as url:
        started = time.monotonic()
        done = probe("bias", pair_file, "--model", url, "--tokenizer", tiny_model_dir)
        assert time.monotonic() - started < 30
    refused(done, url, code=(2,))


class talking:
    """A socket that says this to whoever connects."""

    HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

    def __init__(self, says):
        self.says = says

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def __exit__(self, *_):
        self.over.set()
        self.socket.close()

    def _serve(self):
        while not self.over.is_set():
            try:
                threading.Thread(target=self._talk, args=self.socket.accept()[:1], daemon=True).start()
            except OSError:
                return

    def _talk(self, peer):
        try:
            peer.recv(1 << 16)
            if self.says == "noise":
                peer.sendall(bytes(range(256)))
            elif self.says == "half a header":
                peer.sendall(self.HEAD[:30])
            elif self.says == "endless":
                peer.sendall(self.HEAD + b"\r\n")
                while not self.over.is_set():
                    peer.sendall(b" " * 65536)
            elif self.says == "a byte at a time":
                peer.sendall(self.HEAD + b"Content-Length: 100000\r\n\r\n")
                while not self.over.wait(0.05):
                    peer.sendall(b" ")
            elif self.says == "nothing":
                self.over.wait(60)
        except OSError:
            pass
        finally:
            peer.close()
