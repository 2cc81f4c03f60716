"""`--promote-to` and `probe rollback`: whole models only, the one before kept, whatever is killed when."""

import json
import subprocess
import sys

import pytest

from probe.__main__ import main
from probe.errors import CannotMeasure, ProbeError
from probe.gate.promote import deploy as deploys
from probe.gate.promote.deploy import NOTE, promote, restore_previous

# Runs in a process of its own: forks a child for each k, which is killed at its k-th change of the disk.
KILLER = """
import os, shutil, signal, sys
from pathlib import Path
from probe.gate.promote.deploy import promote, restore_previous

EVENTS = {"os.rename", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.copyfile",
          "ctypes.dlsym", "os.chmod", "os.utime", "tempfile.mkstemp", "shutil.rmtree"}
root, act = Path(sys.argv[1]), sys.argv[2]
k = 0
while True:
    k += 1
    home = root / f"{act}-{k}"
    shutil.copytree(root / act, home, symlinks=True)
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            global seen
            if event in EVENTS or (event == "open" and str(home) in str(arguments[0])):
                seen += 1
                if seen == k:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        if act == "rollback":
            restore_previous(home / "serve")
        else:
            promote(home / "new", home / "serve")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        assert status == 0, status
        break
print(k - 1)
"""


def model(path, words):
    """A directory that looks like a saved adapter, with a file in a folder."""
    (path / "more").mkdir(parents=True)
    (path / "adapter_model.safetensors").write_text(words * 50)
    (path / "adapter_config.json").write_text(json.dumps({"words": words}))
    (path / "more" / "notes.txt").write_text(words)
    return path


def content(place):
    """The words of a model if it is whole, wherever the place points; an error for anything between."""
    config = json.loads((place / "adapter_config.json").read_text())["words"]
    assert (place / "adapter_model.safetensors").read_text() == config * 50
    assert (place / "more" / "notes.txt").read_text() == config
    return config


def killed_everywhere(root, act):
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(root), act], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [root / f"{act}-{k}" for k in range(1, int(done.stdout) + 1)]


def test_a_promoted_model_is_in_place_and_rollback_returns(tmp_path):
    one, two, place = model(tmp_path / "one", "one"), model(tmp_path / "two", "two"), tmp_path / "serve"
    first = promote(one, place)
    assert first.before is None and content(place) == "one"
    second = promote(two, place, {"created": "then"})
    assert second.before == first.now and content(place) == "two"
    assert json.loads((place / "promotion.json").read_text())["created"] == "then"
    assert restore_previous(place).now == first.now and content(place) == "one"
    with pytest.raises(ProbeError, match="no version before it"):
        restore_previous(place)
    assert content(place) == "one"


def test_promoting_what_is_in_place_changes_nothing(tmp_path):
    place = tmp_path / "serve"
    first = promote(model(tmp_path / "one", "one"), place)
    assert promote(tmp_path / "one", place) == first
    assert len([p for p in (tmp_path / "serve.versions").iterdir() if p.name[0] == "0"]) == 1


def test_the_place_does_not_depend_on_the_source_or_on_where_it_lies(tmp_path):
    home = tmp_path / "a"
    home.mkdir()
    source = model(home / "one", "one")
    promote(source, home / "serve")
    (source / "adapter_config.json").write_text("{}")
    home.rename(tmp_path / "b")
    assert content(tmp_path / "b" / "serve") == "one"


@pytest.mark.skipif(sys.platform != "linux", reason="swapping a directory for a link needs renameat2")
def test_a_plain_directory_becomes_the_first_version(tmp_path):
    place = model(tmp_path / "serve", "old")
    promote(model(tmp_path / "new", "new"), place)
    assert content(place) == "new" and place.is_symlink()
    restore_previous(place)
    assert content(place) == "old"


@pytest.mark.parametrize("kind", ["file", "link", "empty"])
def test_what_is_not_ours_is_left_alone(tmp_path, kind):
    place, source = tmp_path / "serve", model(tmp_path / "one", "one")
    if kind == "file":
        place.write_text("mine")
    elif kind == "link":
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
    with pytest.raises(ProbeError, match="serve"):
        promote(source, place)
    assert kind != "file" or place.read_text() == "mine"
    assert kind != "link" or place.readlink() == tmp_path / "elsewhere"


