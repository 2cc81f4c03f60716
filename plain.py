"""Values of rows, as Parquet, a dataset or code holds them, in JSON."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def plain_json(value: Any) -> Any:
    """Any value of a row, as Parquet, a dataset or code holds it, as JSON that `probe` reads back.

    NaN, NaT and infinities become None; times ISO 8601; NumPy, tensors and decimals numbers and lists;
    bytes the text that they are. Anything else becomes an object that names its type: of no value a text is
    made that could be taken for a prompt or a response. Raises `RecursionError` for what holds itself.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_json(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(held) for held in value]
    if isinstance(value, float | decimal.Decimal):
        return number if math.isfinite(number := float(value)) else None
    if hasattr(value, "tolist"):
        # Whole numbers stand for NumPy's times to the nanosecond.
        return _told(value.astype(str).tolist()) if _is_time(value) else plain_json(value.tolist())
    return _told(value)


def _is_time(array: Any) -> bool:
    return getattr(getattr(array, "dtype", None), "kind", "") in ("M", "m")


def _told(value: Any) -> Any:
    """What is neither a number nor made of parts, as JSON has it."""
    if isinstance(value, list):
        return [_told(held) for held in value]
    if str(value) in ("NaT", "<NA>"):
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, str | datetime.timedelta | uuid.UUID):
        return str(value)
    if isinstance(value, bytes | bytearray):
        with suppress(UnicodeDecodeError):
            return value.decode()
    return {"unread": type(value).__name__}
