"""Read scalars from a GPU in one synchronisation per iteration.

Reading a scalar makes the host wait until the GPU has finished everything before it, and then the GPU waits for
the host. So everything that the host needs of an iteration is read together, when all its work has been queued:
the loss and the size of the history, the result of the checks for non-finite values, and the numbers that the
sampler needs for the next rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from rsl_rl.modules import EmpiricalNormalization

from foundation.distill.scalars import ScalarReader


class BatchedScalarReader(ScalarReader):
    """Reads all scalars of an iteration at once, also those that the guard and the sampler need."""

    def __init__(self, alg: Any) -> None:
        """Keep the counts of the student's normaliser on the host; adding to them would synchronise."""
        super().__init__(alg)
        if alg.options.use_dagger:
            _count_on_host(alg.student_model)

    def read(self, **scalars: torch.Tensor | float) -> dict[str, float]:
        """Return scalars as floats, with one device synchronisation.

        Raises:
            NonFiniteError: If a check of this iteration failed.
        """
        parts = [part for part in (self.alg.nan_guard, self.alg.history.sampler) if hasattr(part, "receive")]
        asked = [part.device_scalars() for part in parts]
        values = _synchronise({name: value for group in (scalars, *asked) for name, value in group.items()})
        for part in parts:
            part.receive(values)
        return {name: values[name] for name in scalars}


def _synchronise(scalars: Mapping[str, torch.Tensor | float]) -> dict[str, float]:
    """Return scalars as floats, with one device synchronisation."""
    on_device = {n: v for n, v in scalars.items() if isinstance(v, torch.Tensor) and v.device.type != "cpu"}
    values = torch.stack([_widened(value) for value in on_device.values()]).cpu().tolist() if on_device else []
    on_host = {name: float(value) for name, value in scalars.items() if name not in on_device}
    return on_host | dict(zip(on_device, values, strict=True))


def _widened(scalar: torch.Tensor) -> torch.Tensor:
    # Apple's GPUs have no double precision.
    return (scalar.detach().float() if scalar.device.type == "mps" else scalar.detach().double()).reshape(())


def _count_on_host(model: torch.nn.Module) -> None:
    if torch.distributed.is_initialized():
        return  # rsl_rl adds up the counts of all processes between GPUs
    for module in model.modules():
        if isinstance(module, EmpiricalNormalization):
            module.count = module.count.cpu()  # pyright: ignore
