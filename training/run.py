"""The run behind `probe train`: scores, split, stages, the same pairs again, what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import config
from ..errors import ProbeError
from ..files import sha256_file
from ..pairs.record import Pair
from ..records import Decision, Estimate, Finding, Reason, Run, stage_values
from ..reports.tally import Tally
from ..runs import check_gated_model, environment, now
from ..scoring.identity import identity
from ..scoring.processes import exchange, rank, world
from ..scoring.scores import PairScore
from ..scoring.service import Scorer
from ..scoring.session import ModelOptions, Session, Source, score_row
from ..scoring.told import met_findings
from .before_after import before_after_rows
from .behaviour import Sampling
from .checks import LORA_VALUES, check_constants, check_device, check_lora, check_options
from .data import Example, examples, split_by_prompt
from .held_out import write_held_out
from .methods import stages_of
from .moved import Watch
from .plan import Material, Options
from .policy import adapter_values
from .recipes import Recipe, of_values, recipe
from .resumed import claim, run_directory
from .stages import Trained, encoded_texts, train_stages
from .texts import read_texts

REMEDIES = {
    "PB801": "The weights are those before the step. See the numerics in `probe explain PB801`.",
    "PB802": "Look at the log-probs and gradient norms of the log for NaN.",
    "PB803": "Train again with a smaller learning rate, or with dpop or dpo_nll.",
    "PB806": "There is nothing more to learn from these pairs; see `probe negatives`.",
    "PB807": "The best state is in place; more pairs would help, more steps would not.",
    "PB808": "Mix general text in with --replay FILE.",
}


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What is trained and how; `changes` overrides recipe values of every stage."""

    method: str = "dpo"
    full: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    held_out: float = 0.2
    replay: Path | None = None
    watch: Path | None = None
    checkpointing: bool = False
    alpha: float = 0.05
    samples: int = 2  # a held-out prompt, before and after; 0: behaviour is not looked at
    loop: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A finished run, the rows of its `scores.jsonl` (held-out pairs, after) and where its weights are."""

    run: Run
    rows: Iterable[Mapping[str, Any]]
    directory: Path
    main: bool  # this process writes the report


def recipes_for(
    options: TrainOptions, parameters: int | None, n: int, decision: Decision | None = None,
    *, wanted: int | None = None, adapter: Mapping[str, Any] | None = None,
) -> list[Recipe]:  # fmt: skip
    """One recipe a stage: the decision's values where there is one, the shipped ones else; changes win.

    `n` rows are trained on; of unpaired answers SFT takes those alone that are `wanted`.
    `adapter`: `adapter_values` of the model, with which LoRA goes on whatever a recipe says. The epochs are
    those that `--steps` comes to, where that is given: the report shows what was run.
    """
    rows = {} if wanted is None else {"sft": wanted}
    if decision is not None:
        given = [of_values(stage, stage_values(decision, stage)) for stage in decision.stages]
    else:
        stages = stages_of(options.method, unpaired=wanted is not None)
        given = [recipe(stage, parameters, n=rows.get(stage, n), full=options.full) for stage in stages]
    check_constants(options.changes, [one.method for one in given])
    check_lora(options.changes, full=given[0].full, adapter=bool(adapter))
    own = {} if given[0].full else adapter or {}
    unread = LORA_VALUES if given[0].full or own else ()
    changes = {**options.changes, **dict.fromkeys(unread)}
    made = [_typed(one, changes).with_values(own) for one in given]
    if options.loop.steps is None:
        return made
    return [_of_steps(one, options.loop.steps, rows.get(one.method, n)) for one in made]


def _of_steps(one: Recipe, steps: int, n: int) -> Recipe:
    return replace(one, epochs=round(steps / -(-n // one.batch), 3))


def _recipes(options: TrainOptions, session: Session, n: int, decision: Decision | None) -> list[Recipe]:
    loaded = session.loaded
    own = adapter_values(loaded.model)
    return recipes_for(options, loaded.facts.get("parameters"), n, decision, adapter=own)


def _typed(one: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with what was typed, which its source then names: it is not the source's own."""
    made = one.with_values(changes)
    before, after = one.facts(), made.facts()
    names = [name.replace("_", " ") for name in after if after[name] != before[name]]
    return replace(made, source=f"{made.source}; as typed: {', '.join(names)}") if names else made


