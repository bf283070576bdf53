"""Rows: how a rollout is cut into rows of the history, and how a model runs on a mini-batch of them.

A feed-forward student needs no order: a row is one transition. A recurrent student needs the past: a row is a
window of consecutive steps of one environment, with the hidden state at its first step.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict

from foundation.distill.tensors import tensors_of

LOSS_MASK = "trained"
"""Field that marks the steps which count in the loss: all but burn-in, padding and steps that a filter rejects."""


class RowLayout(Protocol):
    """Cuts rollouts into rows and runs models on them."""

    transitions_per_row: int
    """Largest number of transitions in a row that count in the loss."""
    rows_per_env: int
    """Number of rows that one environment's part of a rollout is cut into."""
    steps: int
    """Steps of a rollout."""
    burn_in: int
    """Steps of a row before the first that counts in the loss."""

    def before_step(self, step: int) -> None:
        """Record the student's hidden state, if a row needs it, before the student acts in a rollout's step."""
        ...

    def rows(self, rollout: TensorDict) -> TensorDict:
        """Return the rows (B, …) of a rollout (T, N, …), oldest first, row i of environment i % N."""
        ...

    def run(self, model: MLPModel, obs: TensorDict, batch: TensorDict) -> torch.Tensor:
        """Return a model's actions on rows, shape (B, A), or (B, W, A) for windows of W steps."""
        ...

    def arrange(self, values: torch.Tensor, batch: TensorDict) -> torch.Tensor:
        """Return a module's output in :meth:`run` in the shape of the actions."""
        ...

    def reset(self) -> None:
        """Return to the state before the first rollout."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the parts of this rollout that the next one's rows need."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""
        ...


class Transitions:
    """Rows that are single transitions, for feed-forward students."""

    transitions_per_row = 1
    burn_in = 0

    def __init__(self, steps: int) -> None:
        """Set the number of steps of a rollout."""
        self.rows_per_env = self.steps = steps

    def before_step(self, step: int) -> None:
        """Do nothing: a feed-forward student has no hidden state."""

    def rows(self, rollout: TensorDict) -> TensorDict:
        """Return the transitions, flat."""
        return rollout.flatten(0, 1)

    def run(self, model: MLPModel, obs: TensorDict, batch: TensorDict) -> torch.Tensor:
        """Return the actions, shape (B, A)."""
        return model(obs)

    def arrange(self, values: torch.Tensor, batch: TensorDict) -> torch.Tensor:
        """Return the values as they are."""
        return values

    def reset(self) -> None:
        """Do nothing: there is no state."""

    def state_dict(self) -> dict[str, Any]:
        """Return no state: a rollout's rows do not depend on earlier rollouts."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is no state."""


