"""probe: should this model be tuned on these pairs, with which method, and what will go wrong?"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Result, autopsy, bias, data, gate, negatives, show, trial
    from .preflight import Preflight, PreflightFailed
    from .training.callback import GuardCallback as Guard

__version__ = "0.1.0"
__all__ = [
    "Guard",
    "Preflight",
    "PreflightFailed",
    "Result",
    "autopsy",
    "bias",
    "data",
    "gate",
    "negatives",
    "show",
    "trial",
]

# Where each public name lives; the modules are imported at first use, so that `import probe` costs nothing.
_HOMES = {
    "Guard": ("training.callback", "GuardCallback"),
    "Preflight": ("preflight", "Preflight"),
    "PreflightFailed": ("preflight", "PreflightFailed"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES.get(name, ("api", name))
    return getattr(import_module(f".{module}", __name__), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
