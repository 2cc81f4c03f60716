"""The share of flipped labels: right where margins tell, no answer where they do not."""

import numpy as np
import pytest
from scipy import optimize, stats

from probe.pairs.record import Pair
from probe.probes.negatives.classify import Separation
from probe.probes.negatives.suspects import judge_suspects
from probe.probes.negatives.triviality import surface
from probe.stats import label_noise as label_noises
from probe.stats.label_noise import LEAST_SEPARATION, Mixture, fitted, label_noise


def margins(share, n=300, mean=2.0, seed=0):
    rng = np.random.default_rng(seed)
    flipped = rng.random(n) < share
    return np.where(flipped, -1, 1) * rng.normal(mean, 1.0, n), flipped


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_the_share_is_found_within_its_interval(share):
    values, flipped = margins(share)
    estimate, mixture = label_noise(7 * values, np.arange(len(values)))  # whatever the scale
    assert estimate.low <= flipped.mean() <= estimate.high
    assert estimate.value == pytest.approx(flipped.mean(), abs=0.05)
    if share:
        wrong = mixture.flipped(values / np.sqrt(np.mean(values**2))) > 0.5
        assert (wrong == flipped).mean() > 0.9


@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_hard_pairs_are_not_called_flipped(mean):
    estimate, _ = label_noise(margins(0.3, mean=mean)[0], np.arange(300))
    assert estimate.value is None and "cannot say" in estimate.method


def test_few_pairs_have_no_answer():
    assert label_noise(margins(0.3, n=15)[0], np.arange(15))[0].value is None


def test_suspects_are_named_with_their_lines():
    values, flipped = margins(0.3)
    pairs = [Pair(str(i), f"prompt {i}", "a", "b", line=i + 1) for i in range(len(values))]
    measured, wrong = judge_suspects(Separation(values, np.arange(300), np.zeros(0)), pairs, 0.05, 0)
    (finding,) = measured.findings
    assert finding.code == "PB230" and finding.estimate.name == "label_noise"
    listed = {row["line"] for row in measured.details["suspects"]}
    assert listed == {i + 1 for i in np.flatnonzero(wrong > 0.5)}
    assert np.mean([flipped[line - 1] for line in listed]) > 0.9
    clean, none = judge_suspects(
        Separation(margins(0.0, mean=0.2)[0], np.arange(300), np.zeros(0)), pairs, 0.05, 0
    )
    assert [found.code for found in clean.findings] == ["PB231"] and not none.any()


def test_labels_that_cannot_be_read_are_told_so_and_sound_ones_are_not():
    """With no value a report that says nothing of labels would be read as one that found them right."""
    pairs = [Pair(str(i), f"prompt {i}", "a", "b", line=i + 1) for i in range(300)]
    for mean, codes in ((0.0, ["PB231"]), (1.0, [])):
        found = Separation(margins(0.0, mean=mean)[0], np.arange(300), np.zeros(0))
        measured, _ = judge_suspects(found, pairs, 0.05, 0)
        assert [finding.code for finding in measured.findings] == codes


def likelihoods(share, mean, spread, values):
    """(1 − ε)·f(m) and ε·f(−m), f normal."""
    f = stats.norm(mean, spread).pdf
    return (1 - share) * f(values), share * f(-values)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_a_label_is_wrong_with_the_chance_that_bayes_gives_it(share):
    values = np.linspace(-2.0, 2.0, 9)
    right, wrong = likelihoods(share, 0.8, 0.5, values)
    assert Mixture(share, 0.8, 0.5).flipped(values) == pytest.approx(wrong / (right + wrong), rel=1e-9)
    assert (Mixture(0.0, 0.8, 0.5).flipped(values) < 1e-300).all()


@pytest.mark.parametrize(("share", "mean"), [(0.3, 2.0), (0.1, 1.2), (0.45, 3.0)])
def test_the_fit_is_the_maximum_of_the_likelihood(share, mean):
    """By scipy's simplex from the truth; EM from its own starts comes within its 60 rounds."""
    values = margins(share, mean=mean)[0]

    def minus(found):
        return -np.log(sum(likelihoods(*found, values))).sum()

    bounds = [(1e-4, 0.5), (0, None), (1e-3, None)]
    best = optimize.minimize(minus, [share, mean, 1.0], method="Nelder-Mead", bounds=bounds)
    found = fitted(values)
    assert (found.share, found.mean, found.spread) == pytest.approx(tuple(best.x), abs=0.01)


def test_of_several_maxima_the_highest_is_taken():
    """Heavy tails and half of the labels wrong: a grid of the whole space finds no better mixture."""
    share, mean, spread = np.meshgrid(
        np.linspace(0.01, 0.5, 12), np.linspace(0, 1.2, 12), np.linspace(0.3, 1.2, 12), indexing="ij"
    )
    grid = np.stack([share.ravel(), mean.ravel(), spread.ravel()], axis=1)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        values = np.where(rng.random(200) < 0.5, -1, 1) * (rng.standard_t(3, 200) + 2)
        values /= np.sqrt(np.mean(values**2))
        found = fitted(values)
        ours, best = (
            np.log(sum(likelihoods(*(np.asarray(x)[:, None] for x in np.transpose(some)), values))).sum(1)
            for some in ([(found.share, found.mean, found.spread)], grid)
        )
        assert ours[0] >= best.max() - 0.05


