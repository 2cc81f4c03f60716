"""No step is silent: what says nothing for a while is said to be running."""

import time

from probe.progress import alive, progress


def test_a_silent_step_is_told_again_and_again(capsys):
    with alive("surface", silence=0.1):
        time.sleep(0.55)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5 and all(line.startswith("surface: running for ") for line in lines)


def test_a_step_that_tells_of_itself_is_left_alone(capsys):
    with alive("scoring", silence=5.0), progress("scoring", 10) as advance:
        for _ in range(10):
            advance(1)
    assert "running for" not in capsys.readouterr().err


def test_it_ends_with_the_block_also_on_an_error(capsys):
    try:
        with alive("trial", silence=0.05):
            raise ValueError
    except ValueError:
        pass
    time.sleep(0.2)
    assert "running for" not in capsys.readouterr().err
