"""The win rate of whole sentences under sums against lm-eval's accuracy: same sentences, same model.

    python bench/blimp.py [--set wh_island] [--pairs 1000] [--model DIR]

lm-eval's own `HFLM.loglikelihood`, asked for each sentence after an empty context as its BLiMP tasks do.
Exits with 1 when the two rates differ.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

DATA = Path(__file__).resolve().parents[1].parent / "shared/data/blimp"


def main() -> None:
    """Score, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", default="wh_island")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--model", default=None)
    options = parser.parse_args()

    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from probe.pairs.read import read_pairs
    from probe.scoring.encode import make_encoder
    from probe.scoring.model import load_model
    from probe.scoring.service import Scorer

    fields = {"chosen": "sentence_good", "rejected": "sentence_bad"}
    pairs = list(islice(read_pairs(DATA / f"{options.set}.jsonl", fields=fields), options.pairs))
    loaded = load_model(options.model)
    started = time.perf_counter()
    scores = list(Scorer(loaded, make_encoder(loaded.tokenizer, pairs)).scores(pairs))
    ours = [side.logps for score in scores for side in (score.chosen, score.rejected)]
    between = time.perf_counter()
    peer = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=16)
    requests = [Instance("loglikelihood", {}, ("", s), 0) for p in pairs for s in (p.chosen, p.rejected)]
    with torch.no_grad():
        theirs = [float(logps) for logps, _ in peer.loglikelihood(requests, disable_tqdm=True)]
    ended = time.perf_counter()

    won = [sum(a > b for a, b in zip(x[::2], x[1::2], strict=True)) for x in (ours, theirs)]
    far = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    print(
        f"{options.set}, {len(pairs)} pairs, {loaded.name}\n"
        f"probe:   {won[0]} of {len(pairs)} won under sums\n"
        f"lm-eval: {won[1]} of {len(pairs)} won; largest difference of a sentence's sum {far:.2g} nats; "
        f"{(ended - between) / (between - started):.1f} times probe's time"
    )
    raise SystemExit(won[0] != won[1])


if __name__ == "__main__":
    main()
