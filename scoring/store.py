"""Scores on disk: SQLite, keyed by everything that can change a score.

A row is one sequence: its key hashes the model (weights, adapter, dtype, device kind), the code that runs it
and the token ids with the boundary. Templates, tokenizers and normalisations need no place in the key: what
they change is the token ids. Rows are written after each packed forward, so a killed run goes on where it
was.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sqlite3
import sys
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..files import sources, sources_digest
from .scores import EncodedSide, LogProbs

APPLICATION_ID = 0x70726F62  # "prob" in the file's header: whose database this is
IDENTITY = ("weights_sha256", "adapter_sha256", "own_code", "dtype", "quantization", "device")
RUN_BY = ("transformers", "peft")  # whose code the models and adapters are


def model_key(facts: Mapping[str, Any], **extra: Any) -> bytes:
    """What identifies the scoring function: model, adapter, dtype, device, code, and `extra`."""
    parts = {name: facts.get(name) for name in IDENTITY} | extra | {"code": _scoring_code()}
    if facts.get("endpoint"):
        parts["endpoint"] = json.dumps(facts["endpoint"], sort_keys=True)
    else:
        parts |= {name: importlib.metadata.version(name) for name in RUN_BY}
    return hashlib.blake2b(repr(sorted(parts.items())).encode(), digest_size=16).digest()


@cache
def _scoring_code() -> str:
    """The digest of this room's modules: its text changes more reliably than a version number is raised."""
    room = Path(__file__).parent
    return sources_digest(room, sources(room))


class Store:
    """Per-token log-probs by sequence. Never fails a run: what cannot be read or written is said once.

    A file that is no store of probe, or a damaged one, is set aside as `NAME.bad` and begun anew. Safe for
    several processes on one file.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self.path, self.key = path, key
        self.broken: str | None = None
        self.connection = self._open()

    def get(self, sides: Sequence[EncodedSide]) -> list[LogProbs | None]:
        """Stored log-probs of each side, None where there are none (or a damaged row)."""
        return [self._row(side) for side in sides]

    def put(self, sides: Sequence[EncodedSide], logps: Sequence[LogProbs]) -> None:
        """Keep log-probs, in one transaction."""
        if self.connection is None:
            return
        rows = [
            (self._key(s), zlib.crc32(v.tobytes()), v.tobytes()) for s, v in zip(sides, logps, strict=True)
        ]
        try:
            with self.connection:
                self.connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._failed(error, "scoring goes on without keeping scores")

    def close(self) -> None:
        """Release the file."""
        if self.connection is not None:
            self.connection.close()

    def _row(self, side: EncodedSide) -> LogProbs | None:
        if self.connection is None:
            return None
        try:
            query = self.connection.execute("SELECT crc, logps FROM scores WHERE key = ?", (self._key(side),))
            row = query.fetchone()
        except sqlite3.Error as error:
            self._failed(error, "stored scores are not used")
            return None
        if row is None or zlib.crc32(row[1]) != row[0]:
            return None
        logps = np.frombuffer(row[1], dtype=np.float32)
        return logps if len(logps) == len(side.ids) - side.start else None

    def _key(self, side: EncodedSide) -> bytes:
        digest = hashlib.blake2b(self.key, digest_size=16)
        digest.update(side.start.to_bytes(4, "little"))
        digest.update(np.asarray(side.ids, dtype=np.int32).tobytes())
        return digest.digest()

    def _open(self) -> sqlite3.Connection | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._connect()
        except sqlite3.OperationalError as error:  # locked, full, not writable: the file itself may be sound
            self._give_up(f"{error}; scores are neither read nor kept")
        except sqlite3.DatabaseError as error:
            return self._anew(str(error))
        except OSError as error:
            self._give_up(f"{error.strerror}; scores are neither read nor kept")
        return None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30)
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and owner != APPLICATION_ID:
            connection.close()
            raise sqlite3.DatabaseError("a database of another program")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, crc INTEGER, logps BLOB) WITHOUT ROWID"
        )
        connection.commit()
        return connection

    def _anew(self, fact: str) -> sqlite3.Connection | None:
        aside = self.path.with_name(self.path.name + ".bad")
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            connection = self._connect()
        except (OSError, sqlite3.Error) as error:
            self._give_up(f"{error}; scores are neither read nor kept")
            return None
        _say(f"{self.path}: {fact}; set aside as {aside.name}, a new store is begun.")
        return connection

    def _failed(self, error: sqlite3.Error, instead: str) -> None:
        """Damage that shows only now: the file is set aside as one that was found damaged on opening."""
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if not damaged or self.connection is None:
            self._give_up(f"{error}; {instead}")
            return
        self.connection.close()
        self.connection = None
        self.connection = self._anew(str(error))

    def _give_up(self, fact: str) -> None:
        self.broken = fact
        _say(f"{self.path}: {fact}.")
        connection, self.connection = getattr(self, "connection", None), None
        if connection is not None:
            connection.close()


def passing_store() -> Store:
    """Scores kept in memory for as long as a session lasts: what one probe computed the next one finds."""
    return Store(Path(":memory:"), b"")


def _say(line: str) -> None:
    print(f"probe: {line}", file=sys.stderr, flush=True)
