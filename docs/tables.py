"""Writes decision-table.md, config.md and glossary.md from the tables in the code: `python docs/tables.py`.

tests/docs/test_tables.py fails when a page has fallen behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from probe.config import ACCEPT_KEYS, NEVER_IN_FILE, Key
from probe.gate.conditions import CONDITIONS, LIMIT_KEYS
from probe.gate.table import AGAINST, LEARNS, NOTES, ROWS
from probe.gate.thresholds import THRESHOLDS
from probe.glossary import TERMS
from probe.training.methods import METHODS
from probe.training.shipped import RECIPES

DOCS = Path(__file__).parent


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; None shows as nothing."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def cell(value: object) -> str:
    """One cell: no pipe ends it, no angle bracket opens a tag."""
    return "" if value is None else str(value).replace("|", "\\|").replace("<", "&lt;")


# What stands in many rows, and the words for it that the page explains above the table.
SPOKEN = {
    str(LEARNS): "the trial learns",
    "not (the trial learns)": "the trial does not learn",
    str(AGAINST): "the chosen side is off-policy",
}


def spoken(when: str) -> str:
    """Conditions in the words that the page explains."""
    for long, short in SPOKEN.items():
        when = when.replace(long, short)
    return when


def decision_table() -> str:
    """The page of the decision table."""
    rows = (
        (
            f"**{row.key}**",
            spoken("; ".join(map(str, row.when))),
            f"`{row.method}`" + (f" (loss `{row.loss}`)" if row.loss else ""),
            row.why,
            f"{row.source}. *{row.strength}*",
            row.instead or row.change,
        )
        for row in ROWS
    )
    thresholds = (
        (f"`{name}`", f"{t.value:g}", t.units, t.help, t.provenance) for name, t in THRESHOLDS.items()
    )
    conditions = (
        (
            f"`{r.name}`",
            "no error" if r.sense == "clean" else f"{r.sense} {'off' if r.limit is None else f'{r.limit:g}'}",
            r.probe,
            "yes" if r.gates else "shown only",
            "if measured" if r.optional else "always",
            r.help,
            r.source,
        )
        for r in CONDITIONS
        if not _family(r.name)
    )
    notes = (
        (note.code, "; ".join(map(str, note.when)), ", ".join(note.stages) or "any", note.text, note.source)
        for note in NOTES
    )
    return TEMPLATE.format(
        learns=cell(LEARNS),
        off_policy=cell(AGAINST),
        rows=table(
            ("row", "when", "decision", "because", "source, evidence", "instead, or what changes it"), rows
        ),
        thresholds=table(("threshold", "value", "units", "meaning", "from"), thresholds),
        conditions=table(
            ("condition", "passes", "probe", "gates", "judged", "what", "from"), [*conditions, *families()]
        ),
        notes=table(("code", "when", "stages", "note", "source"), notes),
        recipes=table(("stage", "weights", "up to", "learning rate", "epochs", "loss", "from"), recipes()),
    )


def _family(name: str) -> str:
    return name.partition(":")[0] if ":" in name else ""


def families() -> Iterator[tuple[object, ...]]:
    """A row for all conditions whose names differ after the colon alone."""
    for family in dict.fromkeys(_family(r.name) for r in CONDITIONS if _family(r.name)):
        first = next(r for r in CONDITIONS if _family(r.name) == family)
        what = "; ".join(_member(r.name) for r in CONDITIONS if _family(r.name) == family)
        named = f"{family}:NAME"
        yield f"`{named}`", f"{first.sense} off", first.probe, "yes", "if limited", what, first.source


def _member(name: str) -> str:
    return name.partition(":")[2].replace("_", "-")


def recipes() -> Iterator[tuple[object, ...]]:
    """The shipped hyper-parameters, the variants of DPO after them."""
    for r in RECIPES:
        size = "any size" if r.largest == float("inf") else f"{r.largest / 1e9:g}B"
        loss = ", ".join(f"{k} {v:g}" for k, v in r.loss.items())
        yield f"`{r.stage}`", r.tuning, size, f"{r.learning_rate:g}", r.epochs, loss, r.source
    for stage, method in METHODS.items():
        if method.source:
            loss = ", ".join(f"{k} {v:g}" for k, v in method.values.items())
            yield f"`{stage}`", "", "", f"as `{method.row}`", "", loss, method.source


def config_page() -> str:
    """The page of the config file."""
    return CONFIG.format(
        accept=table(("key", "default", "meaning"), keys(ACCEPT_KEYS)),
        limits=table(("key", "default", "meaning"), keys(k for k in LIMIT_KEYS if not _family(k.name))),
        families="\n".join(_bounds()),
        never=", ".join(f"`{name.replace('_', '-')}`" for name in sorted(NEVER_IN_FILE)),
    )


def _bounds() -> Iterator[str]:
    """The keys of families, which TOML wants in quotes, a line per family."""
    for family in dict.fromkeys(_family(key.name) for key in LIMIT_KEYS if _family(key.name)):
        names = ", ".join(_member(key.name) for key in LIMIT_KEYS if _family(key.name) == family)
        yield f'- `"{family}:NAME"`, off: {names}.'


def keys(table_keys: Iterable[Key]) -> Iterator[tuple[object, ...]]:
    """Rows of a table of keys."""
    for key in table_keys:
        shown = "off" if key.default is None and float in key.types and bool in key.types else key.default
        yield f"`{key.name.replace('_', '-')}`", "" if shown is None else f"`{shown}`", key.help


TEMPLATE = """\
# The decision table

