"""`probe` from Python: the same measurements as the commands, on files, lists or datasets and loaded models.

    import probe
    run = probe.gate(dataset, model, tokenizer)
    if run.verdict.status != "pass":
        print(run)

Every function returns a `Result`. Nothing is written to disk unless `out` names a directory; a model that is
handed in comes back as it was. Importing this module loads neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

from .api_inputs import (
    Loading,
    Model,
    Pairs,
    listed,
    log_file,
    model_at_hand,
    model_options,
    pair_file,
    pair_source,
    session_of,
    session_on,
    under_settings,
    with_further,
)
from .api_result import Result as Result
from .api_result import result_of
from .shared_limits import BOUND


@under_settings
def bias(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    alpha: float = 0.05,
    bound: float = BOUND,
    templates: str = "auto",
    corrected: bool = True,
    stop_early: bool = False,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """Which side of each pair `model` already prefers; `probe bias`. Gaps in nats/token.

    Raises `ProbeError` for bad input and `CannotMeasure` for numbers that are not finite.
    """
    from .probes.bias.run import BiasOptions, measure_bias_in

    options = BiasOptions(alpha, bound, templates, corrected, stop_early, seed)
    with session_on(pairs, model, tokenizer, seed, how, served=True) as session:
        measured = measure_bias_in(session, options)
        return result_of(measured.run, out, pairs, tuple(measured.rows))


@under_settings
def data(
    pairs: Pairs,
    model: str | None = None,
    *,
    against: Pairs = None,
    template: str = "auto",
    max_length: int | None = None,
    fields: str | None = None,
    out: str | Path | None = None,
) -> Result:
    """Whether the pairs themselves are sound; `probe data`. `model` names a tokenizer; no weights load."""
    from .probes.data.run import DataRequest, check_data

    with pair_file(pairs) as path, ExitStack() as stack:
        other = stack.enter_context(pair_file(against)) if against is not None else None
        request = DataRequest(path, fields, other, model, template, max_length, None, templates=True)
        return result_of(check_data(request), out, pairs)


@under_settings
def show(
    pairs: Pairs,
    model: str | None = None,
    *,
    lines: Iterable[int] = (),
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """What `model` reads of each pair, token by token; `probe show`. `model` names one; no weights load.

    `lines` are lines of a file, or numbers from 1 of pairs in memory; without them all pairs are shown.
    `rows` are those of `--format json`: context, scored ids, end token, flags.
    """
    from .probes.show import measure_show, shown_ids

    with pair_file(pairs) as path:
        run = measure_show(pair_source(path, how), model_options(model, how), tuple(lines), first=False)
        return result_of(run, out, pairs, tuple(shown_ids(run)))


@under_settings
def negatives(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    strip: bool = False,
    surface: bool = True,
    states: bool = True,
    alone: bool = True,
    gradients: int = 0,
    samples: int = 0,
    most: int = 300,
    numerics: bool = True,
    method: str = "dpo",
    learning_rate: float = 5e-6,
    beta: float = 0.1,
    train_dtype: str = "float32",
    full: bool = False,
    fused: bool = False,
    alpha: float = 0.05,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """How trivial the rejected side is, what can be learnt from it and who wrote it; `probe negatives`.

    `options` sets further fields of `probes.negatives.work.NegativesOptions`, such as `{"permutations": 99}`.
    """
    from .probes.negatives.run import measure_negatives
    from .probes.negatives.work import negatives_options

    chosen = negatives_options(
        alpha=alpha, seed=seed, strip=strip, surface=surface, states=states, alone=alone, gradients=gradients,
        samples=samples, most=most, numerics=numerics, method=method, learning_rate=learning_rate, beta=beta,
        train_dtype=train_dtype, full=full, fused=fused,
    )  # fmt: skip
    chosen = with_further(chosen, options)
    with pair_file(pairs) as path, model_at_hand(model, tokenizer, how) as loaded:
        asked = model_options(model, how, tokenizer)
        return result_of(measure_negatives(pair_source(path, how), asked, chosen, loaded).run, out, pairs)


@under_settings
def trial(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    method: str = "dpo",
    methods: Sequence[str] = (),
    most: int = 128,
    steps: int = 24,
    samples: int = 2,
    learning_rate: float | None = None,
    beta: float | None = None,
    batch: int | None = None,
    alpha: float = 0.05,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """Whether a few LoRA steps learn something that holds on unseen pairs; `probe trial`.

    `most` is the flag `--pairs`; `options` sets further fields of `probes.trial.options.TrialOptions`. With
    answers that have a label each, the run is one of KTO. The model has its own weights again afterwards.
    """
    from .gate.whole import answers_tried
    from .pairs.unpaired import is_unpaired
    from .probes.trial.asked import trial_options
    from .probes.trial.run import trial_in

    with pair_file(pairs) as path, model_at_hand(model, tokenizer, how) as loaded:
        source = pair_source(path, how)
        if path.exists() and is_unpaired(path, source.fields):
            given = {
                **how, "methods": listed("methods", methods), "pairs": most, "samples": samples,
                "options": options, "learning_rate": learning_rate, "beta": beta, "batch": batch,
                "method": method,
            }  # fmt: skip
            asked = model_options(model, how, tokenizer)
            run = answers_tried(source, asked, given, alpha=alpha, seed=seed, steps=steps, loaded=loaded)
            return result_of(run, out, pairs)
        chosen = trial_options(
            method=method, methods=listed("methods", methods), most=most, steps=steps, samples=samples,
            learning_rate=learning_rate, beta=beta, batch=batch, alpha=alpha, seed=seed,
        )  # fmt: skip
        chosen = with_further(chosen, options)
        session = session_of(path, model, tokenizer, seed, how, loaded)
        return result_of(trial_in(session, chosen), out, pairs)


@under_settings
def gate(
    pairs: Pairs,
    model: Model = None,
    tokenizer: Any = None,
    *,
    off: Iterable[str] = (),
    thorough: bool = False,
    quick: bool = False,
    budget: str | None = None,
    device_memory: str | None = None,
    inconclusive: str = "fail",
    minimum_n: int = 20,
    goal: str = "auto",
    one_stage: bool = False,
    full: bool = False,
    baseline: str | Path | None = None,
    levers: str | Path | None = None,
    alpha: float = 0.05,
    bound: float = BOUND,
    beta: float = 0.1,
    trial_pairs: int = 128,
    limits: Mapping[str, float | bool] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    **how: Unpack[Loading],
) -> Result:
    """Every probe, one verdict and one recommendation; `probe gate`. `off` names probes not to run.

    `pairs` can be answers with a label each, or a saved run, which is judged again. `limits` replaces limits
    of conditions, as `[gate.limits]` of a config file does, and is refused where that would be.
    """
    from .gate.beforehand import check_asked
    from .gate.registry import PROBES
    from .gate.settings import GateOptions, is_run, named_limits
    from .gate.whole import gate_answers, gate_pairs, gate_saved, refuse_measuring
    from .pairs.unpaired import is_unpaired
    from .probes.gated import GateRequest, extent

    judging = GateOptions(
        alpha, bound, minimum_n, inconclusive, goal, one_stage, full, Path(baseline) if baseline else None,
        named_limits(limits),
    )  # fmt: skip
    left_out, effort = extent(frozenset(listed("off", off)), thorough=thorough, quick=quick)
    measured = Path(levers) if levers else None
    with pair_file(pairs) as path:
        if is_run(path):
            typed = {
                "model": model, "off": left_out, "thorough": thorough, "budget": budget,
                "device_memory": device_memory, **how,
            }  # fmt: skip
            refuse_measuring(str(path), (f"{name}=" for name, value in typed.items() if value))
            return result_of(gate_saved(path, judging, measured), out, pairs)
        runs = any(probe.model and probe.name not in left_out for probe in PROBES)
        with model_at_hand(model, tokenizer, how, runs=runs) as loaded:
            asked = model_options(model, how, tokenizer)
            source = pair_source(path, how)
            if path.exists() and is_unpaired(path, source.fields):
                given = {
                    **how, "levers": levers, "baseline": baseline, "budget": budget, "goal": goal,
                    "device_memory": device_memory, "one_stage": one_stage, "full": full, "bound": bound,
                    "beta": beta, "trial_pairs": trial_pairs, "thorough": thorough,
                }  # fmt: skip
                run = gate_answers(source, asked, judging, given, seed=seed, off=left_out, loaded=loaded)
                return result_of(run, out, pairs)
            check_asked(budget, device_memory, asked.model)
            session = session_of(path, model, tokenizer, seed, how, loaded, served=True)
            request = GateRequest(
                session.source, asked, how.get("fields"), left_out, alpha, bound, beta, full, seed,
                trial_pairs, effort, judging.limits,
            )  # fmt: skip
            run, rows = gate_pairs(
                request, judging, session=session, budget=budget, device_memory=device_memory,
                levers=measured,
            )  # fmt: skip
            return result_of(run, out, pairs, tuple(rows or ()))


@under_settings
def autopsy(log: str | Path | Sequence[Mapping[str, Any]], *, out: str | Path | None = None) -> Result:
    """What went wrong in a finished run; `probe autopsy`. `log` is a path or a trainer's `log_history`."""
    from .probes.autopsy.diagnose import diagnose, to_run
    from .probes.autopsy.read import read_log

    with log_file(log) as path:
        read = read_log(path)
        return result_of(to_run(read, diagnose(read)), out, None)
