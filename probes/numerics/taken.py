"""What a first training step showed; judging it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FirstStep:
    """What forward, backward, one optimizer step and a second forward showed on `tried` of `n` pairs.

    `empty`: ids of pairs with a side that has no scored token. `alike`: pairs with the same tokens on both
    sides, where that left none to step on. `bad_module`: the first module whose output is
    not finite in the first forward, `fine_in_float32` whether that goes away in float32. `loss`: mean at
    step 0, nats. `zero_gradients` of `weights` trained weights have gradient exactly 0. `moved`: share of the
    others that changed. None: the step before did not come that far, or no weight has a gradient.
    """

    n: int
    empty: tuple[str, ...] = ()
    bad_module: str | None = None
    fine_in_float32: bool | None = None
    loss: float | None = None
    gradients_finite: bool | None = None
    zero_gradients: int = 0
    weights: int = 0
    weights_finite: bool | None = None
    moved: float | None = None
    after_finite: bool | None = None
    alike: int = 0
    tried: int = 0

    @property
    def without_gradient(self) -> bool:
        """Whether the step was made and no trained weight had a gradient."""
        return self.moved is None and 0 < self.weights == self.zero_gradients
