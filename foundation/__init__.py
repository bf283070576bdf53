"""Foundation: privileged teachers, deployable students.

Importing this package imports neither torch nor Warp; submodules that need them are imported on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

__version__ = "0.1.0"
__all__ = ["__version__", "check_env", "make_env"]


def make_env(
    task: str,
    num_envs: int | None = None,
    device: str = "cpu",
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> VecEnv:
    """Return the environment of a task.

    Args:
        task: ``point_ctrl`` or ``distillation``.
        num_envs: Number of environments; None takes the task's default.
        device: Torch device, ``cpu`` or ``cuda[:i]``.
        seed: Seed of everything random in the environment.
        overrides: Settings in Hydra's grammar, such as ``env.sim.dt=0.005``.

    Raises:
        ConfigError: If the task or a setting is unknown, or a value cannot work.
        UsdVehicleError: If the USD file does not describe a quadrotor.
        MissingExtraError: If the extra ``quadrotor`` is not installed.
    """
    from foundation.extras import needs_quadrotor

    with needs_quadrotor("foundation.make_env"):
        from foundation.tasks import create_env, load_task
        from foundation.tasks.config import compose, require_effect

        flags = {"env.num_envs": num_envs}
        env_cfg, _ = compose(load_task(task), overrides, groups=("env",), flags=flags)
        require_effect(env_cfg, overrides)
        return create_env(task, env_cfg, device, seed)


def check_env(
    env: VecEnv,
    obs_groups: Mapping[str, Sequence[str]] | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> list[str]:
    """Run random actions in an environment of your own, and say what is wrong with it.

    Args:
        env: An environment of rsl_rl; its episodes go on where the check leaves them.
        obs_groups: Observation groups of each policy, as in a runner's configuration.
        steps: Steps to run; None means one and a half of the longest episode, at most 2000.
        seed: Seed of the actions.

    Returns:
        Hints: what works, but is seldom meant.

    Raises:
        EnvCheckError: If training would fail or learn from wrong data; one line per defect.
    """
    from foundation.distill.env_check import check_env as check

    return check(env, obs_groups, steps, seed)
