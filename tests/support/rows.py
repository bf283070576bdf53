"""Rows for histories."""

from __future__ import annotations

import torch
from tensordict import TensorDict


def phase_rows(start: int, count: int, phase: int = 2) -> TensorDict:
    number = torch.arange(start, start + count)
    phases = torch.full((count,), phase, dtype=torch.uint8)
    return TensorDict({"id": number, "phase": phases}, batch_size=[count])
