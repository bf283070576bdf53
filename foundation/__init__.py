"""Foundation: privileged teachers, deployable students.

Importing this package imports neither torch nor Warp; submodules that need them are imported on first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

    from foundation.distill.env_check import check_env

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


def __getattr__(name: str) -> Any:
    # Of the plug-in, whose import takes seconds.
    if name == "check_env":
        from foundation.distill.env_check import check_env

        return check_env
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