def test_the_interval_of_clean_labels_is_that_of_none_among_as_many_prompts():
    """No wrong label in 30 prompts: from 0 to 1 − (alpha/2)^(1/30), by the binomial's own interval."""
    values = np.tile(np.linspace(1.9, 2.1, 10), 30)
    clusters = np.repeat(np.arange(30), 10)
    for alpha in (0.05, 0.2):
        found, _ = label_noise(values, clusters, alpha=alpha)
        exact = stats.binomtest(0, 30).proportion_ci(1 - alpha, "exact")
        assert (found.low, found.high) == (0.0, pytest.approx(exact.high))
        assert (found.n, found.value) == (300, pytest.approx(1e-4))


def test_prompts_that_are_wrong_as_a_whole_widen_the_interval():
    """Thirty prompts of ten pairs, nine of them wrong as a whole, against 300 pairs by themselves."""
    values = np.where(np.repeat(np.arange(30) < 9, 10), -1, 1) * margins(0.0, mean=4.0)[0]
    whole, apart = (
        label_noise(values, clusters)[0] for clusters in (np.repeat(np.arange(30), 10), np.arange(300))
    )
    assert whole.value == apart.value == pytest.approx(0.3, abs=0.01)
    assert (whole.high - whole.low) / (apart.high - apart.low) == pytest.approx(10**0.5, rel=0.3)
    low, high = (0.3 + sign * 1.96 * (0.21 / 30) ** 0.5 for sign in (-1, 1))
    assert (whole.low, whole.high) == (pytest.approx(low, abs=0.04), pytest.approx(high, abs=0.04))


@pytest.mark.parametrize(("n", "told"), [(19, False), (20, True)])
def test_twenty_pairs_are_the_fewest(n, told):
    values = np.linspace(1.8, 2.2, n)
    assert (label_noise(values, np.arange(n))[0].value is not None) is told
    assert LEAST_SEPARATION == 1.0


def test_the_chance_of_a_wrong_label_by_bayes_rule():
    one, at = Mixture(0.2, 1.5, 0.8), np.array([-2.0, -0.1, 0.0, 0.1, 2.0])
    right, wrong = (stats.norm(mean, 0.8).pdf(at) for mean in (1.5, -1.5))
    assert one.flipped(at) == pytest.approx(0.2 * wrong / (0.8 * right + 0.2 * wrong))


def ascended(values, start, spread, rounds=60):
    """EM from one start with scipy's densities: log-likelihood, share, mean, spread."""
    share, mean = start, np.abs(values).mean()
    for _ in range(rounds):
        right, wrong = (
            (1 - share) * stats.norm(mean, spread).pdf(values),
            share * stats.norm(-mean, spread).pdf(values),
        )
        turned = (1 - 2 * wrong / (right + wrong)) * values
        share = np.clip((wrong / (right + wrong)).mean(), 1e-4, 0.5)
        mean = max(turned.mean(), 0)
        spread = np.sqrt(max((values**2).mean() - mean**2, 1e-12))
    both = (1 - share) * stats.norm(mean, spread).pdf(values) + share * stats.norm(-mean, spread).pdf(values)
    return np.log(both).sum(), share, mean, spread


def test_the_fit_is_the_best_of_three_starts():
    """Sides that hardly differ have several hills of likelihood; each start wins on some of these files."""
    winners = set()
    for seed in range(40):
        values = margins(0.3, n=40, mean=0.7, seed=seed)[0]
        spread = np.abs(values).std()
        found = [ascended(values, start, spread) for start in (0.02, 0.15, 0.35)]
        best = max(found)
        winners.add(found.index(best))
        ours = fitted(values)
        assert (ours.share, ours.mean, ours.spread) == pytest.approx(best[1:], rel=1e-6, abs=1e-9), seed
    assert winners == {0, 1, 2}


def test_equal_margins_have_no_spread_to_start_from():
    found = fitted(np.ones(30))
    assert (found.share, found.mean) == (pytest.approx(1e-4), pytest.approx(1.0))


@pytest.mark.parametrize(("wrong", "none"), [(1, True), (8, False)])
def test_less_than_one_label_is_none(wrong, none):
    values = np.where(np.arange(40) < wrong, -1, 1) * np.linspace(1.8, 2.2, 40)
    low = label_noise(values, np.arange(40))[0].low
    assert (low == 0) is none and (none or low > 1 / 40)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_density_is_that_of_the_mixture(share):
    values = np.linspace(-2.0, 2.0, 9)
    expected = sum(likelihoods(share, 0.8, 0.5, values)) * np.sqrt(2 * np.pi)
    assert label_noises._density(Mixture(share, 0.8, 0.5), values) == pytest.approx(expected)


