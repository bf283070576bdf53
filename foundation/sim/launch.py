"""Kernel launches with their arguments packed once; see :mod:`foundation.sim.kernels`."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import warp as wp

_MIN_BLOCKS_PER_THREAD = 128
"""Waking a thread takes longer than computing fewer blocks than these."""


def lane_array(rows: torch.Tensor, lanes: int) -> wp.array:
    """Return the memory of float32 or int32 rows (K, number of lanes) as Warp vectors (K, number of blocks)."""
    scalar = wp.float32 if rows.dtype == torch.float32 else wp.uint32
    dtype = wp.types.vector(length=lanes, dtype=scalar)
    return wp.from_torch(rows.view(len(rows), -1, lanes), dtype)


class RecordedLaunch:
    """A kernel launch with its arguments packed once; repeating it costs a few microseconds.

    On the CPU, many blocks are split among threads, as many as torch is set to use when this object is created.
    Blocks are independent, so that results are the same bit for bit for any number of threads.
    """

    def __init__(self, kernel: Any, blocks: int, inputs: dict[str, Any], device: torch.device) -> None:
        """Compile the kernel and pack its arguments, without running it.

        Args:
            kernel: A kernel whose last argument is the number of the first block of its launch.
            blocks: Number of blocks.
            inputs: The other arguments, in the kernel's order.
            device: Where the arguments are.
        """
        self._index = {name: index for index, name in enumerate(inputs)}
        self._inputs = inputs  # the packed arguments point into these arrays, which must stay alive
        self._cuda = device if device.type == "cuda" else None
        threads = 1 if self._cuda else max(1, min(torch.get_num_threads(), blocks // _MIN_BLOCKS_PER_THREAD))
        bounds = [blocks * k // threads for k in range(threads + 1)]
        self._parts: list[Any] = [
            wp.launch(
                kernel,
                dim=end - first,
                inputs=[*inputs.values(), first],
                device=wp.device_from_torch(device),
                record_cmd=True,
            )
            for first, end in itertools.pairwise(bounds)
        ]
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def set(self, name: str, value: int | bool) -> None:
        """Change a scalar argument for the next launches."""
        for part in self._parts:
            part.set_param_at_index_from_ctype(self._index[name], value)

    def launch(self) -> None:
        """Run the kernel, on CUDA in order with torch's current stream."""
        if self._cuda is not None:
            stream = wp.stream_from_torch(torch.cuda.current_stream(self._cuda))
            self._parts[0].launch(stream=stream)
            return
        # Warp releases the interpreter's lock while a kernel runs.
        others = [self._pool.submit(part.launch) for part in self._parts[1:]] if self._pool else []
        try:
            self._parts[0].launch()
        finally:
            for other in others:
                other.result()