def train_run(
    source: Source, how: ModelOptions, options: TrainOptions, directory: Path | None = None,
    decision: Decision | None = None, gated: Run | None = None,
) -> TrainedRun:  # fmt: skip
    """Train on the file's pairs and measure what changed on those held out by prompt.

    `decision` (of `probe gate`) replaces `options.method` and its recipe; `gated` is the run that it rests
    on, which must have measured the same weights. Raises `ProbeError` for bad input,
    `CannotMeasure` for numbers or disks that fail, `KeyboardInterrupt` after a checkpoint.
    """
    created = now()
    stages = decision.stages if decision else stages_of(options.method)
    if options.replay and "sft" not in stages:
        raise ProbeError(
            f"--replay: texts are mixed into SFT batches, and {options.method} has no SFT stage."
        )
    check_options(options.changes, options.loop, options.held_out)
    texts = [read_texts(path) if path else [] for path in (options.replay, options.watch)]
    directory = run_directory(source.path, created, options.loop.resume, directory)
    # Trainable weights are float32; LoRA may sit on a model of any dtype.
    session = Session.open(source, how if how.dtype or not options.full else replace(how, dtype="float32"))
    check_device(options.loop.mixed_precision, session.loaded.device.type)
    if gated is not None:
        check_gated_model(gated, session.loaded.facts)
    pairs = list(source.pairs())
    scores = list(session.scores(tally=Tally(source.sides)))
    train_items, held_out = split_by_prompt(
        examples(pairs, session.encoder, scores), options.held_out, options.loop.seed
    )
    recipes = _recipes(options, session, len(train_items), decision)
    # The processes of a run start in different seconds: the first one's place is everyone's.
    directory = exchange(directory, cpu=session.loaded.device.type == "cpu")[0]
    claimed = claim(directory, source.path, recipes, options.loop, resume_identity(session, options))
    if not rank():
        write_held_out(source.path, directory, {item.line for item in held_out})
    plain = session.scorer.plain()
    watch = _watch(session, options, held_out, plain)
    trained = train_stages(
        session.loaded, recipes, _material(session, texts, train_items, held_out), options.loop, directory,
        plain=plain,
        checkpointing=options.checkpointing,
        fingerprint=claimed,
    )  # fmt: skip
    before, after = _held_out_scores(session, trained, pairs, scores, held_out)
    changed = before_after_rows(before, after, [item.prompt for item in held_out], options.alpha)
    estimates = tuple(_estimates(changed, len(after)))
    moved = watch.after(trained.loaded, train_items, options.alpha) if watch else None
    rows = [watch.row(moved, "+".join(r.method for r in recipes), estimates[0])] if watch and moved else []
    run = Run(
        command="train",
        created=created,
        decision=as_run(decision, recipes),
        estimates=(*estimates, *(moved.estimates if moved else ())),
        findings=(*guard_findings(trained), *met_findings(session)),
        inputs={**session.inputs(), "split": {"train": len(train_items), "held_out": len(held_out)}},
        config=config.current(),
        environment=environment(),
        details={"training": trained.details(), "before_after": changed} | ({"race": rows} if rows else {}),
    )
    return TrainedRun(run, map(score_row, after), directory, rank() == 0)


def _watch(session: Session, options: TrainOptions, held_out: Sequence[Example], plain: bool) -> Watch | None:
    """What the starting model writes on held-out prompts; None where it is not asked for.

    Processes that share the weights between them cannot each sample: behaviour is then not looked at.
    """
    if not options.samples or world() > 1:
        return None
    how = Sampling(samples=options.samples, seed=options.loop.seed)
    watch = Watch(session.loaded, session.encoder, held_out, how, plain)
    watch.before()
    return watch