class Windows:
    """Rows that are windows: ``burn_in`` steps to warm up the hidden state, then ``length`` steps with a loss.

    The last window of a rollout is padded if ``length`` does not divide the rollout, and the burn-in of the first
    window reaches back into the rollout before. Hidden states are recorded during the rollout, at the first step
    of each window's burn-in.
    """

    def __init__(
        self, student: MLPModel, hidden: tuple[torch.Tensor, ...], steps: int, length: int, burn_in: int
    ) -> None:
        """Plan the windows.

        Args:
            student: The recurrent model.
            hidden: Its hidden state when an episode begins: zeros of shape (N, layers, H), two for an LSTM.
            steps: Steps of a rollout T.
            length: Steps of a window that count in the loss.
            burn_in: Steps before them.

        Raises:
            ValueError: If a window or its burn-in is longer than a rollout.
        """
        for name, value in (("gradient_length", length), ("burn_in", burn_in)):
            if value > steps:
                raise ValueError(f"{name} must be at most num_steps_per_env ({steps}), got {value}")
        self.transitions_per_row = length
        self.rows_per_env = -(-steps // length)
        self._student = student
        self._initial = hidden
        self.steps, self._length, self.burn_in = steps, length, burn_in
        # First steps of the windows; negative ones lie in the rollout before.
        self._starts = [window * length - burn_in for window in range(self.rows_per_env)]
        self._recorded_steps = {start % steps for start in self._starts}
        self.reset()

    def reset(self) -> None:
        """Return to the state before the first rollout."""
        self._recorded: dict[int, tuple[torch.Tensor, ...]] = {}
        self._recorded_before: dict[int, tuple[torch.Tensor, ...]] = {}
        self._tail: TensorDict | None = None

    def before_step(self, step: int) -> None:
        """Record the hidden state at steps where a window of this or of the next rollout begins."""
        if step in self._recorded_steps:
            self._recorded[step] = self._hidden_now()

    def rows(self, rollout: TensorDict) -> TensorDict:
        """Return the windows: fields (B, W, …), and the hidden states ``hidden/i`` of shape (B, layers, H)."""
        tail = tensors_of(self._blank_tail(rollout) if self._tail is None else self._tail)
        width = self.burn_in + self._length
        padding = self.rows_per_env * self._length - self.steps
        fields = {}
        for name, values in tensors_of(rollout).items():
            pad = values.new_zeros(padding, *values.shape[1:])
            time = torch.cat([tail[name], values, pad])
            fields[name] = time.unfold(0, width, self._length).movedim(-1, 2).flatten(0, 1)
        # unfold returns views that overlap in memory; write to a copy.
        fields[LOSS_MASK] = fields[LOSS_MASK].clone()
        fields[LOSS_MASK][:, : self.burn_in] = False
        hidden = [
            self._recorded.get(start, self._initial)
            if start >= 0
            else self._recorded_before.get(start + self.steps, self._initial)
            for start in self._starts
        ]
        for i, parts in enumerate(zip(*hidden, strict=True)):
            fields[f"hidden/{i}"] = torch.cat(parts)
        self._tail = rollout[self.steps - self.burn_in :].clone()
        self._recorded_before, self._recorded = self._recorded, {}
        return TensorDict(fields, batch_size=[len(fields[LOSS_MASK])], device=rollout.device)

    def run(self, model: MLPModel, obs: TensorDict, batch: TensorDict) -> torch.Tensor:
        """Run windows as one padded batch of sequences, and return actions of shape (B, W, A).

        torch's recurrent networks cannot reset a hidden state within a sequence. So every stretch between two
        dones becomes a sequence of its own: the first one of a window starts from the window's hidden state, the
        others from zero. With W steps and S stretches in the mini-batch, inputs are gathered into (W, S, ...),
        padded at the end, and rsl_rl's model removes the padding again by the masks.
        """
        dones = batch["dones"].T
        begins = torch.ones_like(dones)
        begins[1:] = dones[:-1]
        steps = torch.arange(len(dones), device=dones.device)[:, None].expand_as(dones)
        # Sequences are numbered window by window, in the order of time.
        sequence = begins.T.flatten().cumsum(0).sub_(1).view(dones.T.shape).T
        place = steps - torch.where(begins, steps, 0).cummax(0).values
        shape = (len(dones), int(sequence[-1, -1]) + 1)

        def sequences(values: torch.Tensor) -> torch.Tensor:
            out = values.new_zeros(*shape, *values.shape[2:])
            out[place, sequence] = values.transpose(0, 1)
            return out

        groups = {name: sequences(values) for name, values in tensors_of(obs).items()}
        padded = TensorDict(groups, batch_size=shape)
        masks = sequences(torch.ones_like(batch["dones"]))
        hidden = []
        for stored in (batch[f"hidden/{i}"] for i in range(len(self._initial))):
            # (B, layers, H) as stored, (layers, sequences, H) as torch wants it.
            first = stored.new_zeros(stored.shape[1], shape[1], stored.shape[2])
            first[:, sequence[0]] = stored.transpose(0, 1)
            hidden.append(first)
        actions = model(padded, masks=masks, hidden_state=hidden[0] if len(hidden) == 1 else tuple(hidden))
        return self.arrange(actions, batch)

    def arrange(self, values: torch.Tensor, batch: TensorDict) -> torch.Tensor:
        """Turn the model's (W, B, …) into (B, W, …)."""
        rows, width = batch["dones"].shape
        return values.reshape(width, rows, -1).transpose(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the last steps and hidden states of this rollout, into which the next burn-in reaches."""
        return {
            "tail": None if self._tail is None else tensors_of(self._tail),
            "hidden": {step: list(parts) for step, parts in self._recorded_before.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""
        tail, envs = state["tail"], len(self._initial[0])
        self._tail = None if tail is None else TensorDict(tail, batch_size=[self.burn_in, envs])
        self._recorded_before = {step: tuple(parts) for step, parts in state["hidden"].items()}

    def _hidden_now(self) -> tuple[torch.Tensor, ...]:
        state = self._student.get_hidden_state()
        return self._initial if state is None else per_env(state)

    def _blank_tail(self, rollout: TensorDict) -> TensorDict:
        """Return steps to precede the first rollout: without loss, and ending with a done."""
        tail = {name: torch.zeros_like(values[: self.burn_in]) for name, values in tensors_of(rollout).items()}
        tail["dones"][-1:] = True
        return TensorDict(tail, batch_size=[self.burn_in, rollout.batch_size[1]])


def transitions_in(layout: RowLayout, rows: int) -> int:
    """Return how many transitions rows hold, on average over a rollout: padding is none."""
    return rows * layout.steps // layout.rows_per_env


def rows_for(layout: RowLayout, transitions: int) -> int:
    """Return how many rows so many transitions fill."""
    return transitions * layout.rows_per_env // layout.steps


def per_env(hidden_state: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Return copies of a torch RNN's hidden state with the environments first, each of shape (N, layers, H)."""
    parts = hidden_state if isinstance(hidden_state, tuple) else (hidden_state,)
    return tuple(part.detach().transpose(0, 1).clone() for part in parts)


def per_step(values: torch.Tensor) -> torch.Tensor:
    """Return a field of one number per step in the shape of windows, (B, W), with W = 1 for transitions."""
    return values[:, None] if values.ndim == 1 else values


def phases_of_rows(rows: TensorDict) -> torch.Tensor:
    """Return the phase of each row, (B,); a window has that of its first step with a loss."""
    phases = rows["phase"]
    if phases.ndim == 1:
        return phases
    first = rows[LOSS_MASK].to(torch.uint8).argmax(1, keepdim=True)
    return phases.gather(1, first)[:, 0]
