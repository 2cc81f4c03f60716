"""The seconds of a gate are told before it begins and with each probe, without what is kept already."""

import re

from probe.gate.schedule import Schedule


def test_the_whole_stands_before_the_parts_and_each_part_says_how_far_it_is():
    timed = Schedule({"negatives": 40.0, "bias": 25.0})
    assert re.fullmatch(r"about 65 s .*: negatives 40 s, bias 25 s\n", timed.opening())
    assert timed.at("bias") == "; about 25 s (0 s of about 65 s gone)"
    assert timed.at("data") == "" and Schedule().opening() == ""
