"""The decision of a run as another tool's configuration, with the data file that it needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ...errors import ProbeError
from ...files import protect_also, writable, write_text
from ...number_format import count
from ...pairs.fields import parse_fields
from ...pairs.formats import is_still
from ...pairs.read import Reading, read_pairs
from ...pairs.record import Pair
from ...records import Decision, Run, stage_values
from ...runs import save_rows
from .job import Exported, Job, data_name
from .reference import Reference, model_reference
from .rows import MakeRow, Rendering, handed, with_options
from .split import TestSplit, test_split, unscored
from .tools import ABLE, SPLITTING, TOOLS, lacking


def write_configs(
    run: Run, tool: str, directory: Path, pairs: Path | None = None, with_model: bool = False
) -> list[Path]:
    """Write one config and one data file per stage into `directory`; returns the configs, in order of use.

    `with_model` copies a model that no hub has (the embedded one) beside them. `pairs` is the file that was
    gated, where it has moved. Raises `ProbeError` for an unknown tool, a decision that trains nothing, a
    stage, a turn or an option that the tool lacks, and a pair file that has changed since the gate.
    """
    if tool not in TOOLS:
        near = get_close_matches(tool, TOOLS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Use {', '.join(TOOLS)}."
        raise ProbeError(f"--to {tool}: unknown. {hint}")
    decision = _trainable(run)
    source = _unchanged(run, pairs)
    options = _options(run, source, tool)
    named = (
        Reference("")
        if tool == "openai"
        else model_reference(run.inputs.get("model") or {}, directory, with_model)
    )
    parts = test_split(run, _pairs(run, source), tool, tool in SPLITTING)
    jobs = _jobs(run, decision, named, "tools" in options, len(parts.test))
    for job in jobs:
        if job.stage not in ABLE[tool]:
            raise lacking(tool, job)
    made = [(job, TOOLS[tool](job)) for job in jobs]
    rendering = _rendering(run)
    exported = [(job, replace(one, row=_full(one.row, tool, options, rendering))) for job, one in made]
    protect_also(source)
    for path in _targets(exported, directory, parts):
        writable(path)  # before the first is written
    _write_beside([one for _, one in exported], directory)
    wrote = [_write(job, one, run, decision, source, directory, parts) for job, one in exported]
    for path in earlier(directory, {job.stage for job in jobs}):
        print(f"{path}: of an earlier export, and no stage of this one.", file=sys.stderr)
    return wrote


def _targets(exported: Sequence[tuple[Job, Exported]], directory: Path, parts: TestSplit) -> Iterator[Path]:
    """Every file that an export writes."""
    for job, made in exported:
        yield from (directory / name for name in made.beside)
        yield from (directory / data_name(job, split) for split in _splits(parts))
        yield directory / _config_name(job, made)


def _splits(parts: TestSplit) -> tuple[str, ...]:
    return ("train", "test") if parts.written else ("train",)


def _config_name(job: Job, made: Exported) -> str:
    return f"{job.stage}.{'json' if _hosted(made) else 'yaml'}"


def _hosted(made: Exported) -> bool:
    return "training_file" in made.settings


def earlier(directory: Path, stages: Collection[str]) -> list[Path]:
    """Configs that an export has written into `directory` for other stages than these."""
    names = sorted(set().union(*ABLE.values()) - set(stages))
    found = [directory / f"{stage}.{ending}" for stage in names for ending in ("yaml", "json")]
    return [path for path in found if path.is_file() and _is_own(path)]


def _is_own(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(400)
    return head.startswith(f"{HEAD} {path.stem} of ") or '"training_file"' in head


def _pairs(run: Run, source: Path) -> Reading:
    fields = parse_fields(run.config.get("fields"))
    return read_pairs(source, fields=fields, skip_bad=bool(run.config.get("skip_bad")))


def _kept(run: Run, source: Path) -> Iterator[Pair]:
    """The pairs that are trained on: all but those that could not be scored."""
    left_out = unscored(run)
    return (pair for pair in _pairs(run, source) if pair.line not in left_out)


def _options(run: Run, source: Path, tool: str) -> frozenset[str]:
    """What any row hands to the chat template; nothing where no chat template is used."""
    return frozenset(name for pair in _kept(run, source) for name in handed(pair, tool))


def _rendering(run: Run) -> Rendering:
    asked, model = run.config.get("template") or "auto", run.inputs.get("model") or {}
    special = tuple(map(str, model.get("special_tokens") or ()))
    return Rendering(_template(run), asked in ("auto", "chat"), special)


def _template(run: Run) -> str:
    return str((run.inputs.get("model") or {}).get("template") or run.config.get("template") or "chat")


def _full(row: MakeRow, tool: str, options: frozenset[str], rendering: Rendering) -> MakeRow:
    """The rows of a tool with tools and template options, where any pair has them."""

    def made(pair: Pair, template: str) -> dict[str, Any]:
        rendering.check(pair, tool)
        plain = row(pair, template)
        if template != "chat":
            return plain
        return with_options(plain, pair, tool, options)

    return made


def _trainable(run: Run) -> Decision:
    if run.decision is None:
        raise ProbeError(f"the run of `probe {run.command}` holds no decision. Give one of `probe gate`.")
    if not run.decision.stages:
        why = run.decision.reasons[0].text if run.decision.reasons else ""
        raise ProbeError(f"the decision is {run.decision.method}, so there is nothing to export. {why}")
    return run.decision


def _unchanged(run: Run, moved: Path | None) -> Path:
    gated = run.inputs.get("pairs") or {}
    path = moved or Path(str(gated.get("path")))
    if is_still(path, gated.get("sha256")):
        return path
    if not path.exists():
        raise ProbeError(f"{path}: not there. Name the gated pair file with --pairs.")
    raise ProbeError(f"{path}: changed since it was gated. Run `probe gate` again.")


def _jobs(run: Run, decision: Decision, named: Reference, tools: bool, tested: int) -> list[Job]:
    """A job per stage; each starts from what the one before trained. `tested` pairs are not trained on."""
    model: Mapping[str, Any] = run.inputs.get("model") or {}
    template = _template(run)
    length = run.config.get("max_length") or (run.inputs.get("scores") or {}).get("max_length")
    n = int((run.inputs.get("pairs") or {}).get("n") or 0) - tested - len(unscored(run))
    start, revision, adapter = named.name, named.revision, named.adapter
    jobs: list[Job] = []
    for stage in decision.stages:
        values = stage_values(decision, stage)
        dtype = str(model.get("dtype") or "float32")
        before = jobs[-1] if jobs else None
        jobs.append(Job(stage, values, start, template, length, dtype, n, revision, tools, adapter, before))
        start, revision, adapter = jobs[-1].trained, None, None
    return jobs


def _write_beside(exported: Sequence[Exported], directory: Path) -> None:
    """Each file that stands beside the configs once, with what every stage has in it."""
    whole: dict[str, dict[str, Any]] = {}
    for made in exported:
        for name, content in made.beside.items():
            whole.setdefault(name, {}).update(content)
    for name, content in whole.items():
        write_text(directory / name, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _write(
    job: Job,
    made: Exported,
    run: Run,
    decision: Decision,
    source: Path,
    directory: Path,
    parts: TestSplit,
) -> Path:
    """One config and its data: a file of the pairs that are trained on, and one of the test split."""
    for name in _splits(parts):
        wanted = name == "test" and bool(parts.test)
        kept = (pair for pair in _kept(run, source) if (pair.line in parts.test) is wanted)
        save_rows((made.row(pair, job.template) for pair in kept), directory / data_name(job, name))
    path = directory / _config_name(job, made)
    if _hosted(made):  # JSON has no comments: the request must be sent as it stands
        write_text(path, json.dumps(made.settings, indent=2) + "\n")
        for line in [*_left_out(run), *filter(None, [parts.told])]:
            print(f"{path}: {line}", file=sys.stderr)
    else:
        head = _comments(job, made, run, decision, parts)
        write_text(path, as_yaml(made.settings, head, made.nulls))
    return path


def _comments(job: Job, made: Exported, run: Run, decision: Decision, parts: TestSplit) -> list[str]:
    """The head of a config: where it comes from, why, and how it is run."""
    return [
        f"{HEAD.removeprefix('# ')} {job.stage} of {decision.method}, {_origin(run)} on {run.created}.",
        *(f"{reason.code}: {reason.text}" for reason in decision.reasons),
        f"Values: {str(job.values.get('source', '')).replace(BEST_KEPT, LAST_KEPT)}.",
        *made.notes,
        *_left_out(run),
        *([UNCUT] if job.max_length is None and not made.nulls else []),
        *filter(None, [parts.told]),
        *([NO_END] if made.settings.get("template") == "empty" else []),
        *_merging(job, made),
        f"Run in this directory: {made.command}",
    ]


def _left_out(run: Run) -> list[str]:
    """How many pairs are not in the data, and why."""
    whys: Mapping[str, int] = (run.inputs.get("scores") or {}).get("excluded_why") or {}
    told = "; ".join(f"{why} ({n:,})" for why, n in whys.items())
    n = len(unscored(run))
    return (
        [f"{count(n, 'pair')} that could not be scored left out, as `probe train` does: {told}."] if n else []
    )


HEAD = "# Stage"  # how every config that has comments begins
UNCUT = (
    "No response was cut when this was measured, and this tool cuts at a length of its own where none is "
    "set: set one that holds the longest."
)

# A recipe's source speaks of `probe train`; no config that is written here evaluates or chooses an epoch.
BEST_KEPT = "best epoch kept"
LAST_KEPT = "the last epoch is kept, where `probe train` keeps the best"


def _merging(job: Job, made: Exported) -> list[str]:
    """How the model of this stage is made, where the stage before left an adapter."""
    if job.before is None or not job.before.lora:
        return []
    return [
        f"Before this stage, merge the adapter in {job.before.output} into its model, as {job.model}:",
        made.merge(job.before),
    ]


# Of LLaMA-Factory's form for text without a chat template.
NO_END = (
    "Its template `empty` writes no end token, so none is trained, where one was measured: end every answer "
    "with the tokenizer's own if the model is to stop."
)


def _origin(run: Run) -> str:
    return "decided by probe gate" if run.command == "gate" else f"as run by probe {run.command}"


def as_yaml(values: Mapping[str, Any], comments: Sequence[str] = (), nulls: Sequence[str] = ()) -> str:
    """`values` as YAML in their order, None left out but of those named in `nulls`, after `comments`.

    All is ASCII: PyYAML does not read back some characters that it writes as they are (U+0085 in a key).
    """
    head = [f"# {line}".rstrip() for comment in comments for line in comment.splitlines()]
    given = {key: value for key, value in values.items() if value is not None or key in nulls}
    body = yaml.safe_dump(given, sort_keys=False, default_flow_style=None, width=1000)
    return "\n".join([*head, body])
