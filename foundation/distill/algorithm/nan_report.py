"""Reports of non-finite values: the error that names where they were, and a dump that repeats how they came up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill.checkpoint import atomic_save, is_plain, load_checkpoint
from foundation.distill.phases import TEACHER_PHASE
from foundation.distill.tensors import finite_rows, moved, tensors_of

_LISTED = 8
"""Environments that a message lists by number."""


class NonFiniteError(ValueError):
    """NaN or infinity came from the environment, the teacher or the loss."""

    def __init__(self, message: str, dump: dict[str, Any]) -> None:
        """Create the error.

        Args:
            message: What was found, and the way out.
            dump: Tensors and plain values that reproduce it.
        """
        super().__init__(message)
        self.dump = dump

    def keep(self, path: Path) -> None:
        """Write the dump to a file, and name the file in the message."""
        try:
            atomic_save(moved(self.dump, "cpu"), path)
        except OSError as error:
            self.args = (f"{self.args[0]}; what was seen could not be saved: {error}",)
        else:
            self.args = (f"{self.args[0]}; what was seen is in {path}",)


def fields_of(storage: RolloutStorage) -> dict[str, torch.Tensor]:
    """Return the fields of a rollout by the names that messages use, each (T, N, ...)."""
    fields = {f"observations/{name}": values for name, values in tensors_of(storage.observations).items()}
    return fields | {
        "rewards": storage.rewards,
        "dones": storage.dones,
        "teacher_actions": storage.privileged_actions,
        "student_actions": storage.actions,
    }


def _where_non_finite(fields: Mapping[str, torch.Tensor]) -> tuple[list[str], torch.Tensor]:
    """Return the names of the fields (N, ...) with non-finite values, and the numbers of their environments."""
    what = [name for name, values in fields.items() if not bool(finite_rows({name: values}).all())]
    return what, (~finite_rows(fields)).nonzero()[:, 0]


def rollout_error(
    storage: RolloutStorage, phases: torch.Tensor, iteration: int, env_state: Any, weights: dict[str, Any]
) -> NonFiniteError:
    """Return the error for a rollout with NaN or infinity.

    Args:
        storage: The rollout.
        phases: Phase of every transition, (T, N).
        iteration: Its iteration.
        env_state: The environment's ``state_dict`` before the first step; None if it has none.
        weights: Both policies' states.
    """
    fields = fields_of(storage)
    step = int((~finite_rows(fields, 2)).any(1).nonzero()[0])
    first = {name: values[step] for name, values in fields.items()}
    what, envs = _where_non_finite(first)
    driven = torch.where((phases == TEACHER_PHASE)[..., None], storage.privileged_actions, storage.actions)
    dump = {
        "kind": "rollout",
        "iteration": iteration,
        "step": step,
        "env_ids": envs,
        "what": what,
        "env": env_state if is_plain(env_state) else None,
        "actions": driven[: step + 1].clone(),
        "values": {name: values.clone() for name, values in first.items()},
        **weights,
    }
    return NonFiniteError(
        f"NaN or infinity in {', '.join(what)} of environments {listed(envs)}, step {step} of iteration "
        f"{iteration}; nothing was trained on it. Repair the environment or the teacher, or leave such rows out "
        "with on_nan=skip",
        dump,
    )


def step_error(fields: Mapping[str, torch.Tensor], step: int) -> NonFiniteError:
    """Return the error for non-finite values among the fields (N, ...) that an environment's step returned."""
    what, envs = _where_non_finite(fields)
    values = {name: values.clone() for name, values in fields.items()}
    dump = {"kind": "step", "step": step, "env_ids": envs, "what": what, "values": values}
    return NonFiniteError(
        f"NaN or infinity in {', '.join(what)} of environments {listed(envs)}, step {step} of the rollout; repair "
        "the environment",
        dump,
    )


def loss_error(iteration: int, batch: TensorDict | None, weights: dict[str, Any]) -> NonFiniteError:
    """Return the error for a loss or gradient of NaN or infinity.

    Args:
        iteration: The iteration.
        batch: The mini-batch, if it is known.
        weights: The student's and the optimiser's states before the gradient step.
    """
    rows = {} if batch is None else {name: values.clone() for name, values in tensors_of(batch).items()}
    return NonFiniteError(
        f"NaN or infinity in the loss or its gradient, iteration {iteration}; the weights are as before. Lower "
        "learning_rate, or leave such mini-batches out with on_nan=skip",
        {"kind": "loss", "iteration": iteration, "batch": rows, **weights},
    )


def replay(
    dump: str | Path | dict[str, Any], env: VecEnv
) -> Iterator[tuple[TensorDict, torch.Tensor, torch.Tensor]]:
    """Repeat the steps of a rollout that led to NaN or infinity.

    Args:
        dump: The file that the error named, or its contents.
        env: An environment of the same configuration and size.

    Yields:
        Observations, rewards and dones of every step, up to the one that the error named.

    Raises:
        ValueError: If the dump is not of a rollout, or without the environment's state.
    """
    contents = dump if isinstance(dump, dict) else load_checkpoint(dump)
    if contents.get("kind") != "rollout" or contents["env"] is None:
        raise ValueError(
            "only a rollout of an environment with state_dict and load_state_dict can be repeated; this dump of "
            f"kind {contents.get('kind')!r} has no environment's state"
        )
    env.load_state_dict(moved(contents["env"], env.device))  # pyright: ignore
    for actions in contents["actions"]:
        obs, rewards, dones, _ = env.step(actions.to(env.device))
        yield obs, rewards, dones


def zero_non_finite(hidden: Any) -> None:
    """Zero, in place, the hidden states (layers, N, H) of environments with a non-finite one."""
    for state in hidden if isinstance(hidden, (list, tuple)) else [hidden]:
        if isinstance(state, torch.Tensor):
            # Hidden states were created in the rollout's inference mode.
            with torch.inference_mode():
                bad = ~torch.isfinite(state).all(-1).all(0)
                state.masked_fill_(bad[None, :, None], 0.0)
        elif state is not None:
            zero_non_finite(state)


def listed(envs: torch.Tensor) -> str:
    """Return environments' numbers as text, the first few of many."""
    more = f" and {len(envs) - _LISTED} more" if len(envs) > _LISTED else ""
    return f"{envs[:_LISTED].tolist()}{more}"
