"""The environment that policies are flown in: that of their run, with the command's settings on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.tasks.packaged import EXPERT

if TYPE_CHECKING:
    from foundation.tasks import TaskSpec

INHERITED = ("robot", "randomization", "sim")
"""Settings of the environment that a student takes from its teacher's run."""
NOT_COMPARED = ("num_envs", "episode_s", "episode_steps", "robot.spawn.usd_path")
"""Settings that may differ without changing what a policy meets; vehicles are compared by their contents."""


def flown_environment(
    task: TaskSpec,
    checkpoints: Mapping[str, Path],
    overrides: Sequence[str],
    flags: dict[str, Any],
    is_live: bool = False,
    updates: dict[str, Any] | None = None,
) -> Any:
    """Return the configuration to fly policies in, and print where it is not the one that they were trained in.

    It is that of the student's run, else of the teacher's; the packaged teacher and runs without saved parameters
    of the environment leave the task's. The expert's gains are computed only if it flies.

    Args:
        task: The task.
        checkpoints: The policies' files by role.
        overrides: Settings ``env.…=`` that take precedence.
        flags: Values by setting that take precedence over all.
        is_live: Whether policy and family can be exchanged in flight, so that any of them may be needed.
        updates: Settings that take the place of the run's, and that overrides take precedence over.

    Raises:
        ConfigError: If a setting cannot work, or has no effect.
    """
    from foundation.tasks.config import compose, require_effect

    folders = {role: folder for role, path in checkpoints.items() if (folder := _params_of(path)) is not None}
    source = folders.get("student") or next(iter(folders.values()), None)
    env_cfg, _ = compose(task, overrides, params_dir=source, groups=("env",), flags=flags, env_updates=updates)
    warn_of_changed_vehicle(source)
    if not is_live:
        require_effect(env_cfg, overrides)
    flies_expert = is_live or EXPERT in map(str, checkpoints.values()) or any(map(_reads_expert, folders.values()))
    if not flies_expert and not any(override.startswith("env.expert") for override in overrides):
        # Its gains take half a minute for the vehicles of task foundation.
        env_cfg = replace(env_cfg, expert=None)
    different = {role: names for role, folder in folders.items() if (names := differing(folder, env_cfg))}
    if different:
        named = "; ".join(f"{role}: {', '.join(names)}" for role, names in different.items())
        print(f"warning: flown with other settings than trained with, {named}", flush=True)
    return env_cfg


def warn_of_changed_vehicle(params_dir: Path | None) -> None:
    """Print a warning if the original of a run's vehicle has changed; does nothing without saved parameters."""
    from foundation.tasks.run_vehicle import changed_vehicle

    changed = None if params_dir is None else changed_vehicle(params_dir)
    if changed is not None:
        print(f"warning: {changed}", flush=True)


def trained_vehicle(checkpoint: Path | None) -> dict[str, Any] | None:
    """Return the settings of vehicle, family and rate of a checkpoint's run; None if it has saved none."""
    from foundation.tasks.saved_params import load_params

    folder = None if checkpoint is None else _params_of(checkpoint)
    saved = None if folder is None else load_params(folder.parent, "env")
    return {name: saved[name] for name in INHERITED} if saved is not None and is_of_a_task(saved) else None


def is_of_a_task(env: dict[str, Any]) -> bool:
    """Return whether a run's saved parameters are of an environment of this project, and of no other's."""
    return set(INHERITED) <= env.keys()


def print_vehicle(env: Any, label: str) -> None:
    """Print the vehicle, family and rate that an environment flies, and what is doubtful of its settings."""
    from foundation.sim import describe_vehicle
    from foundation.tasks.point_ctrl.doubts import doubts
    from foundation.tasks.run_vehicle import vehicle_name

    cfg, table = env.cfg, env.sim.params
    family, rate = cfg.randomization.family, f"{1.0 / cfg.sim.dt:g} Hz"
    if family in ("raptor", "foundation"):
        ratio = table.thrust_to_weight
        vehicle = (
            f"{len(table)} vehicles of {table.mass.min():.3g} to {table.mass.max():.3g} kg, "
            f"thrust-to-weight {ratio.min():.3g} to {ratio.max():.3g}"
        )
    else:
        name = cfg.robot.vehicle or vehicle_name(cfg.robot.spawn.usd_path)
        vehicle = f"vehicle {describe_vehicle(env.nominal, name)}"
    print(f"[{label}] {vehicle}; family {family}, {rate}", flush=True)
    for doubt in doubts(cfg, env.nominal):
        print(f"warning: {doubt}", flush=True)


def differing(params_dir: Path, env_cfg: Any) -> list[str]:
    """Return the settings in which an environment differs from a run's saved one, with both values."""
    from dataclasses import asdict

    from foundation.tasks.saved_params import load_params, settings

    trained = dict(settings(load_params(params_dir.parent, "env") or {}))
    flown = dict(settings(asdict(env_cfg)))
    names = [
        f"env.{name} {trained[name]} -> {flown[name]}"
        for name in trained
        if name in flown and name not in NOT_COMPARED and trained[name] != flown[name]
    ]
    before, now = (values.get("robot.spawn.usd_path") for values in (trained, flown))
    before = before if isinstance(before, str) else None  # of another project's run it may be a list
    # Files are compared only where they are not the same one.
    vehicles = {before, now} if before == now else {_contents(before), _contents(now)}
    if None not in vehicles and len(vehicles) == 2:
        names.insert(0, f"env.robot.spawn.usd_path, now {now}")
    return names


def _reads_expert(params_dir: Path) -> bool:
    """Return whether the policy of a run reads the expert's actions, rather than only learning from them."""
    from foundation.tasks.saved_params import load_params

    groups = (load_params(params_dir.parent, "agent") or {}).get("obs_groups")
    return isinstance(groups, dict) and any(EXPERT in (groups.get(role) or []) for role in ("student", "actor"))


def _params_of(checkpoint: Path) -> Path | None:
    from foundation.tasks import packaged_teacher
    from foundation.tasks.saved_params import PARAMS

    folder = checkpoint.parent / PARAMS
    # The packaged teacher flies in any task, as that task is.
    is_at_home = checkpoint.resolve() == packaged_teacher().resolve()
    return None if is_at_home or not (folder / "env.yaml").is_file() else folder


def _contents(usd_path: str | None) -> str | None:
    """Return a vehicle as text; None if it cannot be read, which the environment reports."""
    from foundation.sim.usd import CF2X
    from foundation.sim.usd_copy import flattened
    from foundation.sim.usd_file import UsdVehicleError

    try:
        return flattened(usd_path or CF2X)
    except UsdVehicleError:
        return None