@pytest.mark.parametrize("target", ["elsewhere/0001-abc", "serve.versions/0009-abc"])
def test_a_link_is_ours_where_it_leads_to_a_version_with_its_note(tmp_path, target):
    """A link of the same name into another directory is not, nor is one to a version that is not there."""
    place = tmp_path / "serve"
    promote(model(tmp_path / "one", "one"), place)
    known = place.readlink()
    noted = tmp_path / "elsewhere" / "0001-abc"
    noted.mkdir(parents=True)
    (tmp_path / "serve.versions" / "0001-abc").mkdir()
    (tmp_path / "serve.versions" / "0001-abc" / NOTE).write_text("{}")
    place.unlink()
    place.symlink_to(tmp_path / target)
    with pytest.raises(ProbeError, match="did not make"):
        promote(model(tmp_path / "two", "two"), place)
    place.unlink()
    place.symlink_to(known)
    assert promote(tmp_path / "two", place).now.startswith("0002-")


@pytest.mark.parametrize(
    ("error", "told"), [(OSError(28, "No space left"), "No space left"), (OSError("odd"), "odd")]
)
def test_what_the_disk_said_is_told_without_its_number(tmp_path, error, told):
    with pytest.raises(CannotMeasure) as raised, deploys._alone(tmp_path / "serve"):
        raise error
    assert str(raised.value) == f"{tmp_path / 'serve'}: {told}. What was in place is unchanged."


def test_a_source_without_weights_is_refused(tmp_path):
    with pytest.raises(ProbeError, match="no safetensors"):
        promote(tmp_path, tmp_path / "serve")


def test_a_disk_that_refuses_leaves_the_old_model(tmp_path, monkeypatch):
    place = tmp_path / "serve"
    promote(model(tmp_path / "one", "one"), place)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    with pytest.raises(CannotMeasure, match="No space left"):
        promote(model(tmp_path / "two", "two"), place)
    assert content(place) == "one"


@pytest.mark.skipif(sys.platform != "linux", reason="kills forked children; swaps by renameat2")
@pytest.mark.parametrize("old", ["link", "directory", "nothing"])
def test_a_kill_at_any_change_of_the_disk_leaves_a_whole_model(tmp_path, old):
    """Old or new and nothing else; afterwards a promotion goes through and a rollback finds the old one."""
    home = tmp_path / "promote"
    home.mkdir()
    if old == "link":
        promote(model(home / "old", "old"), home / "serve")
    elif old == "directory":
        model(home / "serve", "old")
    model(home / "new", "new")
    homes = killed_everywhere(tmp_path, "promote")
    assert len(homes) > 12
    met = {content(h / "serve") if (h / "serve").exists() else None for h in homes}
    assert met <= {None if old == "nothing" else "old", "new"} and len(met) == 2
    for h in homes:
        promote(h / "new", h / "serve")
        assert content(h / "serve") == "new"
        assert not [p for p in (*h.iterdir(), *(h / "serve.versions").iterdir()) if "partial" in p.name]
        if old != "nothing":
            restore_previous(h / "serve")
            assert content(h / "serve") == "old"


@pytest.mark.skipif(sys.platform != "linux", reason="kills forked children")
def test_a_rollback_killed_at_any_change_can_be_done_again(tmp_path):
    home = tmp_path / "rollback"
    promote(model(home / "one", "one"), home / "serve")
    promote(model(home / "two", "two"), home / "serve")
    homes = killed_everywhere(tmp_path, "rollback")
    assert {content(h / "serve") for h in homes} <= {"one", "two"} and len(homes) >= 2
    for h in homes:
        if content(h / "serve") == "two":
            restore_previous(h / "serve")
        assert content(h / "serve") == "one"


def test_the_rollback_command(tmp_path, monkeypatch, capsys):
    place = tmp_path / "serve"
    promote(model(tmp_path / "one", "one"), place)
    promote(model(tmp_path / "two", "two"), place)
    monkeypatch.setattr(sys, "argv", ["probe", "rollback", str(place)])
    assert main() == 0 and "now 0001-" in capsys.readouterr().out and content(place) == "one"
    assert main() == 2 and "no version before it" in capsys.readouterr().err


