"""What both formats share: the names of columns, and what a dataset says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from foundation.distill.datasets.recording import HIDDEN, Recording, demonstrated
from foundation.distill.phases import TEACHER_PHASE

ABOUT = "foundation"
"""Entry of a dataset's metadata with :func:`about`."""
VERSION = 1
"""Version of that entry; a newer one is refused."""
_RENAMED = {"student_actions": "student_action", "phase": "driver", "dones": "done"}
"""Fields of the history, and the names that their columns have."""
_OWN = ("policy_version", "phase", "environment", "transition", "role")
_HIDDEN_COLUMN = "student_hidden_"


class DatasetError(ValueError):
    """A dataset cannot be written or read; the message names the folder, the reason and the way out."""


def columns(recording: Recording) -> dict[str, np.ndarray]:
    """Return what is told of each step besides observations and the teacher's action, each (S, …), by column."""
    found = {
        _RENAMED.get(name, name): values
        for name, values in recording.fields.items()
        if not name.startswith("obs/") and name != "teacher_actions"
    }
    numbers = (recording.versions, recording.phases, recording.environments, recording.numbers, recording.roles)
    found |= dict(zip(_OWN, numbers, strict=True))
    return found | {
        name.replace(HIDDEN, _HIDDEN_COLUMN): values for name, values in sorted(recording.hidden.items())
    }


def about(recording: Recording) -> dict[str, Any]:
    """Return what makes the history out of a dataset again, as plain values."""
    return {
        "version": VERSION,
        "groups": list(recording.groups),
        "scalars": [name for name, values in columns(recording).items() if values.ndim == 1],
        "length": recording.length,
        "burn_in": recording.burn_in,
        "next": recording.origins["next"],
        "spans": recording.origins["spans"].tolist(),
        "action_range": None if recording.bounds is None else [side.tolist() for side in recording.bounds],
    }


def as_bounds(saved: list[Any] | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lowest and highest actions that were saved as plain numbers; None if none were."""
    return None if saved is None else (np.asarray(saved[0], np.float32), np.asarray(saved[1], np.float32))


def from_columns(
    what: dict[str, Any], groups: dict[str, np.ndarray], actions: np.ndarray, found: dict[str, np.ndarray]
) -> Recording:
    """Return the recording that was written as columns.

    Args:
        what: The entry :data:`ABOUT`.
        groups: The observations by group.
        actions: The teacher's actions.
        found: The other columns, as :func:`columns` gave them; further ones are fields, too.

    Raises:
        DatasetError: If something is missing or does not fit.
    """
    try:
        if what["version"] > VERSION:
            raise DatasetError(
                f"it has version {what['version']}, this release reads up to {VERSION}; upgrade foundation-distill"
            )
        fields = {f"obs/{name}": values for name, values in groups.items()} | {"teacher_actions": actions}
        names = {column: name for name, column in _RENAMED.items()}
        hidden = {}
        for column, values in found.items():
            if column.startswith(_HIDDEN_COLUMN):
                hidden[column.replace(_HIDDEN_COLUMN, HIDDEN)] = values
            elif column not in _OWN:
                fields[names.get(column, column)] = values
        spans = torch.tensor(what["spans"], dtype=torch.int64).view(-1, 6)
        origins = {"spans": spans, "next": int(what["next"]), "continues": False}
        recording = Recording(
            fields, found["transition"], found["role"], hidden, origins, int(what["length"]), int(what["burn_in"])
        )
        recording.bounds, recording.is_exported = as_bounds(what.get("action_range")), True
    except DatasetError:
        raise
    except (KeyError, ValueError, TypeError, RuntimeError, IndexError) as error:
        raise DatasetError(f"its entry {ABOUT!r} does not fit its data ({error}); export it again") from error
    return recording


def from_demonstrations(groups: dict[str, np.ndarray], actions: np.ndarray, begins: np.ndarray) -> Recording:
    """Return a recording of demonstrations of others: actions are labels, and each episode ends with a done.

    Args:
        groups: The observations by group, each (S, …).
        actions: The demonstrator's actions, (S, A).
        begins: First step of each episode, (E,).
    """
    dones = np.zeros(len(actions), bool)
    dones[begins[1:] - 1] = dones[-1:] = True
    fields = {f"obs/{name}": _as_stored(values) for name, values in groups.items()}
    fields["teacher_actions"] = _as_stored(actions)
    # The demonstrator acted: there was no student.
    fields["student_actions"] = fields["teacher_actions"].copy()
    fields["dones"] = dones
    fields["phase"] = np.full(len(actions), TEACHER_PHASE, np.uint8)
    return demonstrated(fields, begins, TEACHER_PHASE)


def _as_stored(values: np.ndarray) -> np.ndarray:
    """Return numbers in the type in which a history stores them: float32, but images of bytes stay bytes."""
    is_image = values.dtype == np.uint8 and values.ndim == 4
    return values if is_image else values.astype(np.float32)


def named_groups(entries: dict[str, np.ndarray], unnamed: str, groups: list[str]) -> dict[str, np.ndarray]:
    """Return the observations of demonstrations by group: an entry without a name is the only group needed."""
    if len(groups) == 1 and groups[0] not in entries and unnamed in entries:
        return {groups[0]: entries[unnamed]}
    return entries
