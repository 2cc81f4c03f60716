"""Config files that are damaged, foreign or wrong: they never block help, and are told in a line."""

import pytest

OURS = {
    "cut": "[bias\n",
    "bytes": b"\xff\xfe\x00",
    "deep": "a = " + "[" * 5000,
    "unknown-table": "[nothing]\nx = 1\n",
    "unknown-key": "[bias]\nnothing = 1\n",
    "words-for-a-number": '[bias]\nbound = "much"\n',
    "list-for-a-number": "[bias]\nbound = [1]\n",
    "nan": "[bias]\nbound = nan\n",
    "inf": "alpha = inf\n",
    "zero-alpha": "alpha = 0\n",
    "minus-seed": "seed = -1\n",
    "huge-seed": f"seed = {10**30}\n",
    "unknown-limit": "[gate.limits]\nnothing = 1\n",
    "wrong-limit": '[gate.limits]\nsurface_accuracy = "x"\n',
    "limit-true": "[gate.limits]\nsurface_accuracy = true\n",
    "table-for-a-value": "[bias.bound]\nx = 1\n",
    "value-for-a-table": "bias = 3\n",
    "escapes": '[bias]\n"\\u001b[31m" = 1\n',
    "command-of-a-log": '[bias]\n"::error::x" = 1\n',
    "twice": "alpha = 0.05\nalpha = 0.1\n",
    "template-unknown": '[bias]\ntemplate = "nothing"\n',
    "accept-without-reason": '[[gate.accept]]\ncode = "PB202"\n',
    "accept-no-date": '[[gate.accept]]\ncode = "PB202"\nreason = "x"\nuntil = "soon"\n',
    "accept-no-code": '[[gate.accept]]\ncode = "PB999999"\nreason = "x"\n',
}
FOREIGN = ["[tool.other\nx", b"\xff\xfe", "a = " + "[" * 2000, "[tool]\nprobe = 3\n"]


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize("name", OURS)
def test_our_own_file(probe, tmp_path, pair_file, tiny_model_dir, name):
    write(tmp_path / "probe.toml", OURS[name])
    for command in (("gate", pair_file, "--estimate", "--model", tiny_model_dir), ("bias", pair_file)):
        done = probe(*command)
        if done.code == 2:
            assert (done.out == "" and "probe.toml" in done.err) or "--" in done.err, done
    assert done.code == 2 or name.startswith(("accept", "unknown-limit", "wrong-limit", "limit")), done
    assert probe("explain", "PB201").code == 0 and probe("bias", "--help").code == 0


@pytest.mark.parametrize("text", FOREIGN, ids=range(len(FOREIGN)))
def test_the_file_of_another_tool(probe, tmp_path, text):
    write(tmp_path / "pyproject.toml", text)
    assert probe("explain", "PB201").code == 0 and probe("--help").code == 0
