"""The weight files of a model or an adapter: safetensors alone, by name and through the index; the hashes.

What a directory is loaded from is decided here by the names, before any library looks at it, so that no
index, config or second file beside the first makes a library read a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import CannotMeasure, ProbeError
from ..files import cache_dir, sha256_file, write_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
WHOLE, INDEX, ADAPTER_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
)
GENERATION = "generation_config.json"  # its end tokens end what is sampled
WEIGHTS_KEY = "transformers_weights"  # a config's own name for its weight file
SETTLED = 2.0  # seconds after which a file's times tell whether it was written again
SAVE_AGAIN = "convert with `save_pretrained(…, safe_serialization=True)`"


def model_files(directory: Path) -> list[Path]:
    """The safetensors that a model's directory is loaded from, each looked at.

    Raises `ProbeError` for a directory without any, an index or config that names another kind of file, and
    files that are damaged.
    """
    if (directory / ADAPTER_CONFIG).exists():
        raise ProbeError(
            f"{directory}: holds {ADAPTER_CONFIG}, so it is an adapter. Name it with --adapter and its base "
            "model with --model."
        )
    return [_sound(file) for file in _named(directory)[1]]


def _named(directory: Path) -> tuple[Path | None, list[Path]]:
    """The index of a model's directory, where it has one, and the weight files that are loaded."""
    name = read_json(directory / CONFIG).get(WEIGHTS_KEY) or _first(directory, (WHOLE, INDEX))
    file = directory / str(name)
    return (file, shards(file)) if file.name.endswith(".index.json") else (None, [file])


def adapter_files(directory: Path) -> list[Path]:
    """The same of a peft adapter's directory, which has one file."""
    if not (directory / ADAPTER_CONFIG).is_file():
        raise ProbeError(f"{directory}: no {ADAPTER_CONFIG}. Give the directory of a saved peft adapter.")
    read_json(directory / ADAPTER_CONFIG)
    return [_sound(directory / _first(directory, (ADAPTER_WEIGHTS,)))]


def _first(directory: Path, names: tuple[str, ...]) -> str:
    found = next((name for name in names if (directory / name).is_file()), None)
    if found is None:
        raise ProbeError(
            f"{directory}: no safetensors weights by the name of {' or '.join(names)}. Pickled weights are "
            f"not read, since they can run code; {SAVE_AGAIN}."
        )
    return found


def shards(index: Path) -> list[Path]:
    """The files that an index maps its tensors to. Raises `ProbeError` for none, or one elsewhere."""
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(v, str) for v in listed.values()):
        raise ProbeError(f"{index}: has no weight_map of tensors to files. Save the model again.")
    if outside := next((v for v in listed.values() if ".." in Path(v).parts or Path(v).is_absolute()), None):
        raise ProbeError(f"{index}: names {outside}, outside of the model's directory. Save the model again.")
    return [index.parent / name for name in sorted(set(listed.values()))]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that must hold an object. Raises `ProbeError`."""
    try:
        whole = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ProbeError(
            f"{path}: {kind_of(path) or f'not readable JSON ({error})'}. Save it again."
        ) from error
    if not isinstance(whole, dict):
        raise ProbeError(f"{path}: holds no JSON object. Save it again.")
    return whole


def _sound(file: Path) -> Path:
    """The file, when it is by its name and by its first bytes whole safetensors."""
    check_name(file)
    if not file.is_file():
        raise ProbeError(f"{file}: no such file, but the model's index names it. Copy the whole directory.")
    try:
        with safe_open(file, framework="np") as tensors:
            if not tensors.keys():
                raise ProbeError(f"{file}: holds no tensors. Save the weights again.")
    except (SafetensorError, OSError) as error:
        raise ProbeError(
            f"{file}: {kind_of(file) or f'damaged ({error})'}. Fetch or save it again."
        ) from error
    return file


def check_name(file: Path) -> None:
    """Raises `ProbeError` for what is by its name no safetensors file of its model's directory."""
    if not file.name.endswith(".safetensors"):
        raise ProbeError(
            f"{file}: not a safetensors file. Pickled weights are not read, since they can run code; "
            f"{SAVE_AGAIN}."
        )


