"""From measurements to one verdict and one recommendation: conditions, accepted findings, decision table.

The package is callable: `probe.gate(...)` is `probe.api.gate`, whose name this folder has.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallableGate(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        # By name: the gate stands below the Python API and imports nothing of it.
        return import_module("probe.api").gate(*args, **options)


sys.modules[__name__].__class__ = _CallableGate