def _material(
    session: Session, texts: Sequence[Sequence[Pair]], train: Sequence[Example], held_out: Sequence[Example]
) -> Material:
    replay, watch = (encoded_texts(given, session.encoder) for given in texts)
    return Material(train, held_out, replay, watch)


def _held_out_scores(
    session: Session, trained: Trained, pairs: Sequence[Pair], scores: Sequence[PairScore],
    held_out: Sequence[Example],
) -> tuple[list[PairScore], list[PairScore]]:  # fmt: skip
    """The held-out pairs' scores by the starting and by the tuned model, both in the file's order."""
    lines = {item.line for item in held_out}
    trained.loaded.model.eval()
    again = Scorer(trained.loaded, session.encoder, None, proof=session.scorer.proof)
    after = list(again.scores(pair for pair in pairs if pair.line in lines))
    return [score for score in scores if score.line in lines], after


def resume_identity(session: Session, options: TrainOptions) -> dict[str, Any]:
    """What a resumed training must have in common with the one that it goes on from, beside its recipe."""
    return {
        "held_out": options.held_out,
        "replay_sha256": sha256_file(options.replay) if options.replay else None,
        "watch_sha256": sha256_file(options.watch) if options.watch else None,
        "mixed_precision": options.loop.mixed_precision,
        "pairs_sha256": session.survey.facts["sha256"],
        "reading": [dict(session.source.fields), list(session.source.sides), session.source.skip_bad],
        **identity(session.loaded, session.encoder),
    }


def as_run(decision: Decision | None, recipes: Sequence[Recipe]) -> Decision:
    """The decision with the recipe that was run; without one, what was asked for in that form."""
    if decision is None:
        reason = Reason("", "asked for with --method", recipes[0].source)
        methods = tuple(one.method for one in recipes)
        decision = Decision("+".join(methods), methods, {}, (reason,))
    several = len(recipes) > 1
    values = {
        f"{one.method}.{key}" if several else key: value
        for one in recipes
        for key, value in one.facts().items()
        if key != "method" and not (one.full and key in LORA_VALUES)
    }
    return replace(decision, hyperparameters={**decision.hyperparameters, **values})


def _estimates(changed: Sequence[Mapping[str, Any]], n: int) -> Iterable[Estimate]:
    """The changes over all pairs; the first is that of the share ranked right per token."""
    ranked = next(row for row in changed if row["group"] == "all" and row["units"] == "share")
    yield Estimate(
        "ranking_change", ranked["change"], ranked["low"], ranked["high"], n, ranked["p"], "paired", "share"
    )
    for row in changed:
        if row["group"] == "all":
            name = f"{row['name'].replace(' ', '_')}_change"
            yield Estimate(name, row["change"], row["low"], row["high"], n, row["p"], "paired", row["units"])


def guard_findings(trained: Trained, remedies: Mapping[str, str] = REMEDIES) -> Iterable[Finding]:
    """What the guard saw, once a code and stage, by name where there are several: stops as warnings, the rest
    as information."""
    seen: set[tuple[int, str]] = set()
    several = len(trained.results) > 1
    events = [(i, event) for i, result in enumerate(trained.results) for event in result.events]
    for i, event in sorted(events, key=lambda found: found[1].action == "warn"):
        if (i, event.code) not in seen:
            seen.add((i, event.code))
            severity = "info" if event.action == "warn" else "warning"
            remedy = remedies.get(event.code, f"See `probe explain {event.code}`.")
            stage = f"{trained.recipes[i].method}, " if several else ""
            text = f"{stage}step {event.step}: {event.text}"
            yield Finding(event.code, severity, text, remedy)  # type: ignore[arg-type]