Written by `docs/tables.py` from `gate/table.py`, `gate/thresholds.py`, `gate/conditions.py` and
`training/shipped.py`: what this page says is what the gate does.

The first row that holds decides. What forbids training stands above what recommends it, and rows that
recommend it rest on measured estimates or warnings, never on errors: adding an error finding cannot lead to
more training, and a property test holds that for generated runs. *Above* and *below* mean that the whole
interval is.

In the table *the trial learns* means: {learns}. In other words, samples moved to the chosen kind beyond
chance or, where no judge of samples is sure enough, margins rose beyond chance. *The chosen side is
off-policy* means: {off_policy}.

{rows}

## Thresholds

A limit that the config sets under `gate.limits` replaces the threshold of that name.

{thresholds}

## Notes

Added to the reasons of any decision that trains.

{notes}

## Conditions of the gate

What must be shown passes when it is shown, after Holm's correction over the conditions of that kind; else
it is inconclusive, and says how many more pairs would settle it. What forbids fails when it is shown, and
passes where enough pairs do not show it. What was not run never passes.

{conditions}

## Recipes

The batch is the largest of 8, 16, 32, 64, 128 that leaves 16 steps per epoch (a convention; public runs use
128 on 60,000 pairs). An unknown model size counts as 7B.

{recipes}
"""

CONFIG = """\
# The config file

Written by `docs/tables.py` from the tables in the code.

`probe.toml`, or the table `[tool.probe]` of `pyproject.toml`, in the current directory or the nearest one
above. A flag beats the file, the file beats the default; `--show-config` after any command prints each value
with its origin, and `run.json` keeps both. An unknown key is an error with the nearest known one. A
relative path is seen from where the file lies, if it stands there or begins with a dot.

The keys are the commands' long options without their dashes; each command's page lists its own. What an
option leaves out is set to false: `--no-trial` is `trial = false`; only `no-cache` and `no-model` are keys as
they stand. A key at the top counts for every command that has the option, one in a table of the command's
name for that command alone.
In `pyproject.toml` each table has `tool.probe.` before its name. Never in a file, since they are one-off
acts: {never}.

```toml
model = "org/name"

[trial]
steps = 20

[gate]
inconclusive = "warn"

[gate.limits]
surface-accuracy = 0.85      # a number, or false to leave the condition out

[gate.groups.advice]         # limits for one group of the pairs
trial-accuracy = 0.6

[data.limits]                # see the page of `probe data`
truncated = 0.02

[[accept]]
code = "PB202"
group = "listings"
reason = "the frame is what we teach here"
until = 2027-03-31
```

## `[[accept]]`

An accepted finding is shown with its reason and fails neither a gate nor `probe data --check`.
One that has lapsed counts again (PB701);
one that matches nothing is reported (PB702).

{accept}

## `[gate.limits]` and `[gate.groups.NAME]`

{limits}

Effects ([probe effects](commands/effects.md)) are measured by a gate only where a limit names one. TOML wants
quotes around such a key: `"attribute:exclamations" = 0.2` bounds the mean difference of the sides in the
attribute's units, either way, `"effect:flattery" = 0.01` how far the pairs teach the trait beyond control
texts, in nats/token.

{families}
"""


GLOSSARY = """\
# Glossary

Written by `docs/tables.py` from `glossary.py`. `probe explain TERM` prints one entry; report.html shows the
entries that it uses. Case and underscores do not matter.

{terms}
"""


def glossary_page() -> str:
    """The page of the terms that reports print."""
    rows = ((f"`{term}`", meaning) for term, meaning in sorted(TERMS.items()))
    return GLOSSARY.format(terms=table(("term", "meaning"), rows))


def pages() -> dict[Path, str]:
    """Every page that this script writes."""
    return {
        DOCS / "decision-table.md": decision_table(),
        DOCS / "config.md": config_page(),
        DOCS / "glossary.md": glossary_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
