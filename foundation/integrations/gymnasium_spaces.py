"""Observation and action spaces of gymnasium as the groups and actions of rsl_rl."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Space

Indices: TypeAlias = "slice | Iterable[int]"
Selection: TypeAlias = "Indices | str | Iterable[str] | Mapping[str, Indices]"
"""What an observation group consists of."""

_CHANNELS = (1, 3, 4)
"""Numbers of channels by which an image of (H, W, C) is recognised."""


class ActionRange:
    """A box of actions, and the range in which a policy gives them."""

    def __init__(self, space: Space, scaled: bool) -> None:
        """Take the action space of a single environment.

        Args:
            space: The space.
            scaled: Whether [-1, 1] covers it, in dimensions with limits.

        Raises:
            ValueError: If the actions are not real numbers.
        """
        if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(
                f"the action space is {space}; a policy of rsl_rl gives real numbers, which need a Box of floats"
            )
        self._space = space
        low, high = (torch.as_tensor(side, dtype=torch.float32).flatten() for side in (space.low, space.high))
        limited = torch.isfinite(low) & torch.isfinite(high)
        self._low, self._high = low, high
        self._scaled = limited if scaled else torch.zeros_like(limited)
        self.num_actions = len(low)
        """Numbers in an action."""
        least, most = (torch.where(self._scaled, side, limit) for side, limit in ((-1.0, low), (1.0, high)))
        self.policy_space = Box(least.numpy(), most.numpy(), dtype=np.float32)
        """The actions that are applied as a policy gives them."""

    def applied(self, actions: torch.Tensor) -> np.ndarray:
        """Return a policy's actions (N, A), clipped and in the space's units, in the space's shape."""
        actions = actions.detach().cpu()
        half = torch.where(self._scaled, 0.5 * (self._high - self._low), 1.0)
        scaled = self._low + (actions.clamp(-1.0, 1.0) + 1.0) * half
        actions = torch.where(self._scaled, scaled, actions).clamp(self._low, self._high)
        in_space = actions.numpy().reshape(-1, *self._space.shape).astype(self._space.dtype)
        # A limit of float64 is seldom a float32.
        return np.clip(in_space, self._space.low, self._space.high)


class ObservationGroup:
    """One group: entries of an observation, or numbers of entries, side by side."""

    def __init__(self, name: str, entries: Mapping[str, Box], parts: Mapping[str, Indices | None]) -> None:
        """Select the numbers.

        Args:
            name: The group's name, for messages.
            entries: Spaces of all entries, by name.
            parts: Indices of an entry by its name; None takes all of it.

        Raises:
            ValueError: If an entry is unknown, or an index is outside.
        """
        if not parts:
            raise ValueError(f"observation group {name!r} is empty")
        self._parts = []
        for entry, indices in parts.items():
            if entry not in entries:
                raise ValueError(
                    f"observation group {name!r} has no entry {entry!r} to read; there are {', '.join(entries)}"
                )
            self._parts.append((entry, entries[entry], _columns(name, entries[entry], indices)))
        if len(self._parts) > 1 and any(_is_image(space) for _, space, _ in self._parts):
            raise ValueError(
                f"observation group {name!r} joins an image with something else; give it its own group"
            )

    def read(self, obs: Any, device: torch.device) -> torch.Tensor:
        """Return the group of observations (N, ...), a new tensor (N, D) or (N, C, H, W)."""
        parts = []
        for entry, space, columns in self._parts:
            values = torch.as_tensor(np.asarray(obs[entry] if entry else obs))
            if _is_image(space):
                return _channels_first(values, space.shape).to(device, copy=True)
            values = values.reshape(len(values), -1)
            parts.append((values if columns is None else values[:, columns]).to(device, torch.float32, copy=True))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def observation_groups(space: Space, groups: Mapping[str, Selection] | None) -> dict[str, ObservationGroup]:
    """Return observation groups by name; see :class:`~foundation.integrations.gymnasium.GymnasiumVecEnv`.

    Args:
        space: The observation space of a single environment.
        groups: What each group consists of; None gives one group, ``policy``, or one per entry of a dictionary.

    Raises:
        ValueError: If observations are not numbers in boxes, or a group cannot be read from them.
    """
    is_dict = isinstance(space, Dict)
    entries: dict[str, Box] = {}
    for name, one in space.spaces.items() if is_dict else [("", space)]:
        if not isinstance(one, Box):
            what = f"entry {name!r} of the observation space" if is_dict else "the observation space"
            raise ValueError(
                f"{what} is {one}, not a Box; gymnasium.wrappers.FlattenObservation makes one vector of it"
            )
        entries[str(name)] = one
    if groups is None:
        groups = {name: name for name in entries} if is_dict else {"policy": slice(None)}
    if not isinstance(groups, Mapping):
        raise ValueError(f'groups must be selections by group, such as {{"student": range(5)}}, got {groups!r}')
    if not groups:
        raise ValueError("groups is empty; give at least one observation group, or None for the default")
    return {name: ObservationGroup(name, entries, _parts(name, one, is_dict)) for name, one in groups.items()}


def _parts(name: str, selection: Any, is_dict: bool) -> Mapping[str, Indices | None]:
    if not is_dict:
        if isinstance(selection, (str, Mapping)):
            raise ValueError(
                f"observation group {name!r} names an entry, but the observation is one vector; give indices"
            )
        return {"": selection}
    if isinstance(selection, Mapping):
        return selection
    names = (
        [selection] if isinstance(selection, str) else list(selection) if isinstance(selection, Iterable) else []
    )
    if not names or not all(isinstance(one, str) for one in names):
        raise ValueError(
            f"observation group {name!r} is given by indices, but the observation is a dictionary; name its "
            f'entries, or indices by entry, such as {{"joints": range(5)}}'
        )
    return dict.fromkeys(names)


def _columns(name: str, space: Box, indices: Indices | None) -> list[int] | None:
    size = int(np.prod(space.shape))
    if indices is None or (isinstance(indices, slice) and indices == slice(None)):
        return None
    if _is_image(space):
        raise ValueError(f"observation group {name!r} takes indices of an image; take the whole entry")
    if not isinstance(indices, (slice, Iterable)) or isinstance(indices, str):
        way = f"; write [{indices!r}]" if isinstance(indices, int) else ""
        raise ValueError(f"observation group {name!r} must be indices, such as range(5), got {indices!r}{way}")
    columns = list(range(size)[indices]) if isinstance(indices, slice) else list(indices)
    for place, index in enumerate(columns):
        if isinstance(index, (bool, np.bool_)) or getattr(index, "dtype", None) == torch.bool:
            raise ValueError(f"observation group {name!r} is a mask; give the indices of its numbers")
        try:
            columns[place] = index = operator.index(index)
        except TypeError:
            raise ValueError(
                f"observation group {name!r} has index {index!r}; indices are whole numbers"
            ) from None
        if not -size <= index < size:
            raise ValueError(f"observation group {name!r} has index {index}, but there are {size} numbers")
    if not columns:
        raise ValueError(f"observation group {name!r} is empty")
    return columns


def _is_image(space: Box) -> bool:
    """Return whether a box holds images: bytes with two or three dimensions, or three dimensions of floats."""
    return len(space.shape) == 3 or (len(space.shape) == 2 and space.dtype == np.uint8)


def _channels_first(values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return images (N, C, H, W), bytes as they are."""
    if len(shape) == 2:
        values = values[:, None]
    elif shape[-1] in _CHANNELS and shape[0] not in _CHANNELS:
        values = values.permute(0, 3, 1, 2)
    return values.contiguous() if values.dtype == torch.uint8 else values.float().contiguous()
