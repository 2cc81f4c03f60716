"""Rows from whatever people keep pairs in: each with the line, or the number of the row, it stands on."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from ..errors import ProbeError
from ..files import sha256_file
from ..plain import plain_json
from ..shell import jq_rewrite
from .delimited import csv_rows
from .jsonl import JsonRows, json_array, json_lines
from .rows import RestUnread, short

INSTALL = "Install it with `pip install 'prefprobe[datasets]'`."
Opener = Callable[[Path], AbstractContextManager[Any]]
_HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(:(?P<split>[\w.\[\]%-]+))?")
# An object that holds a split's rows; a row's own list of messages is none.
_HOLDS_ROWS = re.compile(
    rb"[\xef\xbb\xbf\s]*\{\s*\"(?P<name>train|test|validation|data|rows|examples|instances|pairs)\"\s*:"
    rb"\s*\[\s*\{(?!\s*\"(role|content|from|value)\")"
)


def rows_of(path: Path) -> JsonRows:
    """(line, decoded row or `BadRow`) of a file, a dataset folder or a hub dataset, one after the other.

    The kind follows the name: `.jsonl`, `.json`, `.csv`, `.tsv`, `.parquet`, `.arrow`, `.feather`, each also
    packed as `.gz`, `.zst`, `.bz2` or `.xz`; anything else is taken for JSON. Folders and
    `owner/name[:split]` are read by `datasets`. Rows hold JSON alone, whatever the file held (`plain_json`).
    Raises `ProbeError` when there is nothing to read or a library is missing.
    """
    packed, kind = _form(path)
    if path.is_dir() or not (path.exists() or kind or packed):
        return _dataset(path)
    if path.exists() and not path.is_file():
        raise ProbeError(f"{path}: a pipe or device, and pairs are read twice. Write it to a file first.")
    return _whole(path, _file(path, OPENERS.get(packed, _plain), READERS.get(kind, _json)))


def _whole(path: Path, rows: JsonRows) -> JsonRows:
    """The rows. Raises `ProbeError` at one behind which no other can be read."""
    for line, row in rows:
        if isinstance(row, RestUnread):
            raise ProbeError(f"{path}:{line}: {row}")
        yield line, row


def _form(path: Path) -> tuple[str, str]:
    """How the name says that a file is packed and which kind it is, by suffix; "" where it says neither."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in OPENERS else ""
    return packed, suffixes[-1] if suffixes and suffixes[-1] in READERS else ""


def is_json_name(path: Path) -> bool:
    """Whether a file of that name is read as JSON, as JSON Lines are."""
    packed, kind = _form(path)
    return not packed and READERS.get(kind, _json) is _json


def is_rows_name(path: Path) -> bool:
    """Whether the name of a file says that it holds rows, packed or not."""
    return any(_form(path))


def is_table(path: Path) -> bool:
    """Whether a file of that name is read as a table of text cells."""
    return _form(path)[1] in (".csv", ".tsv")


def fingerprint(path: Path) -> str:
    """The hexadecimal SHA-256 of what `rows_of` reads: of a file its bytes, else the rows of the dataset.

    Raises `ProbeError` as `rows_of` does. A dataset's own name or version would not do: a folder is saved
    again under the same name, and what is kept of one would be told as the other's.
    """
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for _, row in rows_of(path):
        digest.update(json.dumps(row, default=_exactly).encode() + b"\n")
    return digest.hexdigest()


def _exactly(value: Any) -> str:
    """A value that JSON has no form for (a time, bytes, an image) as text that only its equal has."""
    return value.tobytes().hex() if hasattr(value, "tobytes") else repr(value)


def is_still(path: Path, sha256: Any) -> bool:
    """Whether `path` holds what had this `fingerprint`; False where nothing can be read, or none is known."""
    try:
        return isinstance(sha256, str) and fingerprint(path) == sha256
    except (ProbeError, OSError):
        return False


def _file(path: Path, opener: Opener, reader: Callable[[IO[bytes]], JsonRows]) -> JsonRows:
    try:
        with opener(path) as file:
            if reader in (_json, csv_rows, _tsv):
                _check_text(path, file)
            yield from reader(file)
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise ProbeError(f"{path}: cannot be unpacked ({error}). Pack it again.") from error
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror or error}. Give a file of pairs.") from error


