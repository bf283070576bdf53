"""Several processes that train one student together, as torchrun starts them; each process is a rank.

Every rank has its own environments and its own shard of the history. Gradients are averaged, and what must not
differ, such as the normaliser's statistics and the number of gradient steps, is agreed on here. With one process
every function returns what it is given.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator
from typing import Any

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict
from torch import distributed
from torch.distributed import PrefixStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.rendezvous import rendezvous

_RSL_RL = tuple(map(int, importlib.metadata.version("rsl-rl-lib").split(".")[:2]))
_NORMALISER_ADDS_UP = _RSL_RL >= (5, 5)
_TRANSPORTS = ("gloo", "NCCL")
"""One is named in the errors of a broken connection, which have no class of their own."""


class LostRankError(RuntimeError):
    """Another process of the run has ended, or cannot be reached."""


def launched_size() -> int:
    """Return the number of processes that torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_rank() -> int:
    """Return this process's number among all; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's number; 0 alone prints, logs and writes checkpoints."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def join(device: torch.device) -> dict[str, int]:
    """Join the processes that torchrun has started; return rsl_rl's description of them.

    Args:
        device: Device of this process: GPUs talk by NCCL, CPUs by gloo.

    Raises:
        LostRankError: If they do not meet.
    """
    if not distributed.is_initialized():
        with lost_ranks_named():
            store, rank, size = next(rendezvous("env://"))
            # After a restart torchrun's store still has the addresses of the processes before.
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=PrefixStore(attempt, store),
                rank=rank,
                world_size=size,
            )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        torch.cuda.set_device(local)
    return {"global_rank": launched_rank(), "local_rank": local, "world_size": launched_size()}


@contextlib.contextmanager
def lost_ranks_named() -> Iterator[None]:
    """Turn the errors of a broken connection into one line.

    Raises:
        LostRankError: In their place.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not isinstance(error, distributed.DistError) and not any(name in text for name in _TRANSPORTS):
            raise
        raise LostRankError(
            f"rank {launched_rank()} of {launched_size()} stops: another process of the run has ended or cannot "
            f"be reached ({text.splitlines()[0].partition('. ')[0]})"
        ) from error


def gathered(value: Any) -> list[Any]:
    """Return the values of all ranks in their order, as pickles carry them."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with lost_ranks_named():
        distributed.all_gather_object(values, value)
    return values


def update_normaliser(model: MLPModel, observations: TensorDict | None) -> None:
    """Add observations (B, …) of this rank to a model's normaliser, so that it is the same on all ranks.

    Args:
        model: The model.
        observations: The observations; None without any.

    Raises:
        LostRankError: If another process of the run has ended.
    """
    if world_size() > 1 and not _NORMALISER_ADDS_UP:
        observations = _of_all_ranks(observations)
    if observations is not None:
        with lost_ranks_named():
            model.update_normalization(observations)


def _of_all_ranks(rows: TensorDict | None) -> TensorDict | None:
    """Return the rows (B, …) of all ranks, one rank after the other."""
    own = {} if rows is None else {str(name): values.cpu() for name, values in rows.items()}
    parts = [part for part in gathered(own) if part]
    if not parts:
        return rows
    groups: dict[Any, Any] = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    device = None if rows is None else rows.device
    return TensorDict(groups, batch_size=[len(next(iter(groups.values())))], device=device)


def require_same(what: str, value: Any) -> None:
    """Check that a value is the same on all ranks.

    Raises:
        ValueError: If it is not.
    """
    values = gathered(value)
    if any(other != value for other in values):
        raise ValueError(f"{what} must be the same in all processes, got {values}; do they see the same files?")


def least(count: int) -> int:
    """Return the smallest of all ranks' counts."""
    return min(gathered(count))


def most(count: int) -> int:
    """Return the largest of all ranks' counts."""
    return max(gathered(count))


def mean(value: float) -> float:
    """Return the mean of all ranks' values."""
    values = gathered(value)
    return sum(values) / len(values)
