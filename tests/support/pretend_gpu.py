"""A GPU that is pretended: tensors that say they are on one, computed on by the CPU, and every wait written down.

What the host learns of such a tensor's values, or whatever has a shape that depends on them, is a wait, as is a
plain copy to or from the host; and an operation on tensors of both places is refused, as on a real GPU.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

# The device type that torch leaves to others, with what it asks of one.
_setup_privateuseone_for_python_backend()
GPU = torch.device("privateuseone:0")
aten = torch.ops.aten
TELL_THE_HOST = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.is_nonzero, aten.equal, aten.bincount,
    aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.repeat_interleave,
}  # fmt: skip
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


def fused_gru_cell(
    from_input: torch.Tensor,
    from_state: torch.Tensor,
    state: torch.Tensor,
    input_bias: torch.Tensor,
    state_bias: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what GPUs have an operation for and the CPU has not: the formulas of ``torch.nn.GRU``."""
    of_input, of_state = (from_input + input_bias).chunk(3, -1), (from_state + state_bias).chunk(3, -1)
    reset, update = (torch.sigmoid(a + b) for a, b in zip(of_input[:2], of_state[:2], strict=True))
    candidate = torch.tanh(of_input[2] + reset * of_state[2])
    return candidate + update * (state - candidate), torch.empty(0)


ONLY_ON_GPU = {aten._thnn_fused_gru_cell: fused_gru_cell}


class OnGpu(torch.Tensor):
    """A tensor whose numbers are those of ``host``, which it shares as views of it do."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> OnGpu:
        out = torch.Tensor._make_wrapper_subclass(  # pyright: ignore
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=GPU,
            requires_grad=False,
        )
        out.host = host
        return out

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.host})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise AssertionError(f"{func} was called outside PretendGpu")


class Graph:
    """Stands for ``torch.cuda.CUDAGraph``: repeats operations on the memory that they were recorded with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], Any], Any]] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.made: set[int] = set()

    def record(self, run: Callable[[], Any], written: list[torch.Tensor]) -> Any:
        """Run an operation, of which :meth:`undo` leaves no trace in what was there before the recording."""
        for tensor in written:
            memory = tensor.untyped_storage().data_ptr()
            if memory not in self.made and memory not in self.before:
                whole = tensor.new_empty(0).set_(tensor.untyped_storage())  # pyright: ignore
                self.before[memory] = whole, whole.clone()
        result = run()
        for value in tree_flatten(result)[0]:
            if isinstance(value, torch.Tensor):
                self.made.add(value.untyped_storage().data_ptr())
        self.calls.append((run, result))
        return result

    def undo(self) -> None:
        """Recording launches nothing."""
        for whole, before in self.before.values():
            whole.copy_(before)

    def replay(self) -> None:
        for run, results in self.calls:
            for old, new in zip(tree_flatten(results)[0], tree_flatten(run())[0], strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class PretendGpu(TorchDispatchMode):
    """While it lasts, :data:`GPU` is there; ``waits`` counts by operation how often the host waited for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._graph: Graph | None = None

    @contextlib.contextmanager
    def _recording(self, graph: Graph) -> Iterator[None]:
        random = torch.get_rng_state()
        waits, self._graph = self.waits.total(), graph
        try:
            yield
        finally:
            self._graph = None
        if self.waits.total() > waits:
            raise RuntimeError(f"the host waited in a recording: {dict(self.waits)}")
        graph.undo()
        torch.set_rng_state(random)

    def __enter__(self) -> PretendGpu:
        # Tensors of a class of their own cannot be made in inference mode; without gradients is as good.
        self._patches = pytest.MonkeyPatch()
        self._patches.setattr(
            torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else contextlib.nullcontext()
        )
        self._patches.setattr(torch.cuda, "CUDAGraph", Graph)
        self._patches.setattr(torch.cuda, "graph", self._recording)
        for name in ("device", "stream", "current_stream"):
            self._patches.setattr(torch.cuda, name, lambda *_: contextlib.nullcontext())
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.undo()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves, spec = tree_flatten((args, kwargs))
        on_gpu = [leaf for leaf in leaves if isinstance(leaf, OnGpu)]
        wanted = kwargs.get("device")
        wanted = None if wanted is None else torch.device(wanted).type
        if not on_gpu and wanted != GPU.type:
            return func(*args, **kwargs)
        packet = func.overloadpacket
        on_host = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnGpu)]
        if packet is aten.copy_:
            if on_host:
                self.waits["copy_"] += 1
        elif packet in INDEXED:
            if any(index is not None and self._is_wait(index) for index in args[1]):
                self.waits[str(packet)] += 1
        elif any(leaf.ndim for leaf in on_host) and packet is not aten._to_copy:
            raise RuntimeError(f"{func}: tensors on the CPU and on the GPU")
        if packet in TELL_THE_HOST:
            self.waits[str(packet)] += 1
        if wanted is not None:
            kwargs["device"] = "cpu"
        from_host = packet is aten._to_copy and not on_gpu
        to_host = packet is aten._to_copy and wanted == "cpu"
        if from_host or to_host:
            self.waits[str(packet)] += 1
        args, kwargs = tree_unflatten([leaf.host if isinstance(leaf, OnGpu) else leaf for leaf in leaves], spec)
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        run = partial(ONLY_ON_GPU.get(packet, func), *args, **kwargs)
        result = run() if self._graph is None else self._graph.record(run, _written(func, args, kwargs))
        if to_host:
            return result
        same = {id(leaf.host): leaf for leaf in on_gpu}
        return tree_map(
            lambda value: (
                same.get(id(value))
                if id(value) in same
                else OnGpu(value)
                if isinstance(value, torch.Tensor)
                else value
            ),
            result,
        )

    @staticmethod
    def _is_wait(index: torch.Tensor) -> bool:
        return index.dtype in (torch.bool, torch.uint8) or not isinstance(index, OnGpu)


def _written(func: Any, args: tuple, kwargs: dict) -> list[torch.Tensor]:
    """Return the arguments that an operation writes to."""
    given = [*zip(func._schema.arguments, args, strict=False)]
    given += [(argument, kwargs.get(argument.name)) for argument in func._schema.arguments[len(args) :]]
    values = [value for argument, value in given if argument.alias_info and argument.alias_info.is_write]
    return [value for value in tree_flatten(values)[0] if isinstance(value, torch.Tensor)]
