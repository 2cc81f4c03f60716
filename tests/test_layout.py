"""The tests stand where the code stands: a folder of tests for every folder of the package, and no other."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CROSS = {"helpers", "hostile", "bench", "docs"}  # fixtures, whole-program tests, and what is not installed
ELSEWHERE = {"probes", "probes/trainer"}  # what probes share; a trainer's set-up: tests/test_preflight.py
PACKAGES = sorted(
    path.parent.relative_to(ROOT)
    for room in ("commands", "gate", "pairs", "probes", "reports", "scoring", "stats", "training")
    for path in (ROOT / room).rglob("__init__.py")
)


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_package_has_its_tests(package):
    if str(package) in ELSEWHERE:
        pytest.skip("its tests stand with those of what uses it")
    assert list((ROOT / "tests" / package).glob("test_*.py")), f"no tests/{package}/test_*.py"


def test_no_folder_of_tests_is_left_behind():
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    own = {folder for folder in folders if folder.parts and folder.parts[0] not in CROSS}
    assert own <= set(PACKAGES)
