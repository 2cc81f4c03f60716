"""Training: losses, the loop, the guard, staged methods. `GuardCallback` is for scripts of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callback import GuardCallback

__all__ = ["GuardCallback"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the rules beside it are used without torch.
    if name == "GuardCallback":
        from .callback import GuardCallback

        return GuardCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