def _check_text(path: Path, file: Any) -> None:
    """Raises `ProbeError` for what is no text, for two bytes a character, and for one object that holds all
    rows."""
    head: bytes = file.peek(512)[:512]
    for magic, (what, remedy) in MAGIC.items():
        if head.startswith(magic):
            remedy = _renaming(path, remedy) if remedy.startswith(".") else remedy
            raise ProbeError(f"{path}: this is {what}, not text. {remedy}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head[:2]:
        raise ProbeError(f"{path}: the text is UTF-16. Save it as UTF-8: `iconv -f UTF-16 -t UTF-8`.")
    if held := _HOLDS_ROWS.match(head):
        name = held["name"].decode()
        raise ProbeError(
            f'{path}: one object that holds the rows under "{name}". Write them one per line: '
            f"`{jq_rewrite(path, f'.{name}[]')}`."
        )


def _renaming(path: Path, ending: str) -> str:
    """The name by which a file is read as what it is; a packed one keeps the ending that says so."""
    packed, _ = _form(path)
    if ending in OPENERS:
        return "Unpack it once." if packed else f"Rename it to {path.name}{ending}."
    return f"Rename it to {Path(path.stem if packed else path.name).stem}{ending}{packed}."


def _plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _gzip(path: Path) -> gzip.GzipFile:
    return gzip.open(path, "rb")


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    zstandard = _need("zstandard", f"{path}: .zst")
    try:
        with path.open("rb") as file, io.BufferedReader(_Frames(file, zstandard.ZstdDecompressor())) as whole:
            yield whole
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from error


class _Frames(io.RawIOBase):
    """The content of a Zstandard file. Unlike the library's own reader it says when the file is cut off."""

    def __init__(self, file: IO[bytes], decompressor: Any) -> None:
        self._file, self._decompressor = file, decompressor
        self._frame: Any = None  # the frame that is under way
        self._packed, self._plain = b"", memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` from the next content; 0 at the end. Raises `EOFError` inside a frame."""
        while not self._plain:
            data = self._packed or self._file.read(4096)
            if not data:
                if self._frame is not None:
                    raise EOFError("it is cut off")
                return 0
            frame = self._frame or self._decompressor.decompressobj()
            self._plain = memoryview(frame.decompress(data))
            self._frame = None if frame.eof else frame
            self._packed = frame.unused_data if frame.eof else b""
        n = min(len(buffer), len(self._plain))
        buffer[:n], self._plain = self._plain[:n], self._plain[n:]
        return n


def _json(file: IO[bytes]) -> JsonRows:
    head = file.peek(512)[:512].lstrip(b"\xef\xbb\xbf \t\r\n")  # type: ignore[attr-defined]
    return json_array(file) if head.startswith(b"[") else json_lines(file)


def _tsv(file: IO[bytes]) -> JsonRows:
    return csv_rows(file, "\t")


def _parquet(file: IO[bytes]) -> JsonRows:
    """Rows of a Parquet table; they are numbered from 1, for there are no lines."""
    pq = _need("pyarrow.parquet", "Parquet")
    arrow = _need("pyarrow", "Parquet")
    source = file if file.seekable() else io.BytesIO(file.read())
    try:
        batches = pq.ParquetFile(source).iter_batches(batch_size=1024)
        yield from enumerate((plain_json(row) for batch in batches for row in batch.to_pylist()), 1)
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise OSError(f"not Parquet that can be read ({str(error).splitlines()[0]})") from error


def _arrow(file: IO[bytes]) -> JsonRows:
    """Rows of an Arrow file, as `datasets` keeps them, or a Feather file; numbered from 1."""
    arrow, ipc = _need("pyarrow", "Arrow"), _need("pyarrow.ipc", "Arrow")
    data = io.BytesIO(file.read())
    try:
        opened = ipc.open_file if data.getvalue().startswith(b"ARROW1") else ipc.open_stream
        batches = opened(data).read_all().to_batches()
        yield from enumerate((plain_json(row) for batch in batches for row in batch.to_pylist()), 1)
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise OSError(f"not Arrow that can be read ({str(error).splitlines()[0]})") from error


def _dataset(path: Path) -> JsonRows:
    """Rows of a dataset folder or a hub dataset, numbered from 1."""
    name = path.as_posix()
    hub = _HUB_NAME.fullmatch(name)
    if not path.is_dir() and not hub:
        raise ProbeError(f"{path}: No such file. Give a file of pairs, a dataset folder or owner/name.")
    datasets = _need("datasets", f"{path}: a dataset")
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        if not path.is_dir() and hub:
            data = datasets.load_dataset(hub["name"], split=hub["split"])
        elif any((path / mark).exists() for mark in ("dataset_info.json", "dataset_dict.json")):
            data = datasets.load_from_disk(name)
        else:
            data = datasets.load_dataset(name)
    except Exception as error:  # the library raises whatever the network, the hub and the files do
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ProbeError(
            f"{path}: neither a file here nor a dataset that could be loaded ({short(reason, 200)})."
        ) from error
    yield from enumerate(map(plain_json, _split(data, path)), 1)


def _split(data: Any, path: Path) -> Any:
    """The only split, or the one for training."""
    if not hasattr(data, "keys"):
        return data
    splits = list(data.keys())
    if len(splits) == 1 or "train" in splits:
        return data["train" if "train" in splits else splits[0]]
    raise ProbeError(f"{path}: has the splits {', '.join(splits)}. Choose one with owner/name:SPLIT.")


def _need(module: str, what: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ProbeError(f"{what} needs the package {module.split('.')[0]}. {INSTALL}") from error


# How files that are no text begin: what each is, and the ending that it wants or how to get at its rows.
MAGIC = {
    b"PAR1": ("a Parquet file", ".parquet"),
    b"ARROW1": ("an Arrow file", ".arrow"),
    b"\xff\xff\xff\xff": ("an Arrow stream", ".arrow"),
    b"\x1f\x8b": ("packed by gzip", ".gz"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", ".zst"),
    b"BZh": ("packed by bzip2", ".bz2"),
    b"\xfd7zXZ\x00": ("packed by xz", ".xz"),
    b"PK\x03\x04": ("a zip archive or a workbook", "Unpack it, or save the sheet as CSV, and give that."),
    b"\xd0\xcf\x11\xe0": ("an old workbook", "Save the sheet as CSV (UTF-8), and give that."),
    b"SQLite format 3": ("a SQLite database", "Export the table as CSV, and give that."),
    b"\x80\x04\x95": ("a pickle, which is never loaded", "Write its rows as JSON Lines."),
}
OPENERS: dict[str, Opener] = {".gz": _gzip, ".zst": _zstd, ".bz2": bz2.open, ".xz": lzma.open}
READERS: dict[str, Callable[[IO[bytes]], JsonRows]] = {
    ".jsonl": _json,
    ".json": _json,
    ".csv": csv_rows,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
}