def test_the_share_does_not_depend_on_the_scale_of_the_margins():
    values = margins(0.2, n=60)[0]
    one, small = (label_noise(scale * values, np.arange(60))[0] for scale in (1.0, 1e-9))
    assert (small.value, small.low, small.high) == pytest.approx((one.value, one.low, one.high), abs=1e-6)


@pytest.mark.parametrize(("n", "told"), [(19, False), (20, True)])
def test_twenty_pairs_are_the_least_that_tell(n, told):
    assert (label_noise(np.linspace(1.9, 2.1, n), np.arange(n))[0].value is not None) is told


def test_no_wrong_label_among_n_leaves_what_n_could_have_missed():
    """With none in n the upper end is 1 − (α/2)^(1/n), and the lower end is none at all."""
    found, _ = label_noise(np.full(40, 1.0) + np.linspace(-0.01, 0.01, 40), np.arange(40))
    assert (found.low, found.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 40)))


def test_a_stricter_alpha_has_a_wider_interval():
    values = margins(0.25, n=80)[0]
    wide, usual = (label_noise(values, np.arange(80), alpha=alpha)[0] for alpha in (0.01, 0.2))
    assert wide.low < usual.low < usual.value < usual.high < wide.high


def answered(prompts, sides):
    return [
        Pair(str(i), prompt, chosen, rejected, line=i + 1)
        for i, (prompt, (chosen, rejected)) in enumerate(zip(prompts, sides, strict=True))
    ]


def few_answers(words, share, n=80, seed=0):
    """Correct labels of questions whose answer is one of a few words, the first of them on `share`."""
    rng = np.random.default_rng(seed)
    right = np.where(rng.random(n) < share, 0, rng.integers(1, len(words), n))
    wrong = (right + rng.integers(1, len(words), n)) % len(words)
    return answered(
        [f"Question {i}?" for i in range(n)],
        [(words[a], words[b]) for a, b in zip(right, wrong, strict=True)],
    )


def opposed(prompts, each):
    """Every other prompt wants the long answer, the rest the short one."""
    rng, words = (
        np.random.default_rng(0),
        ["apple", "river", "stone", "cloud", "table", "green", "window", "music"],
    )
    text = lambda k: " ".join(rng.choice(words, k)) + "."  # noqa: E731
    pairs = [(text(30), text(6))[:: 1 if p % 2 else -1] for p in range(prompts) for _ in range(each)]
    return answered([f"Question {p}?" for p in range(prompts) for _ in range(each)], pairs)


WORDS = ["apple", "river", "stone", "cloud", "table", "green", "window", "music", "paper", "early", "north"]


def explained(form, words, share, n=160, seed=0):
    """Correct labels; an answer is one of a few words, in `form` with a text of its own."""
    rng = np.random.default_rng(seed)
    right = np.where(rng.random(n) < share, 0, rng.integers(1, len(words), n))
    wrong = (right + rng.integers(1, len(words), n)) % len(words)
    told = lambda k: form.format(words[k], " ".join(rng.choice(WORDS, 12)))  # noqa: E731
    return answered(
        [f"Question {i}?" for i in range(n)], [(told(a), told(b)) for a, b in zip(right, wrong, strict=True)]
    )


RIGHT_LABELS = {
    **{f"explained {form} {share}": explained(form, words, share)
       for form, words in (("{}. {}.", ("Yes", "No")), ("{}) {}.", "ABCD"),
                           ('{{"label": "{}", "why": "{}"}}', ("safe", "unsafe")))
       for share in (0.8,)},
    **{f"yes-no {share} {seed}": few_answers(("Yes.", "No."), share, seed=seed)
       for share in (0.5, 0.6, 0.9) for seed in range(2)},
    **{f"choices {share}": few_answers("ABCD", share) for share in (0.25, 0.7)},
    **{f"opposed {k}": opposed(k, 12) for k in (2, 4)},
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT_LABELS)
def test_correct_labels_are_never_called_reversed(name):
    """Margins of a few sizes look like two clear humps; none of these files has a wrong label."""
    found = surface(RIGHT_LABELS[name], permutations=0)
    measured, wrong = judge_suspects(found.separations["surface"], found.pairs, 0.05, 0)
    assert [f.code for f in measured.findings] in (["PB231"], []) and not wrong.any()


@pytest.mark.parametrize("kind", ["one size", "uniform", "far humps"])
def test_signs_that_are_chance_tell_a_share_as_rarely_as_alpha_says(kind):
    told = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = {
            "one size": rng.choice([-1.0, 1.0], 120),
            "uniform": rng.uniform(-1, 1, 120),
            "far humps": rng.choice([-1, 1], 120) * rng.normal(3, 1, 120),
        }[kind]
        told += label_noise(values, np.arange(120))[0].value is not None
    assert told <= 2


@pytest.mark.parametrize(("wrong", "told"), [(120, True), (140, False), (160, False)])
def test_an_interval_that_reaches_one_half_tells_no_share(wrong, told):
    """Of 300 margins in two clear humps: 40%, 47% and 53% on the wrong side."""
    values = np.where(np.arange(300) < wrong, -1, 1) * margins(0.0, mean=5.0)[0]
    assert (label_noise(values, np.arange(300))[0].value is not None) is told
