"""Column names of training logs, read by rule: which metric a name means, of training or of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import NamedTuple

HELD_OUT_WORDS = {
    "eval", "evaluation", "val", "valid", "validation", "validate", "test", "dev", "held", "heldout",
    "holdout",
}  # fmt: skip
TRAINING = {"train", "training", "trainer"}
# Words that say how a number was averaged, not what it is.
DECORATION = {
    "avg", "average", "mean", "step", "epoch", "batch", "total", "running", "smoothed", "smooth", "lm",
    "current", "micro", "mini", "global", "per", "reduced", "last",
}  # fmt: skip
METHOD_MARKS = ("dpo", "ipo", "kto", "orpo", "simpo", "cpo", "preference", "pref", "sft")
SIDE_WORDS = {"chosen": "chosen", "rejected": "rejected", "reject": "rejected"}
OTHER_MODELS = frozenset(("ref", "reference", "base", "old", "init", "initial", "target", "ema", "teacher"))
STEP_NAMES = (
    "step", "global_step", "trainer/global_step", "current_steps", "current_step", "iteration", "iter",
    "iterations", "iters", "update", "updates", "num_updates", "steps", "optimizer_step",
)  # fmt: skip
EXAMPLES = ("counters/examples", "examples", "consumed_samples", "consumed_examples", "num_examples")
# A set's name within: `eval/paloma/loss` (Levanter), `val_loss/dataloader_idx_0` (Lightning).
_HELD, _MEAN = "|".join(sorted(HELD_OUT_WORDS)), "(?:(?:avg|mean|lm)_)?"
SET_BEFORE_LOSS = re.compile(rf"(?:{_HELD})/([\w./-]+)/{_MEAN}loss")
SET_AFTER_LOSS = re.compile(rf"(?:{_HELD})[_/]{_MEAN}loss(?:_step|_epoch)?/([\w.-]+)")
HELD_OUT_LOSS_WORDS = frozenset(("loss", "losses", "nll", "ppl", "perplexity", "bpb", "crossentropy"))
# Columns of whole numbers, in which a comma can only part thousands.
COUNTS = frozenset((*STEP_NAMES, *EXAMPLES, "_step", "max_steps", "total_steps"))
# What says that a row is about training (or, after `eval_`, about an evaluation) and not only bookkeeping.
MEASUREMENT_NAME = re.compile(r"loss$|^grad_norm$|^rewards?(/|$)|^logps/|^kl$|^objective/")
# What a verdict can be built on: a curve of one of these.
JUDGED_COLUMN = re.compile(r"^(eval_(\w+_)?)?(loss$|rewards?(/(?!accuracies$)|$)|logps/|objective/)")
# A trainer's spelling of a pair's metric in one of several evaluation sets.
OF_A_NAMED_SET = re.compile(r"^eval_\w+_(rewards|logps)/")
OF_PAIRS = re.compile("reward|pref|accuracies")
# A function that rewards right answers, on a scale of its own: no share of pairs.
ACCURACY_REWARD = re.compile(r"accurac(y|ies)_rewards?(/|$)|rewards/acc(uracy)?/(mean|std)$")
LOOKED_FOR = "loss, train/loss, avg_loss, eval_loss, val_loss, reward, rewards/chosen, logps/chosen, …"


class Name(NamedTuple):
    """TRL's name of a column, and how far the name in the file lay from it: the nearest wins."""

    name: str
    distance: int


@cache
def canonical(key: str) -> Name:
    """The name TRL would use for `key`; an unknown key keeps its own, in lower case."""
    text = _plain(key)
    if text in STEP_NAMES or text in ("_step", "epoch"):
        return Name(text, 0)
    if ACCURACY_REWARD.search(text):
        return Name(_own(text), 9)
    if OF_A_NAMED_SET.match(text):
        return Name(text, 9)  # the word is the name of an evaluation set, and says whose the metric is
    tokens = list(dict.fromkeys(_tokens(text)))  # Megatron says "lm loss validation" twice in a tag
    held, rest = _split(tokens)
    known = _metric(rest) or _prefixed(rest)
    if known:
        return Name(("eval_" if held else "") + known, len(rest) + (len(rest) != len(tokens)))
    return Name(_of_a_set(text) or _own(text), 9)


def _tokens(text: str) -> list[str]:
    return [t for t in re.split(r"[/_.:\s()\[\]-]+", text) if t]


def _of_a_set(text: str) -> str | None:
    """A held-out loss with the name of its set where a trainer puts it: `eval_NAME_loss`."""
    match = SET_BEFORE_LOSS.fullmatch(text) or SET_AFTER_LOSS.fullmatch(text)
    return f"eval_{re.sub(r'[/.-]', '_', match.group(1))}_loss" if match else None


def looks_held_out(name: str) -> bool:
    """Whether a column is named like a held-out loss or its perplexity, read or not."""
    words = set(_tokens(_plain(name)))
    told = bool(words & HELD_OUT_LOSS_WORDS) or {"cross", "entropy"} <= words
    return told and not words.isdisjoint(HELD_OUT_WORDS)


