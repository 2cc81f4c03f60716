"""What is installed, what is imported, and how fast the command starts."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from probe.files import sources
from probe.runs import save_run

ROOT = Path(__file__).parents[1]
LIGHT = ("pairs", "stats", "gate", "reports", "probes", "commands")
# The modules of light rooms that run a model; whoever wants their numbers imports them inside a function.
# A probe's `run.py` always does; these are the others.
HEAVY = {
    *("probes/contexts.py", "probes/negatives/read.py", "probes/negatives/states.py"),
    *("probes/numerics/first_step.py", "probes/trainer/read.py", "probes/trainer/step.py"),
    *("probes/trial/bench.py", "probes/trial/course.py", "probes/trial/options.py", "probes/trial/asked.py"),
    "probes/trial/arithmetic.py",
    *("probes/bias/again.py", "probes/bias/looks.py", "probes/unpaired/model.py", "probes/unpaired/trial.py"),
}

WITHOUT_MODEL = """import sys
from probe.__main__ import MODEL, main
class Absent:
    def find_spec(self, name, *_):
        if name.split(".")[0] in MODEL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def probe(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "probe", *arguments], capture_output=True, text=True, **options
    )


def test_the_wheel_holds_every_module_and_bundled_file(tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(
        ROOT,
        tree,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", "build", ".probe", "__pycache__", "*.egg-info", ".*_cache"
        ),
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(tree),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("prefprobe-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("*.py", "*.jsonl", "*.j2", "*.css", "*.js", "py.typed", "run-*.json")
    for folder in {module.parent for module in sources(ROOT)}:
        for file in (file for kind in kinds for file in folder.glob(kind) if file.name != "setup.py"):
            assert str(Path("probe", file.relative_to(ROOT))) in inside
    assert not [name for name in inside if "/tests/" in name or "/bench/" in name or "/docs/" in name]


def test_no_module_is_loaded_twice():
    """The root is the package: a second name for a file would give two classes of everything in it."""
    files = python(
        "import json, sys, probe.cli, probe.pairs.read, probe.gate, probe.probes\n"
        "print(json.dumps([m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)]))"
    )
    ours = [str(Path(f).resolve()) for f in json.loads(files) if "probe" in f]
    assert len(ours) == len(set(ours))
    for module in list(sys.modules.values()):
        file = Path(getattr(module, "__file__", None) or "/")  # torch has two with a bare name: "_ops.py"
        if not file.is_absolute():
            continue
        file = file.resolve()
        outside = {"tests", "bench", "docs", ".venv"}
        if file.is_relative_to(ROOT) and not outside.intersection(file.relative_to(ROOT).parts):
            assert module.__name__.split(".")[0] in ("probe", "__main__")


@pytest.mark.parametrize("room", LIGHT)
def test_light_rooms_load_without_torch(room):
    files = [file.relative_to(ROOT) for file in sources(ROOT / room)]
    modules = [
        ".".join(("probe", *f.with_suffix("").parts))
        for f in files
        if str(f) not in HEAVY and f.name != "run.py"
    ]
    loaded = python(
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("arguments", [("--help",), ("bias", "--help"), ("explain", "--all"), ("--version",)])
def test_what_needs_no_model_starts_without_torch(arguments):
    code = (
        "import sys\nfrom probe.__main__ import main\n"
        f"sys.argv = ['probe', *{arguments!r}]\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'transformers', 'scipy', 'sklearn') if m in sys.modules])"
    )
    assert python(code).strip().endswith("[]")


def test_what_runs_no_model_is_in_the_base(tmp_path, gate_run):
    """Files are checked and saved runs judged and shown where the extra `model` is not installed."""
    saved = save_run(gate_run, tmp_path / "run")
    pairs = ROOT / "pairs/low_contrast.jsonl"
    for arguments in (
        ["data", pairs, "--out", tmp_path / "data"],
        ["data", "--check", pairs],
        ["gate", saved, "--out", tmp_path / "gate"],
        ["report", saved, "--format", f"html={tmp_path / 'x.html'}"],
        ["explain", "PB120"],
        ["autopsy", ROOT / "docs/cases/collapse.jsonl", "--out", tmp_path / "autopsy"],
        ["bias", pairs],
        ["show", pairs],  # the tokenizer alone
        ["effects", pairs, "--no-traits"],
    ):
        code = WITHOUT_MODEL + f"sys.argv = ['probe', *{list(map(str, arguments))!r}]\nsys.exit(main())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        if arguments[0] in ("bias", "show", "effects"):
            assert done.returncode == 2 and "pip install 'prefprobe[model]'" in done.stderr
            assert re.search(r"this needs \w+, which is not installed", done.stderr), done.stderr
        else:
            assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr


def test_the_base_requires_nothing_that_runs_a_model():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in project["dependencies"]}
    extra = {re.split(r"[^\w-]", line)[0] for line in project["optional-dependencies"]["model"]}
    assert not names & {"torch", "transformers", *extra}
    assert {"torch", "transformers", "peft", "accelerate", "safetensors", "gguf"} <= extra
    assert project["optional-dependencies"]["judge"] == []


def test_what_is_to_be_installed_is_this_distribution_and_an_extra_of_it():
    """The import is `probe`; a distribution of that name is another project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [path.read_text() for path in (*sources(ROOT), *ROOT.glob("docs/**/*.md"), ROOT / "README.md")]
    found = [m for t in texts for m in re.findall(r"pip install (?:-U )?[\"']?([\w.-]+)\[(\w+)\]", t)]
    assert len(found) > 5
    assert {name for name, _ in found} <= {project["name"], "."} and {extra for _, extra in found} <= set(
        extras
    )


def test_help_starts_in_under_three_tenths_of_a_second(tmp_path):
    """In processor time, the best of several: wall time on a busy machine is not ours.

    With compiled modules, as an installation has them; the first start compiles.
    """
    cached = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    cached["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    spent = []
    for _ in range(4):
        before = _children_seconds()
        assert probe("--help", env=cached).returncode == 0
        spent.append(_children_seconds() - before)
    assert min(spent) < 0.3


def _children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
