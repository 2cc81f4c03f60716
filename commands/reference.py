"""`probe reference`: reference log-probs as columns of a pair file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ProbeError
from ..scoring.options import ModelOptions
from . import bundles, options


def reference(
    pairs: options.PairsFile,
    to: Annotated[Path, typer.Option(help="File for the rows; must not exist.")],
    fields: options.Fields = None,
    skip_bad: options.SkipBad = False,
    how: bundles.LoadingOptions = ModelOptions(),
) -> None:
    """Write the pairs with reference log-probs, for trainers. As ref_chosen_logps and ref_rejected_logps.

    Example: probe reference pairs/cico_insulin.jsonl --to with-reference.jsonl
    """
    from ..files import write_text
    from ..scoring.processes import rank
    from ..scoring.session import Session, Source
    from ..training.reference import with_reference

    if to.exists():
        raise ProbeError(f"{to}: exists, and nothing is overwritten. Choose another name with --to.")
    session = Session.open(Source.of(pairs, fields, None, skip_bad), how)
    rows = list(with_reference(session))
    if not rows:
        raise ProbeError(f"{pairs}: no pair could be scored. Raise --max-length.")
    if rank() == 0:
        write_text(to, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        left_out = len(session.scorer.met.excluded)
        print(f"{to}: {len(rows)} pairs, {left_out} left out (not scored)", file=sys.stderr)
