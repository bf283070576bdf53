"""Bringing numbers from the device to the host: each time, the host waits until the device has caught up."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def look(numbers: Mapping[str, torch.Tensor | float]) -> dict[str, float]:
    """Return single numbers, by name, in one wait for all that a GPU holds.

    An iteration on a GPU does so once, when everything of it is on its way.
    """
    far = {name: n for name, n in numbers.items() if isinstance(n, torch.Tensor) and n.device.type != "cpu"}
    seen = torch.stack([_precise(n.detach()).reshape(()) for n in far.values()]).cpu().tolist() if far else []
    near = {name: float(n) for name, n in numbers.items() if name not in far}
    return near | dict(zip(far, seen, strict=True))


def _precise(number: torch.Tensor) -> torch.Tensor:
    # Apple's GPUs know no double precision.
    return number.float() if number.device.type == "mps" else number.double()
