"""A GPU that is not there: its tensors have shape, dtype and device alone, those of the host are real.

What is asked of a tensor of the device is answered by torch's `FakeTensorMode`, which raises when devices
mix; the rest is run as it is. What leaves the device is counted by the function of probe that asked for it;
its values, which nobody knows, are zeros. The device is torch's `meta`: a build without CUDA can neither
index a fake tensor of device cuda nor give it a gradient ("not linked with support for cuda devices"), and
code that does not name a kind of device does the same on both.
"""

import traceback
from collections import Counter
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_map_only

import probe

aten = torch.ops.aten
ROOT = Path(probe.__file__).parent
ROOMS = tuple(f"{ROOT / room}/" for room in ("scoring", "training", "probes"))
ASKED = (aten._local_scalar_dense.default, aten.item.default, aten.is_nonzero.default, aten.equal.default)
DEVICE = "meta"


class FakeDevice(FakeTensorMode):
    """`left`: how often each function of probe waited for the device; `ran`: operations on the device."""

    def __init__(self):
        super().__init__(allow_non_fake_inputs=True)
        self.allow_meta = True
        self.left, self.ran = Counter(), 0
        self.inside = False  # an operation of the device that is taken apart into others

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.inside:
            return super().__torch_dispatch__(func, types, args, kwargs)
        flat, _ = tree_flatten((args, kwargs))
        if not any(_there(a) for a in flat):
            return func(*args, **kwargs)
        self.ran += 1
        if func in ASKED:
            self._leaves()
            kind = args[0].dtype
            return 0.0 if kind.is_floating_point else True if kind == torch.bool else 0
        if func is aten.detach_.default:  # how `torch.tensor(…, device=…)` ends
            return args[0]
        self.inside = True
        try:
            out = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self.inside = False
        return tree_map_only(FakeTensor, self._kept, out)

    def _kept(self, tensor):
        """A result on the device as it is; one on the host as zeros of its shape."""
        if _there(tensor):
            return tensor
        self._leaves()
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    def _leaves(self):
        frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(ROOMS)]
        where = f"{Path(frames[-1].filename).stem}.{frames[-1].name}" if frames else "elsewhere"
        self.left[where] += 1


def _there(value):
    """Whether a tensor lies on the device, or this is its name."""
    device = value.device if isinstance(value, torch.Tensor) else value
    return isinstance(device, torch.device) and device.type == DEVICE