def _plain(key: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip().strip("*`\"'"))
    text = re.sub(r"[\s_]+", "_", re.sub(r"\s*/\s*", "/", spaced.lower()))
    return re.sub(r"\b(held|hold)[_-]out(?=$|[_/.-])", r"\1out", text.removeprefix("metrics/"))


def _split(tokens: list[str]) -> tuple[bool, list[str]]:
    """Whether the name is of an evaluation, and the name without the one word that says so."""
    for words, held in ((HELD_OUT_WORDS, True), (TRAINING, False)):
        for at in (0, -1, 1):
            if len(tokens) > abs(at) and tokens[at] in words:
                rest = list(tokens)
                del rest[at]
                return held, rest
    return False, tokens


def _metric(tokens: list[str]) -> str | None:
    words = set(tokens)
    core = words - DECORATION
    return _loss(core) or _pairwise(words) or _optimizer(words, core) or _online(words)


def _prefixed(tokens: list[str]) -> str | None:
    """The metric of a pair's sides behind a word of a logger's own: `dpo/rewards/chosen`, `my_reward_chosen`.

    Behind another model's name it is that model's: `ref/logps/chosen`.
    """
    parts = [part for token in tokens for part in token.split("_") if part]
    told = any(part.startswith(("reward", "logp")) for part in parts[1:])
    if not told or OTHER_MODELS & set(parts):
        return None
    return _pairwise(set(parts[1:])) if len(parts) > 2 else None


def looks_pairwise(name: str) -> bool:
    """Whether a column that is known by no rule is named like a reward or a log-prob of one side."""
    sided = any(word in name for word in (*SIDE_WORDS, "margin"))
    told = "reward" in name or "logp" in name
    return sided and told and OTHER_MODELS.isdisjoint(re.split(r"[^a-z]+", name))


def names_pairs(keys: Collection[str]) -> bool:
    """Whether one of the columns of an entry is an accuracy that can only be one of pairs.

    A bare `acc` or `accuracy` may be one of tokens; beside LLaMA-Factory's `current_steps` it never is.
    """
    found = [key.lower() for key in keys if canonical(key).name.endswith("rewards/accuracies")]
    return bool(found) and ("current_steps" in keys or any(OF_PAIRS.search(key) for key in found))


def _loss(core: set[str]) -> str | None:
    core = {"loss" if word == "losses" else word for word in core}
    if core == {"loss"}:
        return "loss"
    named = core - {"loss"}
    return "loss" if "loss" in core and len(named) == 1 and named <= set(METHOD_MARKS[:-1]) else None


def _pairwise(words: set[str]) -> str | None:
    side = next((name for word, name in SIDE_WORDS.items() if word in words), None)
    if words & {"ref", "reference"} or words & {"token", "tokens", "length", "len", "count", "counts"}:
        return None
    if side:
        left = words - set(SIDE_WORDS) - DECORATION - {"policy"}
        if left and left <= {"reward", "rewards", "score", "scores"}:
            return f"rewards/{side}"
        return (
            f"logps/{side}"
            if left
            and left <= {"logps", "logp", "logprobs", "logprob", "log", "probs", "prob"}
            and left != {"log"}
            else None
        )
    left = words - {"reward", "rewards", "preference", "mean"}
    if left and left <= {"margin", "margins"}:
        return "rewards/margins"
    return "rewards/accuracies" if left and left <= {"accuracy", "accuracies", "acc"} else None


def _optimizer(words: set[str], core: set[str]) -> str | None:
    left = words - {"actor", "optimizer", "group", "adamw", "adam", "w", "pg", "current", "scheduler"}
    left = {w for w in left if not w.isdigit() and not re.fullmatch(r"(group|pg)\d*", w)}
    if left in ({"lr"}, {"learning", "rate"}, {"learning", "rate", "lr"}, {"learningrate"}):
        return "learning_rate"
    norm = core - {"2", "l2", "actor", "policy"}
    return "grad_norm" if norm in ({"grad", "norm"}, {"gradient", "norm"}, {"gnorm"}, {"gradnorm"}) else None


def _online(words: set[str]) -> str | None:
    if words in ({"reward"}, {"average", "reward", "score"}):
        return "reward"
    if words == {"rlhf", "reward"}:
        return "objective/rlhf_reward"
    if words in (
        {"env", "reward", "mean"},
        {"critic", "rewards", "mean"},
        {"critic", "score", "mean"},
        {"avg", "reward"},
    ):
        return "reward"
    return None


def _own(text: str) -> str:
    for word in TRAINING:
        text = text.removeprefix(f"{word}/")
    for word in HELD_OUT_WORDS:
        if text.startswith(f"{word}/"):
            return "eval_" + text[len(word) + 1 :]
        if text.startswith(f"{word}_") and word != "test":
            return "eval_" + text[len(word) + 1 :]
    return text
