"""What a run shows: lines without a terminal, a table on one, nothing from processes beside the first."""

import io

import pytest

from probe.training.guard_records import Event
from probe.training.live import View, shown

TRAINED = {"loss": 0.5, "rewards/margins": 0.25, "rewards/accuracies": 0.75, "learning_rate": 1e-5, "step": 3}
MEASURED = {"eval_loss": 0.625, "eval_logps/chosen": -120.5, "eval_logps/rejected": -130.25, "step": 4}
STOP = Event(4, "PB806", "stop", "nothing left to learn")


class Screen(io.StringIO):
    def isatty(self):
        return True


def follow(view):
    view.row(TRAINED)
    view.row(MEASURED)
    view.event(STOP)


def test_without_a_terminal_there_are_lines(capsys):
    with shown(View("dpo", 100)) as view:
        follow(view)
        view.row({**TRAINED, "step": 11})  # the first tenth is over
        view.row({**TRAINED, "step": 12})
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.split(":")[0] for line in lines] == ["dpo 4/100", "guard", "dpo 11/100"]
    assert "held-out logps chosen -120.5, held-out logps rejected -130.2" in lines[0]
    assert lines[1] == "guard: step 4: stop: PB806 nothing left to learn"


def test_on_a_terminal_a_table_is_drawn(monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with shown(View("dpo", 100)) as view:
        follow(view)
    drawn = screen.getvalue()
    for part in ("dpo 4/100", "reward margin", "held-out logps chosen", "-120.5", "guard: stop", "left"):
        assert part in drawn


def test_other_processes_are_silent(capsys):
    with shown(View("dpo", 100), main=False) as view:
        follow(view)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("done", "left"), [(10, "0:54 left"), (1, "1:39:00 left"), (0, "starting")])
def test_time_left_counts_the_steps_of_this_process(monkeypatch, done, left):
    """Resumed at step 40: the steps before it took other time."""
    view = View("dpo", total=140, first=40, step=40 + done, started=0.0)
    monkeypatch.setattr("time.monotonic", lambda: 6.0 if done == 10 else 60.0)
    assert view.rate().endswith(left)
