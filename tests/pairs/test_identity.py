"""Which pairs and prompts are the same: by the words and by what the chat template is given beside them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from probe.pairs.identity import cluster_key, content_digest, digest, prompt_identity
from probe.pairs.record import Pair
from probe.probes.clusters import prompt_clusters
from probe.probes.data.columns import ColumnReader
from probe.probes.data.result import Data
from probe.probes.data.words import combined
from probe.probes.levers.run import shots_for
from probe.probes.order import _place
from probe.training import data as training

ASKED, YES, NO = (({"role": role, "content": text},) for role, text in (
    ("user", "Why?"), ("assistant", "Yes."), ("assistant", "No.")))  # fmt: skip
TOOL = [{"type": "function", "function": {"name": "weather"}}]
OPTIONS = (
    {}, {"tools": TOOL}, {"tools": [{"type": "function", "function": {"name": "stock"}}]},
    {"chat_template_kwargs": {"enable_thinking": True}}, {"chat_template_kwargs": {"enable_thinking": False}},
    {"tools": TOOL, "chat_template_kwargs": {"enable_thinking": False}},
)  # fmt: skip
SAME = (
    ({"tools": None, "chat_template_kwargs": {}}, {}), ({"tools": []}, {"other": 1}), ({"tools": "[]"}, {}),
    ({"tools": json.dumps(TOOL, indent=1)}, {"tools": TOOL}),
    ({"chat_template_kwargs": {"a": 1, "b": 2}}, {"chat_template_kwargs": {"b": 2, "a": 1}}),
)  # fmt: skip
LONG = ({"role": "user", "content": "Why do so many people in this town eat at night?"},)


def pair(meta, line=1, prompt=ASKED):
    return Pair(str(line), prompt, YES, NO, meta=meta, line=line)


NAMES = {
    "digest": digest, "audit": content_digest, "prompt": prompt_identity, "split": training.prompt_key,
    "order": lambda one: _place(one, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_pairs_with_other_options_are_other_pairs(name):
    named = [NAMES[name](pair(meta)) for meta in OPTIONS]
    assert len(set(named)) == len(OPTIONS)
    assert all(NAMES[name](pair(a)) == NAMES[name](pair(b)) for a, b in SAME)


def read(metas):
    return ColumnReader().read([pair(meta, i, LONG) for i, meta in enumerate(metas, 1)])


def test_columns_and_clusters_tell_other_options_apart():
    told = read(OPTIONS)
    for found in (told.keys[:, 0], told.exact[:, 0], combined(*told.exact.T), *told.bands.T):
        assert len(np.unique(found)) == len(OPTIONS)
    for metas in SAME:
        same = read(metas)
        assert all((rows[0] == rows[1]).all() for rows in (same.keys, same.exact, same.bands))
        assert prompt_clusters(map(pair, metas)).tolist() == [0, 0]
    assert prompt_clusters(map(pair, OPTIONS)).tolist() == list(range(len(OPTIONS)))


def test_a_prompt_with_other_tools_may_be_a_shot():
    others = [pair(meta, i) for i, meta in enumerate(OPTIONS, 2)]
    assert [shot.line for shot in shots_for(pair({}), others)] == [3, 4, 5, 6, 7]


# Caches, splits and saved answers go by these names.
FIXED = [
    (
        Pair("1", "Why é?", "Yes.", "No.", meta={"x": 1}),
        ["3e5f54a90bd6326c", "4987eeeb8c6ffc7d", "2fa676fd4e7280bf", "d3681e0360ae1289952c913943ab2a81"],
    ),
    (
        Pair("2", ASKED, YES, NO),
        ["804c1398b3f78658", "84610e66b40ad42f", "5d8a995a6fa7cf7c", "6c023e8215a1095c56c30d9063fa6030"],
    ),
    (
        Pair("3", None, "Yes.", "No.", line=3),
        ["26a80587f3326d4e", "37a8ead6eb6fd588", "62a4cb9b173c6e4a", "f3c444ddfa7882ff9c38d3a6b2989524"],
    ),
]


@pytest.mark.parametrize(("one", "names"), FIXED)
def test_pairs_without_options_keep_their_names(one, names):
    found = [digest(one), content_digest(one), training.prompt_key(one), _place(one, 0).hex()]
    assert found == names


CLUSTERS = {
    "clusters": lambda pairs: prompt_clusters(pairs).tolist(),
    "split": training.prompt_names,
    "draw": lambda pairs: [training.prompt_key(one) for one in pairs],
    "order": lambda pairs: [_place(one, 0) for one in pairs],
    "data": lambda pairs: Data(ColumnReader().read(pairs), ("all",), False, {}).prompts.tolist(),
    "key": lambda pairs: [cluster_key(one) for one in pairs],
}


@pytest.mark.parametrize("prompt", [None, "", ()])
@pytest.mark.parametrize("name", CLUSTERS)
def test_pairs_without_a_prompt_depend_on_each_other_where_their_texts_are_the_same(name, prompt):
    """A repeat is no second observation, and in the other fold it is an answer that was seen."""
    texts = [("He left.", "She left."), ("She left.", "He left."), ("He left.", "She left."), ("He", "She")]
    pairs = [Pair(str(i), prompt, *sides, line=i) for i, sides in enumerate(texts, 1)]
    first, swapped, again, other = CLUSTERS[name](pairs)
    assert first == swapped == again != other


def test_repeats_without_a_prompt_are_never_on_both_sides_of_a_split():
    pairs = [Pair(str(i), None, f"text {i % 5}", "other", line=i) for i in range(1, 41)]
    names = training.prompt_names(pairs)
    items = [SimpleNamespace(prompt=name, pair=p) for name, p in zip(names, pairs, strict=True)]
    parts = training.split_by_prompt(items, 0.4, 0)
    texts = [{item.pair.chosen for item in part} for part in parts]
    assert all(texts) and not texts[0] & texts[1]
