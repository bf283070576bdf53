"""Labels and the range of actions that the environment applies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rsl_rl.env import VecEnv

from foundation.distill.log import logger

FAR_OUTSIDE = 0.5
"""Distance beyond the range from which a label is far outside, as a share of the range's width."""
MANY = 0.01
"""Share of labels far outside that is worth a hint."""

Range = tuple[torch.Tensor, torch.Tensor]
"""Lowest and highest actions, each a scalar or (A,)."""


def clip_limits(label_clip: float | Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest label of ``label_clip``.

    Raises:
        ValueError: If there is no range between them.
    """
    try:
        low, high = (-label_clip, label_clip) if isinstance(label_clip, (int, float)) else label_clip
        if float(low) < float(high):
            return float(low), float(high)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"label_clip must be positive, or a pair of lowest and highest, got {label_clip}")


def as_label_clip(least: float, most: float) -> str:
    """Return the value of ``label_clip`` with these limits, as it is written in a setting."""
    return f"{most:g}" if least == -most else f"[{least:g},{most:g}]"


class LabelRange:
    """Clips labels to ``label_clip``; without it, reports once if many lie far outside the environment's range."""

    def __init__(self, label_clip: float | Sequence[float] | None, device: str) -> None:
        """Keep the limits.

        Args:
            label_clip: Largest absolute value of a label, or lowest and highest; None clips nothing.
            device: Device of the labels.
        """
        self._clip = None if label_clip is None else clip_limits(label_clip)
        self._device = device
        self.applied: Range | None = None
        """The range that the environment applies; None if it does not say."""
        self._is_reported = False

    def set_applied(self, applied: Range | None) -> None:
        """Set the range that the environment applies; None if it does not say."""
        self.applied = None if applied is None else (applied[0].to(self._device), applied[1].to(self._device))

    def clip_(self, labels: torch.Tensor) -> torch.Tensor:
        """Bring labels (..., A) into the range of ``label_clip`` in place, and return them."""
        return labels if self._clip is None else labels.clamp_(*self._clip)

    def report(self, labels: torch.Tensor) -> None:
        """Report labels (..., A) of a first rollout that the environment would clip heavily."""
        if self._is_reported or self.applied is None or self._clip is not None:
            return
        self._is_reported = True
        low, high = self.applied
        beyond = torch.maximum(low - labels, labels - high)
        share = (beyond > FAR_OUTSIDE * (high - low)).float().mean().item()
        if share > MANY:
            least, most = low.min().item(), high.max().item()
            clip = as_label_clip(least, most)
            logger.warning(
                f"[DAgger] {share:.0%} of the teacher's actions lie far outside the range that the environment "
                f"applies, [{least:g}, {most:g}]: the student imitates numbers without an effect, up to "
                f"{labels.abs().max().item():.3g}; label_clip={clip} clips them"
            )


def action_range(env: VecEnv) -> Range | None:
    """Return the lowest and the highest action that an environment applies, as far as it says so.

    Read from ``clip_actions``, as Isaac Lab's and mjlab's wrappers have it, or from ``single_action_space`` or
    ``action_space``, as gymnasium's environments have it. None if there is neither, or no limit.
    """
    clip = getattr(env, "clip_actions", None)
    if isinstance(clip, (int, float)) and not isinstance(clip, bool):
        return torch.tensor(-float(clip)), torch.tensor(float(clip))
    return _range_of_space(env, env) or own_action_range(env)


def own_action_range(env: VecEnv) -> Range | None:
    """Return the range of the environment behind all wrappers, whose units may be others; None if unknown."""
    return _range_of_space(env, getattr(env, "unwrapped", None))


def _range_of_space(env: VecEnv, holder: object) -> Range | None:
    for name in ("single_action_space", "action_space"):
        space = getattr(holder, name, None)
        if getattr(space, "low", None) is None or getattr(space, "high", None) is None:
            continue
        low, high = (torch.as_tensor(getattr(space, side)).float() for side in ("low", "high"))
        if low.shape[-1:] == (env.num_actions,) and bool(torch.isfinite(low).all() & torch.isfinite(high).all()):
            return low.reshape(-1, env.num_actions)[0], high.reshape(-1, env.num_actions)[0]
    return None
