"""Ways to score pairs faster than in float32 on a processor with bfloat16 units: time, and how far gaps move.

    python bench/forms.py [--pairs 24]

Pairs are those of HH harmless as `bench/gate.py` takes them, the model is the embedded one. In turn: float32;
float32 with oneDNN's products in bfloat16; a bfloat16 copy, which a gate takes; the same with the decoder's
MLPs compiled, whose first call is shown too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import torch


@contextmanager
def onednn_in_bfloat16() -> Iterator[None]:
    """oneDNN rounds the factors of float32 products and keeps their sums in float32."""
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "none"


def scored(model: torch.nn.Module, sides: Any) -> tuple[np.ndarray, float, float]:
    """Gaps in nats/token, wall and processor seconds."""
    from probe.scoring.engine import token_logps

    wall, own = time.perf_counter(), time.process_time()
    with torch.no_grad():
        means = [float(logps.mean()) for logps in token_logps(model, sides)]
    return np.array(means[::2]) - means[1::2], time.perf_counter() - wall, time.process_time() - own


def main() -> None:
    """Print a line for each form."""
    from probe.scoring.engine import blocks
    from probe.scoring.half import halved
    from probe.scoring.session import ModelOptions, Session, Source

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()  # nothing compiled before
        path = Path(place) / "pairs.jsonl"
        run_path(str(Path(__file__).with_name("gate.py")))["write_pairs"](path, asked.pairs)
        session = Session.open(Source.of(path, None, None, False), ModelOptions(no_cache=True))
        codes = session.encoded(session.survey.sample)
    exact, copy = session.loaded.model, halved(session.loaded).model
    sides = [side for code in codes for side in (code.chosen, code.rejected)]
    scored(exact, sides), scored(copy, sides)  # first touch of the weights
    gaps, _, usual = scored(exact, sides)
    with onednn_in_bfloat16():
        rounded = scored(exact, sides)
    half = scored(copy, sides)
    for block in blocks(copy):
        mlp: Any = block.mlp
        mlp.forward = torch.compile(mlp.forward, dynamic=True)
    first, compiled = scored(copy, sides), scored(copy, sides)
    print(f"float32: {usual:.1f} processor s, gaps' standard deviation {gaps.std():.3g} nats/token")
    rows = {"oneDNN in bfloat16": rounded, "bfloat16 copy": half, "copy, compiled": compiled}
    for name, (found, _, own) in rows.items():
        apart = found - gaps
        moved = f"gaps differ by {apart.std():.2g} (largest {abs(apart).max():.2g})"
        print(f"{name}: {own / usual:.2f} of the time, {moved}")
    print(f"first call of the compiled: {first[1]:.0f} s wall, {half[1]:.0f} s uncompiled")


if __name__ == "__main__":
    main()
