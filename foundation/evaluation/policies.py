"""Load a policy from a checkpoint, with the network that its run was configured with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict

from foundation.distill.checkpoint import (
    STUDENT,
    TEACHER,
    CheckpointError,
    checkpoint_kind,
    load_checkpoint,
    load_weights,
    present_layout,
)
from foundation.distill.checkpoint.run_network import build_model, groups_in, network_in
from foundation.distill.models import ObservedActions
from foundation.distill.observations import prepare_inputs
from foundation.tasks.packaged import EXPERT
from foundation.tasks.saved_params import load_params


@dataclass(frozen=True)
class Policy:
    """A deterministic policy."""

    model: MLPModel
    """Maps observations (N, …) to actions (N, A)."""
    role: str
    """``teacher`` or ``student``."""
    path: Path
    """The checkpoint."""

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Return the mean actions, shape (N, A)."""
        return self.model(obs)

    def reset(self, dones: torch.Tensor) -> None:
        """Reset the recurrent state of the environments in a mask of shape (N,)."""
        self.model.reset(dones)


_MODEL_KEYS = {TEACHER: ("actor", "actor_state_dict"), STUDENT: ("student", "student_state_dict")}


def load_policy(
    path: str | Path,
    obs: TensorDict,
    num_actions: int,
    device: str,
    role: str | None = None,
) -> Policy:
    """Return the policy that a checkpoint holds.

    The network is the one in ``params/agent.yaml`` of the checkpoint's run.

    Args:
        path: A checkpoint of a distillation run (a student), or of a PPO run: a teacher, or a student if its actor
            reads nothing but the student's observations, as a fine-tuned one does; ``expert`` stands for the
            actions in the observation group of this name.
        obs: Example observations.
        num_actions: Number of actions.
        device: Torch device.
        role: The required role; None accepts both.

    Raises:
        CheckpointError: If the checkpoint cannot be used or holds the other role.
    """
    path = Path(path).expanduser()
    if str(path) == EXPERT:
        return Policy(_expert(obs, num_actions), _required(TEACHER, role, path), path)  # pyright: ignore
    state = present_layout(load_checkpoint(path, device), f"checkpoint {path}")
    kind = checkpoint_kind(state, path)
    cfg_key, state_key = _MODEL_KEYS[kind]
    agent = load_params(path.parent, "agent")
    network = None if agent is None else network_in(agent, cfg_key)
    groups = None if agent is None else groups_in(agent, cfg_key)
    if network is None or groups is None:
        raise CheckpointError(f"checkpoint {path} has no params/agent.yaml beside it that describes its {cfg_key}")
    try:
        found = STUDENT if kind == STUDENT or groups == ["student"] else TEACHER
        model = build_model(network, obs, groups, cfg_key, num_actions)
        prepare_inputs(model, obs)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, ImportError, AssertionError) as error:
        # A run of another project may have settings of any kind.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CheckpointError(
            f"checkpoint {path}: the network in {path.parent / 'params' / 'agent.yaml'} cannot be made for this "
            f"environment, whose observation groups are {', '.join(map(str, obs.keys()))}: {reason}"
        ) from error
    load_role = _required(found, role, path)
    load_weights(model, state[state_key], f"checkpoint {path}")
    return Policy(model.to(device).eval(), load_role, path)


def _required(found: str, role: str | None, path: Path) -> str:
    if role is not None and found != role:
        raise CheckpointError(f"checkpoint {path} holds a {found}, expected a {role}; give --{found} instead")
    return found


def _expert(obs: TensorDict, num_actions: int) -> ObservedActions:
    if EXPERT not in obs.keys():  # noqa: SIM118 - not every version of tensordict iterates over names
        raise CheckpointError("the environment computes no expert's actions; set env.expert={}")
    return ObservedActions(obs, {TEACHER: [EXPERT]}, TEACHER, num_actions)
