"""Random draws that repeat: the states of all global generators, put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from foundation.distill.checkpoint.random_state import rng_state, set_rng_state


@contextmanager
def repeated_generators() -> Iterator[Callable[[], None]]:
    """Yield a function that puts torch's, NumPy's and Python's global generators back to their states of now.

    This also happens at the end.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    state = rng_state(device)
    try:
        yield lambda: set_rng_state(state, device)
    finally:
        set_rng_state(state, device)
