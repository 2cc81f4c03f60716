"""What a trial trains where flags, a config file or a program name one method and several."""

import pytest

from probe import config
from probe.errors import ProbeError
from probe.probes.trial.asked import trial_options

NONE = {"learning_rate": None, "beta": None, "batch": None, "most": 128}
RACE, FILE = ("dpo", "sft"), "probe.toml"


def asked(method, /, **origins):
    with config.using({name: (None, origin) for name, origin in origins.items()}):
        made = trial_options(method=method, methods=RACE, **NONE)
    return made.method, made.methods


@pytest.mark.parametrize(
    ("method", "origins", "expected"),
    [
        ("dpo", {"methods": config.FLAG}, ("dpo", RACE)),
        ("ipo", {"methods": config.FLAG, "method": FILE}, ("ipo", RACE)),
        ("dpo", {"methods": config.FLAG, "method": config.FLAG}, ("dpo", RACE)),
        ("ipo", {"methods": FILE, "method": config.FLAG}, ("ipo", ())),
        ("ipo", {"methods": FILE, "method": FILE}, ("ipo", RACE)),
    ],
)
def test_what_is_typed_goes_before_a_file(method, origins, expected):
    assert asked(method, **origins) == expected


@pytest.mark.parametrize("origin", config.TYPED)
def test_a_method_beside_a_race_that_does_not_forecast_it_is_refused(origin):
    """It had been left out of the race in silence."""
    with pytest.raises(ProbeError, match="Leave --method out, or put ipo first"):
        asked("ipo", method=origin, methods=origin)