def test_what_is_put_in_place_was_measured(tmp_path):
    """Weights that changed after the run are refused, those that did not are promoted."""
    from probe.gate.promote.sides import measured_weights
    from probe.records import Run
    from probe.scoring.weights import weights_hash

    one, two, place = model(tmp_path / "one", "one"), model(tmp_path / "two", "two"), tmp_path / "serve"
    facts = {"name": "base", "adapter": str(two), "adapter_sha256": weights_hash(str(two))}
    check = measured_weights(Run("bias", "now", inputs={"model": facts}))
    promote(one, place)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        before = (two / name).read_text()
        (two / name).write_text(before.replace("two", "owt"))
        with pytest.raises(ProbeError, match="other weights than those that were measured"):
            promote(two, place, check=check)
        assert content(place) == "one" and not list((tmp_path / "serve.versions").glob(".partial-*"))
        (two / name).write_text(before)
    promote(two, place, check=check)
    assert content(place) == "two"
    with pytest.raises(ProbeError, match="other weights"):
        promote(one, place, check=check)
    (two / "adapter_config.json").write_text("{}")
    promote(model(tmp_path / "three", "one"), tmp_path / "else")
    with pytest.raises(ProbeError, match="other weights"):  # also where the same bytes are in place already
        promote(one, tmp_path / "else", check=check)


@pytest.mark.parametrize("note", ["{", "[]", '{"previous": 3}', '{"previous": "../one"}', None])
def test_rollback_reads_its_notes_before_it_switches(tmp_path, note):
    place = tmp_path / "serve"
    first = promote(model(tmp_path / "one", "one"), place)
    promote(model(tmp_path / "two", "two"), place)
    path = tmp_path / "serve.versions" / first.now / "promotion.json"
    path.unlink()
    if note is not None:
        path.write_text(note)
    with pytest.raises(ProbeError, match=r"promotion\.json"):
        restore_previous(place)
    assert content(place) == "two"


def everything(place):
    return {p.relative_to(place).as_posix(): p.is_file() and p.read_bytes() for p in place.rglob("*")}


@pytest.mark.parametrize(
    "there", ["nothing", "a directory", "an empty directory", "a file", "a dead link", "a model"]
)
@pytest.mark.parametrize("refused", ["by the check", "by the disk", "by the user"])
def test_a_promotion_that_is_refused_leaves_nothing(tmp_path, there, refused, monkeypatch):
    """No versions, no lock and none of the directories above them, whatever stood at the place before."""
    new, place = model(tmp_path / "new", "new"), tmp_path / "a" / "b" / "serve"
    if there != "nothing":
        place.parent.mkdir(parents=True)
    if there == "a directory":
        model(place, "old")
    elif there == "an empty directory":
        place.mkdir()
    elif there == "a file":
        place.write_text("mine")
    elif there == "a dead link":
        place.symlink_to("nowhere")
    elif there == "a model":
        promote(model(tmp_path / "old", "old"), place)

    def check(copy):
        raise {"by the user": KeyboardInterrupt, "by the check": ProbeError("not this one")}.get(
            refused, OSError
        )

    before = everything(tmp_path)
    with pytest.raises((ProbeError, KeyboardInterrupt)):
        promote(new, place, check=check)
    assert everything(tmp_path) == before


def test_a_rollback_that_is_refused_leaves_nothing(tmp_path):
    (tmp_path / "serve").symlink_to("serve.versions/0001-abc")
    with pytest.raises(ProbeError):
        restore_previous(tmp_path / "serve")
    assert [path.name for path in tmp_path.iterdir()] == ["serve"]


def test_a_lock_that_its_holder_removed_is_made_anew(tmp_path):
    """One promotion is refused and removes what it made while another waits for the same lock."""
    from threading import Event, Thread

    old, new, place, held = (
        model(tmp_path / "old", "old"),
        model(tmp_path / "new", "new"),
        tmp_path / "serve",
        Event(),
    )

    def refuse(copy):
        held.set()
        waiting.join(0.3)
        raise ProbeError("not this one")

    def second():
        held.wait(10)
        promote(new, place)

    waiting = Thread(target=second)
    waiting.start()
    with pytest.raises(ProbeError, match="not this one"):
        promote(old, place, check=refuse)
    waiting.join(10)
    assert place.resolve().parent == tmp_path / "serve.versions" and (place / NOTE).is_file()
