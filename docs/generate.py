"""Pages that nobody writes: commands from the command line's own help, findings from `probe explain`.

An mkdocs hook (see mkdocs.yml): the pages exist only while the site is built, so they cannot fall behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from probe.cli import COMMANDS, app
from probe.explain import Explanation, explanations

DOCS = Path(__file__).parent
FIRST = (
    *("index.md", "read-a-report.md", "in-a-trl-script.md", "on-a-laptop.md", "in-ci.md"),
    *("matched-pairs.md", "with-trl.md"),
)
FAMILIES = {
    "PB0": "Numerics",
    "PB1": "Bias",
    "PB2": "Negatives and effects",
    "PB3": "Data and labels",
    "PB4": "Displacement",
    "PB5": "Trial and levers",
    "PB6": "Statistics",
    "PB7": "Gate",
    "PB8": "Training",
    "PB9": "Comparison and sampling",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The order of the site: first reading, commands, cases, the rest; findings hang from their index."""
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    start = [page for page in FIRST if page in written]
    commands = [f"commands/{name}.md" for name in _commands()]
    cases = sorted(page for page in written if page.startswith("cases/"))
    rest = sorted(written - set(start) - set(commands) - set(cases))
    parts = {"Start": start, "Commands": commands, "Cases": cases, "More": [*rest, "findings/index.md"]}
    config.nav = [{title: pages} for title, pages in parts.items() if pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages; a command's written page, where there is one, comes before its options."""
    for name, command in _commands().items():
        path = f"commands/{name}.md"
        written = files.get_file_from_path(path)
        prose = written.content_string.rstrip() if written else f"# probe {name}\n\n{_told(command)}"
        if written:
            files.remove(written)
        files.append(File.generated(config, path, content=f"{prose}\n\n## Options\n\n{_options(command)}\n"))
    pages = explanations()
    files.append(File.generated(config, "findings/index.md", content=_index(pages.values())))
    for code, page in pages.items():
        files.append(File.generated(config, f"findings/{code}.md", content=finding_page(page)))
    return files


def _commands() -> dict[str, typer.core.TyperCommand]:
    found = typer.main.get_command(app).commands
    return {name: found[name] for name in COMMANDS if name in found}


def _told(command: typer.core.TyperCommand) -> str:
    """The command's docstring, its example as code."""
    told = re.sub(r"^Example: (.+)$", r"```\n\1\n```", command.help or "", flags=re.MULTILINE)
    return f"{told}\n\n{command.epilog}" if command.epilog else told


def _options(command: typer.core.TyperCommand) -> str:
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    return "\n".join(["| option | meaning | default |", "|---|---|---|", *rows])


def _row(parameter: typer.core.TyperOption | typer.core.TyperArgument) -> str:
    names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
    value = parameter.default
    default = "" if value is None or isinstance(value, bool) else f"`{value}`"
    if negations := getattr(parameter, "secondary_opts", []):  # its help is that of the name to be typed
        names = negations if value is True else names
    return f"| {', '.join(f'`{name}`' for name in names)} | {escaped(parameter.help or '')} | {default} |"


def escaped(text: str) -> str:
    """Text for a Markdown table: no pipe ends its cell, no angle bracket opens a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def finding_page(page: Explanation) -> str:
    """One finding code's page."""
    parts = {
        "What it means": page.means,
        "Why it matters": page.why,
        "What to do": page.do,
        "Source": page.source,
    }
    body = "\n\n".join(f"## {title}\n\n{_linked(escaped(text), page.code)}" for title, text in parts.items())
    return f"# {page.code} {page.name}\n\n{escaped(page.summary)}\n\n{body}\n\nRaised by `{page.where}`.\n"


def _linked(text: str, own: str) -> str:
    """Text with the finding codes that have a page as links to it; those in code spans and its own stay."""
    known = explanations().keys() - {own}
    return re.sub(r"`[^`]*`|\bPB\d{3}\b", lambda m: f"[{m[0]}]({m[0]}.md)" if m[0] in known else m[0], text)


def _index(pages: Iterable[Explanation]) -> str:
    return "\n".join(["# Findings", "", *_families(pages)]) + "\n"


def _families(pages: Iterable[Explanation]) -> Iterator[str]:
    for family, members in groupby(pages, key=lambda page: page.code[:3]):
        yield from (f"\n## {FAMILIES.get(family, family)}\n", "| code | name | in short |", "|---|---|---|")
        for page in members:
            yield f"| [{page.code}]({page.code}.md) | {escaped(page.name)} | {escaped(page.summary)} |"
