"""Variables of a launcher: those of a real launch count, what is left over of one changes nothing."""

import json
import os

import pytest

from probe import launched
from probe.errors import ProbeError
from probe.progress import first_process

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
ALONE = [
    {}, {"RANK": "1"}, {"RANK": ""}, {"RANK": "x"}, {"LOCAL_RANK": "3"}, {"WORLD_SIZE": ""},
    {"WORLD_SIZE": "1", "RANK": "5", "LOCAL_RANK": "1"}, {"WORLD_SIZE": "", "RANK": "", "LOCAL_RANK": ""},
    {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"},
]  # fmt: skip
REAL = {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "host"}
UNFIT = [
    ({"WORLD_SIZE": "2"}, "without RANK and MASTER_ADDR"),
    ({"WORLD_SIZE": "2", "RANK": "0"}, "without MASTER_ADDR"),
    ({"WORLD_SIZE": "2", "RANK": "", "MASTER_ADDR": "host"}, "without RANK"),
    ({**REAL, "RANK": "4"}, "RANK=4"),
    ({**REAL, "RANK": "-1"}, "RANK=-1"),
    ({**REAL, "RANK": "two"}, "RANK=two"),
    ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0"),
    ({"WORLD_SIZE": "many"}, "WORLD_SIZE=many"),
]


@pytest.fixture
def under(monkeypatch):
    def use(given):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    use({})
    return use


@pytest.mark.parametrize("given", ALONE)
def test_one_process_is_the_first_whatever_is_left_over(under, given):
    under(given)
    assert (launched.rank(), launched.world(), launched.local_rank()) == (0, 1, 0) and first_process()


@pytest.mark.parametrize("given", ALONE)
def test_libraries_do_not_meet_what_is_left_over(under, given):
    """accelerate takes a process with a LOCAL_RANK for one of several; a launch of one stays as it is."""
    under(given)
    launched.drop_leftovers()
    left = {name: os.environ[name] for name in NAMES if name in os.environ}
    assert left == (
        given
        if "MASTER_ADDR" in given
        else {k: v for k, v in given.items() if v == "1" and k == "WORLD_SIZE"}
    )


def test_a_launch_counts(under):
    under(REAL)
    launched.drop_leftovers()
    assert (launched.rank(), launched.world(), launched.local_rank()) == (2, 4, 1) and not first_process()


@pytest.mark.parametrize(("given", "told"), UNFIT)
def test_what_no_launch_sets_is_one_line(under, given, told):
    under(given)
    with pytest.raises(ProbeError, match=told) as error:
        launched.world()
    assert "env -u WORLD_SIZE" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("given", ALONE)
def test_a_command_reports_whatever_is_left_over(under, given, probe, tmp_path):
    rows = [{"prompt": f"p {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    under(given)
    done = probe("data", "pairs.jsonl")
    assert "3 pairs" in done.out, done.err
