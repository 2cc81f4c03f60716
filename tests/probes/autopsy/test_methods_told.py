"""What a log is told to be where its columns could be those of several methods."""

import math
import random

import pytest

from probe.probes.autopsy.diagnose import diagnose
from probe.probes.autopsy.hints import hints_in
from probe.probes.autopsy.log import make_log

LN2 = math.log(2)
N = 40


def found(rows, **hints):
    return diagnose(make_log("x", rows, **hints))


def labels(it):
    return {tag.label for tag in it.tags}


def curve(first: float, last: float, noise: float = 0.01, seed: int = 3):
    """A value that goes from `first` to `last`, fast at first, with some noise."""
    rng = random.Random(seed)
    return [last + (first - last) * math.exp(-4 * i / N) + rng.gauss(0.0, noise) for i in range(N)]


def columns(**named):
    return [{"step": 10 * (i + 1), **{k: v[i] for k, v in named.items()}} for i in range(N)]


def with_held_out(rows, **named):
    held = [{"step": 100 * k, **{f"eval_{key}": v for key, v in named.items()}} for k in range(1, 5)]
    return sorted([*rows, *held], key=lambda row: row["step"])


TOKENS = {
    "ms-swift's acc": columns(loss=curve(1.83, 1.09), acc=curve(0.6, 0.69)),
    "a high loss": columns(loss=curve(2.6, 2.1), acc=curve(0.47, 0.52)),
    "another name": columns(loss=curve(1.4, 0.8), accuracy=curve(0.65, 0.8)),
    "texts known to begin with": columns(loss=[0.7, *curve(0.7, 0.5)[1:]], acc=curve(0.82, 0.86, 0.003)),
    "evaluations": with_held_out(columns(loss=curve(1.8, 1.1), acc=curve(0.6, 0.69)), loss=1.2, acc=0.66),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_an_accuracy_of_tokens_is_no_preference(kind):
    it = found(TOKENS[kind])
    assert (it.method.name, it.main, labels(it)) == ("SFT", "healthy", set())
    assert "rewards/" not in it.sign.evidence


FROM_LN2 = [0.6931, *curve(0.69, 0.3)[1:]]
PAIRS = {
    "from ln 2": columns(loss=FROM_LN2, acc=curve(0.5, 0.9)),
    "ties in the first batch": columns(loss=FROM_LN2, accuracy=[0.0, *curve(0.5, 0.9)[1:]]),
    "moved within the first entry": columns(loss=curve(0.62, 0.3), acc=curve(0.6, 0.9)),
    "the name says so": columns(loss=curve(1.4, 0.8), **{"rewards/accuracies": curve(0.5, 0.7)}),
    "LLaMA-Factory": columns(current_steps=range(N), loss=curve(1.4, 0.8), accuracy=curve(0.5, 0.7)),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_an_accuracy_of_pairs_stays_one(kind):
    assert found(PAIRS[kind]).method.name == "DPO"


def test_without_rewards_a_high_start_is_a_wrong_reference_only_if_it_is_dpo():
    (tag,) = found(PAIRS["the name says so"]).tags
    assert (tag.label, tag.confidence) == ("ref_mismatch", "cannot tell")
    assert "ORPO" in tag.next


def two_terms(loss, spread: float, seed: int = 4, pairs: int = 64):
    """A run whose margins grow to 2, spread `spread` wide about their mean; `loss` is of the two rewards."""
    rng = random.Random(seed)
    rows = []
    for i in range(N):
        size = (0.1 + spread) * i / N
        both = [(0.8 * i / N + rng.gauss(0, size), -1.2 * i / N + rng.gauss(0, size)) for _ in range(pairs)]
        chosen, rejected = (sum(side) / pairs for side in zip(*both, strict=True))
        row = {
            "step": 10 * i or 1,
            "loss": sum(loss(c, r) for c, r in both) / pairs,
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": sum(c > r for c, r in both) / pairs,
        }
        rows.append(row)
    return rows


def term(x: float) -> float:
    return math.log1p(math.exp(-x))


def nca(c: float, r: float) -> float:
    return term(c) + 0.5 * term(-c) + 0.5 * term(-r)


def bco(c: float, r: float) -> float:
    return term(c + 0.2) + term(-r - 0.2)


def added(c: float, r: float) -> float:
    return 2 * term(c - r)


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("loss", [nca, bco])
def test_losses_of_two_terms_are_no_sum_over_micro_batches(loss, spread):
    it = found(two_terms(loss, spread))
    assert (it.method.name, it.method.accumulated_batches, labels(it)) == ("DPO variant", 1, set())
    assert "NCA, BCO or a sum over 2" in it.method.why


@pytest.mark.parametrize("spread", [0.0, 0.3, 0.7])
def test_a_sum_over_two_micro_batches_stays_one(spread):
    it = found(two_terms(added, spread))
    assert (it.method.name, it.method.accumulated_batches) == ("DPO", 2)
    assert "summed_loss" in labels(it)


@pytest.mark.parametrize(("word", "loss", "name"), [("nca_pair", nca, "NCA"), ("bco_pair", bco, "BCO")])
def test_a_loss_of_two_terms_that_is_named(word, loss, name):
    it = found(two_terms(loss, 1.0), hints=hints_in(f'{{"loss_type": "{word}"}}'))
    assert (it.method.name, it.main, labels(it)) == (name, "healthy", set())


def online(name: str, first: float, last: float, **more):
    policy = [0.001 * i + 0.0001 for i in range(N)]
    return columns(**{name: curve(first, last, 0.02), "loss": policy, "kl": curve(0.0, 0.1, 0.001)} | more)


@pytest.mark.parametrize(
    "name", ["reward", "mean_reward", "reward/mean", "train/reward_mean", "rewards", "meanReward"]
)
@pytest.mark.parametrize(
    "more", [{}, {"accuracy": curve(0.3, 0.6)}, {"min_reward": [0.0] * N, "max_reward": [1.0] * N}]
)
@pytest.mark.parametrize(("first", "last", "main"), [(0.8, 0.2, "diverged"), (0.2, 0.8, "healthy")])
def test_a_mean_reward_is_that_of_an_online_run(name, more, first, last, main):
    it = found(online(name, first, last, **more))
    assert (it.method.family, it.main) == ("online", main)


SCORES = {
    "TRL": {"min_reward": curve(-1, -3), "mean_reward": curve(0.1, 0.3), "margin": curve(0.1, 2)},
    "from ln 2": {"mean_reward": curve(0.1, 0.3)},
}


@pytest.mark.parametrize("kind", SCORES)
def test_the_scores_of_a_reward_model_stay_that(kind):
    it = found(columns(loss=[0.6931, *curve(0.69, 0.3)[1:]], accuracy=curve(0.5, 0.9), **SCORES[kind]))
    assert (it.method.name, it.main) == ("reward model", "healthy")


def scores(level: float, lift: float = 0.0):
    """A run of pairs with rewards about `level` at first, its loss `lift` above that of its mean margin."""
    rows = []
    for i in range(N):
        m = 0.13 + 1.9 * i / N
        row = {"loss": term(m) + lift, "acc": min(0.9, 0.55 + m / 5), "chosen_reward": level + m / 2}
        rows.append({"step": i + 1, **row, "reject_reward": level - m / 2})
    return rows


@pytest.mark.parametrize("level", [-1.3, 2.0, 5.0])
@pytest.mark.parametrize("lift", [0.0, 0.06])
def test_scores_of_a_reward_model_are_no_certain_mismatch(level, lift):
    it = found(scores(level, lift))
    (tag,) = [tag for tag in it.tags if tag.label == "ref_mismatch"]
    assert (it.main, tag.confidence) == ("healthy", "likely")
    assert "reward model" in tag.evidence
    assert "reward model" in tag.next


@pytest.mark.parametrize("level", [-1.3, 2.0])
def test_pairs_that_differ_from_the_reference_are_a_certain_one(level):
    (tag,) = [tag for tag in found(scores(level, 0.3)).tags if tag.label == "ref_mismatch"]
    assert tag.confidence == "certain"
    assert "reward model" not in tag.evidence + tag.next


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python -m openrlhf.cli.train_rm", "reward model"),
        ("deepspeed --module openrlhf.cli.train_kto", "KTO"),
    ],
)
def test_the_command_of_a_run_names_its_method(command, name):
    it = found(scores(-1.3), hints=hints_in(f"{command} --save_path x"))
    assert (it.method.name, it.main) == (name, "healthy")
    assert "ref_mismatch" not in labels(it) or name == "KTO"


