"""What may get worse, which way is better, and how far it may go by itself."""

import math

from probe.gate.promote.changes import QUANTITIES
from probe.shared_limits import BOUND


def test_each_quantity_has_its_direction():
    better = {name: quantity.better for name, quantity in QUANTITIES.items()}
    assert better == {
        "grade": 1, "gap": 1, "accuracy": 1, "chosen": 1, "rejected": 0, "watched": 1, "repetition": -1,
        "length": 0,
    }  # fmt: skip


def test_what_is_judged_by_itself_has_an_allowance():
    judged = {name: q.allowance for name, q in QUANTITIES.items() if q.allowance is not None}
    assert judged.keys() == {"grade", "gap", "watched"}
    assert (judged["grade"], judged["gap"]) == (1.0, BOUND)
    assert math.exp(judged["watched"]) > 1
