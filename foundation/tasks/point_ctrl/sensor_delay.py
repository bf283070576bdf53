"""Sensors that are late: the student sees its motion as it was some control steps ago."""

from __future__ import annotations

import torch

from foundation.tasks.point_ctrl.layout import STUDENT

_SENSED = sum(STUDENT.values()) - STUDENT["previous_action"]
"""First columns of the student's observation, which sensors measure; it knows its previous action by itself."""


class SensorDelay:
    """Keeps the measurements of the last steps; an episode begins as if the vehicle had stood still before."""

    def __init__(self, steps: int, delayed: torch.Tensor) -> None:
        """Start without measurements.

        Args:
            steps: Delay [control steps], at least 1.
            delayed: The environments whose sensors are late, bool, shape (N,).
        """
        self._delayed = delayed[:, None]
        self.measured = torch.zeros(len(delayed), steps + 1, _SENSED, device=delayed.device)
        """Measurements, the newest first, shape (N, steps + 1, 18)."""

    def advance(self, student: torch.Tensor, begun: torch.Tensor) -> torch.Tensor:
        """Add the measurements of a step, and return the observation with those that are due.

        Args:
            student: The student's observation without delay, shape (N, 22).
            begun: Where an episode has just begun, bool, shape (N,).
        """
        self.measured.copy_(torch.cat([student[:, None, :_SENSED], self.measured[:, :-1]], dim=1))
        return self.begin(student, begun)

    def begin(self, student: torch.Tensor, begun: torch.Tensor) -> torch.Tensor:
        """Forget what was measured before an episode began, and return the observation; arguments as above."""
        self.measured.copy_(torch.where(begun[:, None, None], student[:, None, :_SENSED], self.measured))
        return self.due(student)

    def due(self, student: torch.Tensor) -> torch.Tensor:
        """Return the observation with the measurements that are due."""
        late = torch.where(self._delayed, self.measured[:, -1], student[:, :_SENSED])
        return torch.cat([late, student[:, _SENSED:]], dim=1)
