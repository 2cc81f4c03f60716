"""Lines of a console are read as long as frameworks write them; what is longer still is counted, not lost."""

import pytest

from probe.probes.autopsy.diagnose import diagnose, diagnosis_json
from probe.probes.autopsy.read import read_log


def line(step: int, length: int, reward: float) -> str:
    """A step as verl prints it in full precision, its reward behind `length` characters of other metrics."""
    head = f"step:{step} - actor/grad_norm:0.25 - "
    filler = "".join(f"perf/metric_{i}:0.0469332547896541 - " for i in range(length // 30))
    return f"{head}{filler[: length - len(head)].rpartition(' - ')[0]} - critic/rewards/mean:{reward}"


def log_of(tmp_path, lengths):
    path = tmp_path / "verl.log"
    path.write_text("\n".join(line(i, length, 0.2 + 0.01 * i) for i, length in enumerate(lengths, 1)))
    return read_log(path)


@pytest.mark.parametrize("length", [100, 2_900, 19_000])
def test_a_line_is_read_to_its_end(tmp_path, length):
    log = log_of(tmp_path, [length] * 40)
    assert [row["reward"] for row in log.train] == pytest.approx([0.2 + 0.01 * i for i in range(1, 41)])
    assert (diagnose(log).method.name, diagnose(log).main) == ("GRPO", "healthy")


def test_lines_about_the_former_limit_lose_no_step(tmp_path):
    assert len(log_of(tmp_path, [1_950 + 5 * i for i in range(20)]).train) == 20


def test_lines_that_are_too_long_are_counted(tmp_path):
    found = diagnosis_json(diagnose(log_of(tmp_path, [100] * 30 + [21_000] * 3 + [100] * 7)))
    assert (found["main"], found["confidence"]) == ("healthy", "cannot tell")
    assert "lines of more than 20,000 characters were left out: 3" in found["evidence"]


def test_a_long_line_of_something_else_is_no_loss(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("x" * 30_000 + "\n" + "\n".join(f"step {i} loss {2 - i / 100}" for i in range(40)))
    assert not read_log(path).unread
