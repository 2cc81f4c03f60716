"""Holm's correction for several tests, on arrays of p-values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .multiplicity import holm_adjusted
from .statistics import Floats, finite


def holm(ps: npt.ArrayLike) -> Floats:
    """Holm's adjusted p-values, in the order given: reject those ≤ alpha and the family error is ≤ alpha."""
    return np.array(holm_adjusted(finite(ps).tolist()), dtype=np.float64)