def sides(chosen: float, rejected: float | None, seed: int = 6, **more):
    """Log-probs of the sides from -200 to the given ones, summed over other texts in every batch."""
    rng = random.Random(seed)
    rows = []
    for i in range(N):
        done, length = i / N, rng.gauss(0.0, 8.0)
        row = {"step": 10 * i or 1, "logps/chosen": -200.0 + (chosen + 200.0) * done + length}
        if rejected is not None:
            row["logps/rejected"] = -200.0 + (rejected + 200.0) * done + length + rng.gauss(0.0, 4.0)
        rows.append(row | {name: values[i] for name, values in more.items()})
    return rows


UNRANKED = {
    "chosen alone": sides(-320.0, None, loss=curve(1.8, 1.1)),
    "chosen alone, DPO's loss": sides(-320.0, None, loss=FROM_LN2),
    "both sides fall alike": sides(-320.0, -320.0, loss=FROM_LN2),
    "the chosen side falls faster": sides(-320.0, -280.0, loss=FROM_LN2),
    "no loss": sides(-320.0, None),
    "no loss, and nothing falls": sides(-190.0, None),
    "no loss, both sides": sides(-190.0, -260.0),
}


@pytest.mark.parametrize("kind", UNRANKED)
def test_log_probs_that_show_no_ranking_are_neither_displaced_nor_healthy(kind):
    it = found(UNRANKED[kind])
    assert (it.main, it.sign.confidence) == ("healthy", "cannot tell")
    assert "margins rising" not in it.sign.evidence
    assert "too little" not in it.sign.evidence
    assert "rewards/accuracies" in it.sign.next


