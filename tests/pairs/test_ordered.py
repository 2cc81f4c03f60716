"""Two responses and a column that says which is better: refused with its name, counted where mapped."""

import json

import pytest

from probe.errors import ProbeError
from probe.pairs.ordered import contradicts
from probe.pairs.read import read_pairs
from probe.probes.data.run import DataRequest, check_data

# (the two columns, the ordering column, values that prefer the first, the second, and none)
FORMS = [
    ("response_0", "response_1", "better_response_id", 0, 1, None),
    ("response_0", "response_1", "safer_response_id", 0, 1, -1),
    ("human_ref_A", "human_ref_B", "labels", 1, 0, None),
    ("response1", "response2", "overall_preference", -2, 1, 0),
    ("response_a", "response_b", "winner", "model_a", "model_b", "tie"),
    ("answer_1", "answer_2", "preferred", "answer_1", "2", "alpha"),
    ("text_a", "text_b", "preference", "A", "B", "alpha"),
]


@pytest.mark.parametrize(("one", "other", "by", "first", "second", "none"), FORMS)
def test_the_column_says_which_side_is_better(one, other, by, first, second, none):
    for sides, better, worse in (((one, other), first, second), ((other, one), second, first)):
        assert contradicts({by: worse}, sides)
        assert not contradicts({by: better}, sides) and not contradicts({by: none}, sides)
    assert not contradicts({by: second}, ("good", "bad")) and not contradicts({}, (one, other))


def written(tmp_path, rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("one", "other", "by", "first", "second", "none"), FORMS)
def test_such_rows_are_told_by_that_column_and_counted_where_mapped(
    tmp_path, one, other, by, first, second, none
):
    values = (first, second, second, none)
    rows = [{"prompt": f"q {i}", one: f"a {i}", other: f"b {i}", by: v} for i, v in enumerate(values)]
    with pytest.raises(ProbeError, match=f'"{one}" and "{other}", which "{by}" puts in order'):
        list(read_pairs(written(tmp_path, rows[:1])))
    request = DataRequest(written(tmp_path, rows), fields=f"prompt=prompt,chosen={one},rejected={other}")
    (told,) = [finding for finding in check_data(request).findings if finding.code == "PB355"]
    assert told.lines == (2, 3) and told.message.startswith("2 of 4 pairs")


def test_ranked_lists_are_told(tmp_path):
    path = written(tmp_path, [{"prompt": "q", "answers": [{"answer": "a", "rank": 1}]}])
    with pytest.raises(ProbeError, match='"answers" lists responses with a rank'):
        list(read_pairs(path))


def test_a_mapping_that_is_wrong_is_told_as_such(tmp_path):
    path = written(tmp_path, [{"response_0": "a", "response_1": "b", "better_response_id": 0}])
    with pytest.raises(ProbeError, match='no field "respons_0"'):
        list(read_pairs(path, fields={"chosen": "respons_0", "rejected": "response_1"}))
