"""A saved run that is judged again says by what: settings, tables and the command line are those of now."""

from pathlib import Path

import pytest

from probe.runs import load_run

SAVED = Path(__file__).parents[1] / "reports/stored/case-small-data-1.json"


def test_the_settings_and_the_command_line_are_those_of_the_judgement(probe, tmp_path):
    words = ["gate", str(SAVED), "--inconclusive", "warn", "--alpha", "0.2", "--minimum-n", "5"]
    done = probe(*words, "--out", "again")
    assert done.code == 0, done.err
    run, measured = load_run(Path("again")), load_run(SAVED)
    assert (run.config["inconclusive"], run.config["minimum_n"]) == ("warn", 5)
    assert run.config["origins"]["minimum_n"] == "flag"
    assert run.config["alpha"] == measured.config["alpha"] and run.details["judged_alpha"] == 0.2
    assert run.environment["argv"] == ["probe", *words, "--out", "again"]
    left = {k: v for k, v in run.config.items() if k not in ("inconclusive", "minimum_n", "origins")}
    assert left.items() <= measured.config.items()
    back = probe("gate", "again", "--out", "back")
    assert back.code == 1 and load_run(Path("back")).config["inconclusive"] == "fail"
    assert "judged_alpha" not in load_run(Path("back")).details


def test_the_tables_of_the_config_file_are_those_of_the_judgement(probe):
    Path("probe.toml").write_text('[[accept]]\ncode = "PB501"\nreason = "known"\n[gate.limits]\ngap = 9\n')
    assert probe("gate", str(SAVED), "--out", "with").code in (0, 1)
    held = load_run(Path("with")).config
    assert held["gate.limits"] == {"gap": 9} and held["accept"][0]["code"] == "PB501"
    Path("probe.toml").unlink()
    assert probe("gate", "with", "--out", "without").code in (0, 1)
    assert not {"gate.limits", "accept"} & load_run(Path("without")).config.keys()


@pytest.mark.parametrize("bound", ["0.3", "0.1"])
@pytest.mark.parametrize("more", [[], ["--baseline", str(SAVED)]])
def test_a_bound_is_refused_where_nothing_is_held_against_it(probe, more, bound):
    """The shipped one too, once it is typed: the run may have been measured with another."""
    done = probe("gate", str(SAVED), "--bound", bound, *more)
    refused = f"--bound {bound} does nothing for a saved run without --baseline" in done.err
    assert (done.code == 2) == refused == (not more)