def kind_of(path: Path) -> str | None:
    """What a file is in place of what it should be, where its first bytes tell; else None."""
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
    except OSError as error:
        return error.strerror
    if not head:
        return "an empty file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself (`git lfs pull` fetches it)"
    return "a web page, not the file itself" if head.startswith(b"<") else None


def tensor_names(files: list[Path]) -> set[str]:
    """The names of the tensors in these files."""
    names: set[str] = set()
    for file in files:
        with safe_open(file, framework="np") as tensors:
            names.update(tensors.keys())
    return names


def weights_hash(source: str, commit: str | None = None, *, remembered: bool = True) -> str:
    """A hash of what a model or adapter is made from: names and bytes of its config, code and weights.

    Of a hub name it is that of name and commit; without a commit it never comes up again. The bytes of a
    large file are hashed once and the answer is remembered under path, size, inode and times; a time of
    change (which no program can set back) tells a replaced file whatever its other facts are.
    `remembered=False` reads every byte.
    """
    path = Path(source)
    if not path.is_dir():
        return _text_hash(f"{source}@{commit or uuid.uuid4()}")
    digest = _remembered_hash if remembered else sha256_file
    return _text_hash(
        "\n".join(f"{file.relative_to(path).as_posix()} {digest(file)}" for file in _hashed(path))
    )


def _hashed(directory: Path) -> Iterator[Path]:
    """The files whose bytes decide what is computed: config, the model's own code, index, weights."""
    for name in (CONFIG, ADAPTER_CONFIG, INDEX, GENERATION):
        if (directory / name).is_file():
            yield directory / name
    yield from sorted((*directory.glob("*.py"), *directory.glob("*.safetensors")))
    yield from _elsewhere(directory)


def _elsewhere(directory: Path) -> list[Path]:
    """The index of another name, and the weights in folders, that a model's directory is loaded from."""
    if (directory / ADAPTER_CONFIG).exists() or not (directory / CONFIG).is_file():
        return []
    with suppress(ProbeError):  # what cannot be loaded is told where it is loaded
        index, files = _named(directory)
        others = [index] if index and index != directory / INDEX else []
        return [f for f in (*others, *files) if f.is_file() and (f in others or f.parent != directory)]
    return []


def _remembered_hash(file: Path) -> str:
    stat = file.stat()
    if stat.st_size <= 1 << 20:
        return sha256_file(file)
    memo = cache_dir() / "hashes" / _text_hash(f"{file.resolve()}:{_facts(stat)}")
    with suppress(OSError):
        if len(known := memo.read_text()) == 64:
            return known
    value = sha256_file(file)
    # A file written within the clock's grain, or while it was read, could be another one under these facts.
    if time.time() - stat.st_ctime > SETTLED and _facts(file.stat()) == _facts(stat):
        with suppress(CannotMeasure):  # a cache that cannot be written costs time, not the run
            write_text(memo, value)
    return value


def _facts(stat: os.stat_result) -> str:
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def tokenizer_facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The hashes of a tokenizer and of its chat template."""
    template = tokenizer.chat_template
    return {
        "tokenizer_sha256": _text_hash(_tokenizer_state(tokenizer)),
        "template_sha256": _text_hash(str(template)) if template else None,
    }


def _tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    special = json.dumps(tokenizer.special_tokens_map, sort_keys=True, default=str)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # which does not save that special tokens in a text are read as text
        return f"{backend.to_str()}{special}{'split' * bool(tokenizer.split_special_tokens)}"
    return "".join(
        (json.dumps(tokenizer.get_vocab(), sort_keys=True), special, *_vocabulary_files(tokenizer))
    )


def _vocabulary_files(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Hashes of what a tokenizer without a backend saves beside its tokens: merges, a SentencePiece model."""
    with tempfile.TemporaryDirectory() as folder, suppress(Exception):  # some have no files of their own
        return [sha256_file(Path(file)) for file in tokenizer.save_vocabulary(folder) if file]
    return []


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
