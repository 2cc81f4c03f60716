"""Runs any command in this process, and holds what every run must hold whatever it was given."""

import contextvars
import json
import re
import sys
from dataclasses import dataclass

import pytest

from probe.__main__ import main

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PAIRS = [
    {"prompt": f"Say {i}:", "chosen": f" yes {i * 3 % 11}", "rejected": f" no {i * 7 % 10}"}
    for i in range(12)
]


@dataclass(frozen=True)
class Done:
    """How a run ended: exit code, both streams, and the last line of stderr."""

    code: int
    out: str
    err: str

    @property
    def line(self):
        return (self.err.strip().splitlines() or [""])[-1]


@pytest.fixture
def probe(tmp_path, monkeypatch, capfd):
    """Run a command in `tmp_path`; only documented exit codes, no traceback, no raw control character."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["probe", *map(str, arguments)])
        capfd.readouterr()
        code = int(contextvars.copy_context().run(main))  # what a command sets ends with it
        captured = capfd.readouterr()
        done = Done(code, captured.out, captured.err)
        assert code in (0, 1, 2, 3), done
        assert "Traceback" not in done.err + done.out, done
        assert not CONTROL.search(done.out) and not CONTROL.search(done.err), done
        return done

    return run


@pytest.fixture
def pair_file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path
