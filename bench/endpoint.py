"""`probe bias` through a real server and on the same weights loaded here: how far are the numbers apart?

    python bench/endpoint.py --model MODEL.gguf --tokenizer MODEL.gguf --pairs pairs/listing_taste.jsonl
        --serve "PYTHON -m llama_cpp.server --model {model} --logits_all true --n_ctx 1024 --port {port}"
    python bench/endpoint.py --model MODEL --tokenizer NAME --url http://HOST:8000/v1  # one that runs

Prints the largest and the mean difference of a token's log-prob and of a pair's gap, the verdicts of both,
and requests and seconds. MODEL is what both compute with; the local weights are read in float32.
"""

from __future__ import annotations

import argparse
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from probe.probes.bias.run import BiasOptions, measure_bias_in
from probe.probes.gated import sharing
from probe.records import Run
from probe.scoring import endpoint
from probe.scoring.options import ModelOptions
from probe.scoring.scores import PairScore
from probe.scoring.session import Session, Source

STARTING = 300  # seconds that a server may take to load its model


@contextmanager
def serving(command: str, model: str) -> Iterator[str]:
    """The address of a server that is started for the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(model=model, port=port) for word in shlex.split(command)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _answering(f"http://127.0.0.1:{port}/v1", server)
        finally:
            server.terminate()
            server.wait()


def _answering(url: str, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + STARTING
    while time.monotonic() < until and server.poll() is None:
        try:
            with urlopen(f"{url}/models", timeout=5):
                return url
        except OSError:
            time.sleep(1)
    raise SystemExit(f"the server at {url} did not start (exit code {server.poll()})")


@dataclass
class Measured:
    """A bias run, its scores by line and the seconds from opening the session to the verdict."""

    run: Run
    scores: dict[int, PairScore]
    seconds: float


def measured(path: Path, how: ModelOptions, options: BiasOptions) -> Measured:
    """`probe bias` on a file."""
    start = time.monotonic()
    session = sharing(Session.open(Source.of(path, None, None, False), how, served=True))
    scores = {score.line: score for score in session.scores()}
    run = measure_bias_in(session, options).run
    return Measured(run, scores, time.monotonic() - start)


def told(here: Measured, there: Measured) -> Iterator[str]:
    """The comparison, a line each."""
    tokens, gaps = [], []
    for line, score in here.scores.items():
        other = there.scores[line]
        gaps.append(other.gap - score.gap)
        for a, b in ((score.chosen, other.chosen), (score.rejected, other.rejected)):
            tokens.append(b.token_logps - a.token_logps)
    for what, found in (("token's log-prob, nats", np.concatenate(tokens)), ("pair's gap, nats/token", gaps)):
        size = np.abs(found)
        yield f"{what}: n {size.size}, largest difference {size.max():.2e}, mean {size.mean():.2e}"
    for name in ("gap", "win_rate"):
        values = [run.estimate(name).value for run in (here.run, there.run)]  # type: ignore[union-attr]
        yield f"{name}: here {values[0]:.4f}, server {values[1]:.4f}"
    verdicts = [[(row.group, row.verdict) for row in run.bias] for run in (here.run, there.run)]
    yield f"verdicts: {verdicts[0]}, {'the same' if verdicts[0] == verdicts[1] else verdicts[1]}"
    codes = [sorted(f.code for f in run.findings) for run in (here.run, there.run)]
    yield f"findings: {codes[0]}, {'the same' if codes[0] == codes[1] else codes[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--pairs", type=Path, default=Path("pairs/listing_taste.jsonl"))
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--template", default="auto")
    parser.add_argument("--templates", default="auto")
    parser.add_argument("--serve", help="a command with {model} and {port}")
    parser.add_argument("--url")
    asked = parser.parse_args()

    requests = 0
    ask = endpoint.ask_json

    def counted(*given: object) -> object:
        nonlocal requests
        requests += 1
        return ask(*given)  # type: ignore[arg-type]

    endpoint.ask_json = counted
    options = BiasOptions(templates=asked.templates)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "pairs.jsonl"
        with asked.pairs.open(encoding="utf-8") as file:
            path.write_text("".join(islice(file, asked.n)), encoding="utf-8")
        local = ModelOptions(
            asked.model, device="cpu", dtype="float32", template=asked.template, no_cache=True
        )
        here = measured(path, local, options)
        print(f"here: {here.seconds:.1f} s", flush=True)

        def through(url: str) -> Measured:
            how = ModelOptions(url, template=asked.template, no_cache=True, tokenizer=asked.tokenizer)
            return measured(path, how, options)

        if asked.url:
            there = through(asked.url)
        else:
            with serving(asked.serve, asked.model) as url:
                there = through(url)
    print(f"server: {there.seconds:.1f} s, {there.seconds / here.seconds:.2f} × here, {requests} requests")
    print("\n".join(told(here, there)))


if __name__ == "__main__":
    main()
