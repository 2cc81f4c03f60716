"""A plugin for Axolotl's `plugins:` list that gates the run before its first step.

    plugins:
      - probe.axolotl_plugin.Preflight

For other options than the defaults, subclass it and set `options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .preflight import Preflight as Callback

try:
    from axolotl.integrations.base import BasePlugin
except ImportError:  # the module can be read, and is of use only where Axolotl loads it
    BasePlugin = object


class Preflight(BasePlugin):  # type: ignore[misc]
    """Adds `probe.Preflight` to the trainer that Axolotl has made; `options` are its keyword arguments."""

    options: Mapping[str, Any] = {}

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        """The callback, for one trainer. Axolotl passes it on to `trainer.add_callback`."""
        return [Callback(**self.options)]
