"""Commands that messages tell: run as they are written, they do what is said and harm nothing."""

import gzip
import re
import shlex
import shutil
import subprocess
import types
from itertools import islice
from pathlib import Path

import pytest

from probe.commands.label_run import Audit, LabelOptions
from probe.errors import ProbeError
from probe.gate.export.mlx import _fuse
from probe.pairs.formats import rows_of
from probe.pairs.unpaired import read_unpaired
from probe.probes.label.file import _why_not_read

NAMES = ("pairs.jsonl", "answers.jsonl", "my rows.json", "-x.jsonl", "it's.rows.jsonl", "x.rows.json")
HELD = '{"data": [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "c"}]}'
SCALE = "".join(f'{{"prompt": "p", "completion": "a", "label": {k}}}\n' for k in (1, 2, 3, 4, 5))
QUOTED = SCALE.replace('"label"', '"it\'s \\"so\\""')


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("name", [*NAMES, "pairs.json.gz"])
@pytest.mark.parametrize("kind", ["held", "scale", "a label of quotes"])
def test_a_told_command_writes_the_rows_beside_a_file_that_it_leaves_as_it_is(
    kind, name, tmp_path, monkeypatch
):
    """`jq … pairs.jsonl > pairs.jsonl` emptied the user's file."""
    monkeypatch.chdir(tmp_path)
    text = {"held": HELD, "scale": SCALE}.get(kind, QUOTED)
    path = tmp_path.joinpath(name).relative_to(tmp_path)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    before = path.read_bytes()
    fields = {"label": 'it\'s "so"'} if kind == "a label of quotes" else None
    with pytest.raises(ProbeError) as told:
        list(rows_of(path)) if kind == "held" else read_unpaired(path, fields)
    if name.endswith(".gz") and kind != "held":
        assert "Write true where the answer is wanted" in str(told.value)
        return
    command = re.search(r"`(.*)`", str(told.value))[1]
    subprocess.run(["bash", "-c", command], check=True)
    assert path.read_bytes() == before
    made = next(p for p in tmp_path.iterdir() if p.name != name)
    rows = [row for _, row in islice(rows_of(made), 9)]
    assert len(rows) == (2 if kind == "held" else 5) and made.name.endswith(".rows.jsonl")
    if kind == "scale":
        assert [answer.wanted for answer in read_unpaired(made).rows] == [False, False, False, True, True]


@pytest.mark.parametrize("path", ["a b.jsonl", "-x.jsonl", "it's.jsonl", "p.jsonl"])
def test_a_name_in_a_told_command_is_one_word(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(path).write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n', encoding="utf-8")
    job = types.SimpleNamespace(model=path, output="out-sft", trained="merged sft")
    options = LabelOptions(Path(path), "ann", 1, 0.8, 0.9, None, False, 0.05, 0)
    told = [_fuse(job), _why_not_read(Path(path), 3, None).split("`")[1]]
    with pytest.raises(ProbeError) as nobody:
        Audit.begin(options).run()
    told.append(str(nobody.value).split("`")[1])
    named = f"./{path}" if path.startswith("-") else path
    for command, place in zip(told, (2, 2, 2), strict=True):
        words = shlex.split(command)
        assert words[place] == named and len(words) == {"mlx_lm.fuse": 7}.get(words[0], len(words)), command
    assert shlex.split(told[1]) == ["probe", "label", named, "--seed", "3"]
