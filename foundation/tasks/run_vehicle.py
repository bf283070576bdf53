"""The copy of the vehicle that a run keeps, so that it can be flown and continued without the original."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

VEHICLE = "vehicle.usda"
"""The flattened USD file, beside the run's saved parameters."""
ORIGIN = "vehicle.json"
"""Path of the original and SHA-256 of its flattened text."""


def save_vehicle(params_dir: Path, usd_path: str) -> None:
    """Keep a copy of a vehicle's USD file beside the saved parameters.

    Args:
        params_dir: Folder of the saved parameters.
        usd_path: The USD file, or the copy that another run keeps, whose original is then noted.

    Raises:
        UsdVehicleError: If the file cannot be read.
    """
    from foundation.sim.usd_copy import flattened

    text = flattened(usd_path)
    origin = _origin(Path(usd_path).parent) if Path(usd_path).name == VEHICLE else None
    origin = origin or {"path": str(Path(usd_path).resolve())}
    (params_dir / VEHICLE).write_text(text, encoding="utf-8")
    (params_dir / ORIGIN).write_text(
        json.dumps({"path": origin["path"], "sha256": _digest(text)}, indent=2) + "\n", encoding="utf-8"
    )


def use_vehicle(params_dir: Path, env: dict[str, Any]) -> dict[str, Any]:
    """Return a run's saved parameters of the environment with the path of the vehicle that the run keeps."""
    copy, robot = params_dir / VEHICLE, env.get("robot")
    spawn = robot.get("spawn", {}) if isinstance(robot, dict) else None
    if not copy.is_file() or not isinstance(spawn, dict):
        return env
    return {**env, "robot": {**env["robot"], "spawn": {**spawn, "usd_path": str(copy.resolve())}}}


def kept_vehicle(params_dir: Path) -> str | None:
    """Return the original's path and the hash, in short, of the vehicle that a run keeps; None without one."""
    origin = _origin(params_dir)
    return None if origin is None else f"{origin['path']} (SHA-256 {origin['sha256'][:8]})"


def changed_vehicle(params_dir: Path) -> str | None:
    """Return a sentence if the original of the vehicle that a run keeps has changed since; None if not.

    It also says so if the run's note of the original is damaged.
    """
    from foundation.sim.usd_copy import flattened
    from foundation.sim.usd_file import UsdVehicleError

    origin = _origin(params_dir)
    if origin is None and (params_dir / ORIGIN).is_file():
        return f"{params_dir / ORIGIN} is damaged; flown is the vehicle of the run, {params_dir / VEHICLE}"
    if origin is None or not Path(origin["path"]).is_file():
        return None
    try:
        same = _digest(flattened(origin["path"])) == origin["sha256"]
    except UsdVehicleError:
        same = False
    if same:
        return None
    return f"{origin['path']} has changed since this run; flown is the vehicle of the run, {params_dir / VEHICLE}"


def vehicle_name(usd_path: str) -> str:
    """Return the name of a vehicle: of its file, or of the original of a run's copy."""
    path = Path(usd_path)
    origin = _origin(path.parent) if path.name == VEHICLE else None
    return Path(usd_path if origin is None else origin["path"]).stem


def _origin(params_dir: Path) -> dict[str, str] | None:
    """Return path and digest of the original; None if there is no note of it, or a damaged one."""
    file = params_dir / ORIGIN
    try:
        found = json.loads(file.read_bytes()) if file.is_file() else {}
        return {name: str(found[name]) for name in ("path", "sha256")}
    except (ValueError, KeyError, TypeError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
