"""An accelerator that is not there: tensors that say they are on it and compute on the CPU.

It is called `mps`, the one accelerator whose name torch takes without its driver. Inside `FakeDevice` every operation
is looked at as an accelerator would have to run it.
"""

import traceback
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("mps", 0)
CPU = torch.device("cpu")
OURS = str(Path(__file__).parents[1] / "hf_latent")
# Their result has to be known on the host, or its size has.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount"}
WAITS |= {"equal", "is_nonzero", "repeat_interleave"}
COPIES = {"_to_copy", "copy_"}


class OnDevice(Tensor):
    """A tensor on the device; `data_on_cpu` holds its numbers."""

    @staticmethod
    def __new__(cls, data_on_cpu):
        return Tensor._make_wrapper_subclass(
            cls, data_on_cpu.size(), data_on_cpu.stride(), data_on_cpu.storage_offset(), dtype=data_on_cpu.dtype
        )

    def __init__(self, data_on_cpu):
        self.data_on_cpu = data_on_cpu

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        """What torch decides by the device of a tensor before it calls any operation."""
        options = options or {}
        with torch._C.DisableTorchFunctionSubclass():
            if function is Tensor.to:
                own, *where = arguments
                like = where[0] if where and isinstance(where[0], Tensor) else None
                if like is not None:
                    return own.to(device=like.device, dtype=like.dtype, **options)
                if isinstance(own, OnDevice) and any(str(part) == "cpu" for part in (*where, options.get("device"))):
                    dtype = next((part for part in where if isinstance(part, torch.dtype)), options.get("dtype"))
                    return torch.ops.aten._to_copy.default(own, device=CPU, dtype=dtype)
            if function is Tensor.new_tensor:
                return torch.tensor(arguments[1], **{"dtype": arguments[0].dtype, "device": DEVICE, **options})
            if function in (Tensor.cpu, Tensor.tolist, Tensor.numpy):
                copied = torch.ops.aten._to_copy.default(arguments[0], device=CPU)
                return copied if function is Tensor.cpu else function(copied)
            return function(*arguments, **options)

    @property
    def device(self):
        return DEVICE

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        return run(function, arguments, options or {})


def run(function, arguments, options):
    """An operation, on the numbers; what comes of tensors of the device is on it, but for copies elsewhere."""
    tensors = [leaf for leaf in tree_flatten((arguments, options))[0] if isinstance(leaf, Tensor)]
    wanted = torch.device(options["device"]) if options.get("device") is not None else None
    there = any(isinstance(tensor, OnDevice) for tensor in tensors)
    # Torch itself makes tensors like a given one, in backward passes, where it takes the numbers of that one to be.
    if wanted is not None and not (there and function.__name__.startswith("new_")):
        there = wanted.type == DEVICE.type
    of = {id(tensor.data_on_cpu): tensor for tensor in tensors if isinstance(tensor, OnDevice)}
    plain, options = tree_map(
        lambda leaf: leaf.data_on_cpu if isinstance(leaf, OnDevice) else leaf, (arguments, options)
    )
    if wanted is not None:
        options = {**options, "device": CPU}
    found = function(*plain, **options)
    if not there:
        return found
    # What was changed in place stays the tensor that it is.
    return tree_map(lambda leaf: of.get(id(leaf), OnDevice(leaf)) if isinstance(leaf, Tensor) else leaf, found)


class FakeDevice(TorchDispatchMode):
    """Counts, by their places, what would fail on the device or let the host wait for it.

    Attributes:
        mixed: Operations on tensors of both devices, other than copies and scalars.
        waits: Operations whose result the host has to know, and copies that the host waits for.
        wide: Operations that make float64 on the device.
    """

    def __init__(self):
        super().__init__()
        self.mixed, self.waits, self.wide = Counter(), Counter(), Counter()

    def __enter__(self):
        # Or numbers of Python that `torch.tensor` puts on the device would get there unseen.
        self._kept = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(self._kept)
        super().__exit__(*error)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        name = function.__name__.split(".")[0]
        tensors = [leaf for leaf in tree_flatten((arguments, options))[0] if isinstance(leaf, Tensor)]
        here = [tensor for tensor in tensors if not isinstance(tensor, OnDevice)]
        found = run(function, arguments, options)
        results = [leaf for leaf in tree_flatten(found)[0] if isinstance(leaf, Tensor)]
        there = len(here) < len(tensors)
        if name in COPIES:
            of = arguments[1] if name == "copy_" else arguments[0]
            to = found
            if isinstance(of, OnDevice) != isinstance(to, OnDevice):
                free = options.get("non_blocking", False) or (name == "copy_" and len(arguments) > 2 and arguments[2])
                self._note(self.waits, name, not free or isinstance(of, OnDevice))
                # Of another kind of numbers, it may be made on the device.
                self._note(self.wide, name, torch.float64 in (of.dtype, to.dtype) and of.dtype != to.dtype)
        elif there:
            self._note(self.mixed, name, any(tensor.ndim for tensor in here))
            by_mask = name.startswith("index") and any(
                isinstance(index, Tensor) and index.dtype == torch.bool
                for index in (arguments[1] if isinstance(arguments[1], list | tuple) else ())
            )
            self._note(self.waits, name, name in WAITS or by_mask)
        double = any(isinstance(result, OnDevice) and result.dtype == torch.float64 for result in results)
        self._note(self.wide, name, double)
        return found

    def _note(self, places, name, wrong):
        """Where hf_latent itself called it; towers of transformers are their own."""
        if not wrong:
            return
        frames = [f for f in traceback.extract_stack() if "/torch/" not in f.filename and f.filename != __file__]
        if frames[-1].filename.startswith(OURS):
            places.update([f"{name} in {Path(frames[-1].filename).name}:{frames[-1].lineno}"])
        elif "/transformers/" not in frames[-1].filename:
            places.update(
                [f"{name} in the backward pass" if "backward" in frames[-1].line else f"{name} in {frames[-1]}"]
            )


def put(value):
    """On the device: the tensors of a nested batch."""
    return tree_map(lambda leaf: OnDevice(leaf) if isinstance(leaf, Tensor) else leaf, value)


def put_model(model):
    """Moves the parameters and buffers of a model to the device."""
    known = {}
    for module in model.modules():
        for name, own in list(module._parameters.items()):
            if own is not None:
                if id(own) not in known:
                    known[id(own)] = nn.Parameter(OnDevice(own.detach()), requires_grad=own.requires_grad)
                module._parameters[name] = known[id(own)]
        for name, own in list(module._buffers.items()):
            if own is not None:
                module._buffers[name] = known.setdefault(id(own), OnDevice(own))
    return model