RANKED = {
    "the sides move apart": sides(-320.0, -420.0, loss=FROM_LN2),
    "accuracy": sides(-320.0, None, loss=FROM_LN2, **{"rewards/accuracies": curve(0.5, 0.9)}),
    "margin": sides(-320.0, None, loss=FROM_LN2, **{"rewards/margins": curve(0.0, 2.0)}),
}


@pytest.mark.parametrize("kind", RANKED)
def test_a_chosen_side_that_falls_while_the_ranking_gets_better_is_displaced(kind):
    it = found(RANKED[kind])
    assert (it.main, it.method.name) == ("displaced", "DPO")
    assert any(name in it.sign.evidence for name in ("accuracy", "margin", "less logps/rejected"))


def test_log_probs_without_a_reward_are_not_said_to_be_rewards():
    for rows in UNRANKED.values():
        assert not found(rows).method.why.startswith("rewards")


@pytest.mark.parametrize(("first", "last"), [(1.83, 1.09), (3.0, 2.0), (0.05, 0.04)])
def test_a_kl_column_beside_any_loss_is_not_kto(first, last):
    it = found(columns(loss=curve(first, last, 0.002), kl=curve(0.5, 0.2)))
    assert (it.method.family, it.main) == ("supervised", "healthy")


KTO_LOGS = {
    "a start at one half": columns(loss=[0.5, *curve(0.49, 0.35)[1:]], kl=curve(0.0, 0.5)),
    "weights, and rewards": columns(
        loss=[0.665, *curve(0.65, 0.45)[1:]], kl=curve(0.0, 0.5), **{"rewards/chosen": curve(0.0, 1.0)}
    ),
    "log-probs": columns(loss=curve(0.9, 0.6), kl=curve(0.0, 0.5), **{"logps/rejected": curve(-200, -210)}),
}


@pytest.mark.parametrize("kind", KTO_LOGS)
def test_a_kl_column_of_kto_stays_one(kind):
    assert found(KTO_LOGS[kind]).method.name == "KTO"


@pytest.mark.parametrize(
    ("name", "more", "method"),
    [
        ("rewards", {"successes": curve(0.2, 0.6), "kl_loss": curve(0.0, 0.1)}, "GRPO"),
        ("rlhf_reward", {"kl": curve(0.0, 0.1), "value_loss": curve(0.3, 0.2)}, "PPO"),
        ("env/reward_mean", {"objective/kl": curve(0.0, 4.0)}, "PPO"),
        ("objective/rlhf_reward", {"objective/kl": curve(0.0, 4.0)}, "PPO"),
        (
            "objective/rlhf_reward",
            {
                "objective/kl": curve(0.0, 4.0),
                "rewards/margins": curve(0.0, 0.3),
                "rewards/accuracies": curve(0.5, 0.7),
                "logps/chosen": curve(-200.0, -210.0),
                "beta": curve(0.1, 0.1),
            },
            "online DPO",
        ),
        (
            "objective/rlhf_reward",
            {"objective/kl": curve(0.0, 4.0), "rewards/probabilities": curve(0.5, 0.6)},
            "online DPO",
        ),
    ],
)
@pytest.mark.parametrize(("last", "main"), [(2.0, "healthy"), (-1.0, "diverged")])
def test_the_online_logs_of_other_tools_are_judged_by_their_reward(name, more, method, last, main):
    it = found(columns(**{name: curve(1.0, last, 0.05), "loss": curve(0.0, 0.0)}, **more))
    assert (it.method.name, it.main) == (method, main)


@pytest.mark.parametrize("name", ["rewards", "reward_mean", "rewards/mean"])
def test_a_mean_reward_beside_the_loss_of_pairs_is_not_online(name):
    it = found(columns(loss=FROM_LN2, accuracy=curve(0.5, 0.9), **{name: curve(0.1, 0.3)}))
    assert (it.method.family in ("reference", "reward"), it.main) == (True, "healthy")
