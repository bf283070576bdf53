"""Which stored rows a mini-batch is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from foundation.distill.storage import Index

DEFAULT_PRIORITY_EXPONENT = 0.6
"""Exponent of sampling ``loss``; the proportional variant's value in Schaul et al., 2016."""


class Sampler:
    """Draws slots; this one with equal probability, independently and with replacement."""

    reads_losses = False
    """Whether :meth:`record_loss` has an effect."""
    _NOTE: torch.dtype | None = None
    """Dtype of what is noted of each row; None if nothing is."""

    def __init__(self, max_rows: int, device: torch.device) -> None:
        """Reserve memory for the notes on rows."""
        self.device = device
        self._notes: torch.Tensor | None = None
        if self._NOTE is not None:
            with torch.inference_mode(False):
                self._notes = torch.empty(max_rows, dtype=self._NOTE, device=device)

    @classmethod
    def note_bytes(cls) -> int:
        """Return the memory of the notes [bytes per row]."""
        return 0 if cls._NOTE is None else cls._NOTE.itemsize

    def begin_append(self) -> None:
        """Take note that another rollout is about to be stored."""

    def added(self, slots: Index) -> None:
        """Take note of new rows in some slots."""

    def upcoming(self, slots: Sequence[slice]) -> dict[str, torch.Tensor]:
        """Return numbers on a GPU, by name, that new rows in these slots will need; none on the CPU."""
        return {}

    def foresee(self, numbers: Mapping[str, float]) -> None:
        """Take note of the values of what :meth:`upcoming` returned."""

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Yield the slots of ``count`` mini-batches out of ``size`` rows."""
        for _ in range(count):
            yield torch.randint(size, (mini_batch_size,), device=self.device)

    def record_loss(self, slots: torch.Tensor, losses: torch.Tensor) -> None:
        """Take note of the losses of drawn rows, each of shape (B,)."""

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return what the next draw reads, in host memory."""
        return {} if self._notes is None else {"notes": self._notes[:size].to("cpu", copy=True)}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore what :meth:`state_dict` returned; ``unroll`` is the slot that becomes the first."""
        if self._notes is not None:
            self._notes[:size].copy_(state["notes"].roll(-unroll, 0))


class Passes(Sampler):
    """Draws without replacement: a pass visits every row exactly once, in random order.

    A pass may be interrupted and continued, also after new rows arrived: those join the pass under way. So over
    time every row is visited equally often. The last mini-batch of a pass holds what is left, down to one row.
    What a round of draws costs depends on how much it draws, not on how much is stored.
    """

    def __init__(self, max_rows: int, device: torch.device) -> None:
        """Begin with nothing stored."""
        super().__init__(max_rows, device)
        with torch.inference_mode(False):
            # The slots that wait are the first so many of the pool, in random order.
            self._pool = torch.empty(max_rows, dtype=torch.int32, device=device)
            self._waits = torch.zeros(max_rows, dtype=torch.bool, device=device)
        self._num_waiting = 0
        self._new: list[Index] = []
        # Slots from here on were never written to. Of slots that were, a GPU alone knows how many do not wait.
        self._never_used = 0
        self._num_joining: dict[str, int] = {}

    @classmethod
    def note_bytes(cls) -> int:
        """Return the memory of pool and marks [bytes per row]."""
        return torch.int32.itemsize + torch.bool.itemsize

    def added(self, slots: Index) -> None:
        """New rows are not visited yet."""
        self._new.append(slots)

    def _join(self) -> None:
        """Let new rows wait, too."""
        for slots in self._new:
            self._add(slots)
        # What was foreseen holds until rows are drawn.
        self._new, self._num_joining = [], {}

    def upcoming(self, slots: Sequence[slice]) -> dict[str, torch.Tensor]:
        """Return how many of the rows in each part of the ring will join, where only a GPU knows."""
        if self.device.type == "cpu" or self._new:
            return {}
        return {_name(part): (~self._waits[part]).sum() for part in slots}

    def foresee(self, numbers: Mapping[str, float]) -> None:
        """Take note of how many will join."""
        self._num_joining = {name: int(number) for name, number in numbers.items()}

    def _joining(self, slots: Index) -> torch.Tensor:
        """Return those of new rows' slots that do not wait yet."""
        if not isinstance(slots, slice):
            return slots[~self._waits[slots]]
        numbers = torch.arange(slots.start, slots.stop, device=self.device)
        if slots.start >= self._never_used:
            return numbers
        waits, count = self._waits[slots], self._num_joining.pop(_name(slots), None)
        if count is None:
            return numbers[~waits]
        return numbers[waits.to(torch.uint8).argsort(stable=True)[:count]]

    def _add(self, slots: Index) -> None:
        joining = self._joining(slots)
        before, after = self._num_waiting, self._num_waiting + len(joining)
        if self.device.type == "cpu":
            self._scatter(joining, before, after)
        else:
            # All that wait in a new order: a GPU does so faster than the host would learn how many change places.
            waiting = torch.cat([self._pool[:before], joining.int()])
            self._pool[:after] = waiting[torch.randperm(after, device=self.device)]
        self._waits[slots] = True
        self._num_waiting = after
        self._never_used = max(self._never_used, slots.stop if isinstance(slots, slice) else 0)

    def _scatter(self, joining: torch.Tensor, before: int, after: int) -> None:
        """Put slots into random places of the pool."""
        places = distinct_integers(after, len(joining), self.device).long()
        # Whatever was in those places moves to what is left of the pool's new end.
        free = torch.ones(len(joining), dtype=torch.bool, device=self.device)
        free.index_fill_(0, places.masked_select(places >= before) - before, False)
        self._pool[before:after].masked_scatter_(free, self._pool[places.masked_select(places < before)])
        self._pool.index_copy_(0, places, joining.int())

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Continue the pass under way and begin new ones as needed."""
        self._join()
        while count > 0:
            slots = self._take(min(count * mini_batch_size, self._num_waiting))
            # A finished pass gives way to the next at once, so that new rows join one not begun.
            if self._num_waiting == 0:
                self._begin_pass(size)
            for part in slots.split(mini_batch_size):
                yield part
                count -= 1

    def _begin_pass(self, size: int) -> None:
        self._pool[:size] = torch.randperm(size, dtype=torch.int32, device=self.device)
        self._waits[:size] = True
        self._num_waiting = size

    def _take(self, count: int) -> torch.Tensor:
        """Return ``count`` waiting slots in random order, which then no longer wait."""
        left = self._num_waiting - count
        slots = self._pool[left : self._num_waiting].long()
        self._waits.index_fill_(0, slots, False)
        self._num_waiting = left
        return slots

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the slots that wait, in the pool's order."""
        self._join()
        return {"waiting": self._pool[: self._num_waiting].to("cpu", copy=True)}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore the slots that wait."""
        self._new, self._num_joining, self._never_used = [], {}, size
        waiting = (state["waiting"].to(self.device).long() - unroll) % max(size, 1)
        self._num_waiting = len(waiting)
        self._pool[: len(waiting)] = waiting.int()
        self._waits.zero_()
        self._waits[waiting] = True


def _name(slots: slice) -> str:
    return f"joining {slots.start}:{slots.stop}"


def distinct_integers(below: int, count: int, device: torch.device) -> torch.Tensor:
    """Return ``count`` different integers of 0 to ``below`` - 1, every ordered choice being equally likely."""
    if below < 8 * count:
        return torch.randperm(below, device=device)[:count]
    # The first so many different ones of independent draws, of which about a tenth are repetitions at most.
    drawn = torch.randint(below, (count + count // 4 + 16,), dtype=torch.int32, device=device)
    values, order = drawn.sort(stable=True)
    first = torch.ones_like(drawn, dtype=torch.bool)
    first[order[1:][values[1:] == values[:-1]]] = False
    different = drawn[first]
    return different[:count] if len(different) >= count else distinct_integers(below, count, device)


class _Weighted(Sampler):
    """Draws with probabilities, independently and with replacement; fixed when a round of draws begins."""

    def weights(self, size: int) -> torch.Tensor:
        """Return weights proportional to the probability of each row, float64, shape (size,)."""
        raise NotImplementedError

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Draw by inverting the cumulative distribution: torch.multinomial ends at 2**24 rows."""
        cumulative = self.weights(size).cumsum(0)
        for _ in range(count):
            level = torch.rand(mini_batch_size, device=self.device, dtype=torch.float64) * cumulative[-1]
            yield torch.searchsorted(cumulative, level, right=True).clamp_(max=size - 1)


class Recency(_Weighted):
    """The probability of a row halves with every ``half_life`` rollouts stored after it."""

    _NOTE = torch.int32

    def __init__(self, max_rows: int, device: torch.device, half_life: float) -> None:
        """Begin before the first rollout."""
        super().__init__(max_rows, device)
        self.half_life = half_life
        self._rollouts = 0

    def begin_append(self) -> None:
        """Count the rollout."""
        self._rollouts += 1

    def added(self, slots: Index) -> None:
        """Remember the rollout that the rows came with."""
        assert self._notes is not None
        self._notes[slots] = self._rollouts

    def weights(self, size: int) -> torch.Tensor:
        """Return 2 ** (-age / half_life), the age in rollouts."""
        assert self._notes is not None
        age = (self._rollouts - self._notes[:size]).double()
        return torch.exp2(-age / self.half_life)

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the rows' rollouts and the count."""
        return super().state_dict(size) | {"rollouts": self._rollouts}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore the rows' rollouts and the count."""
        super().load_state_dict(state, size, unroll)
        self._rollouts = state["rollouts"]


class LossPrioritised(_Weighted):
    """The probability of a row is proportional to a power of the loss that it had when it was last drawn.

    A new row has the largest loss recorded so far, so that it is drawn soon. Reference: Schaul, Quan, Antonoglou
    and Silver, "Prioritized experience replay", ICLR 2016, proportional variant, without importance weights: the
    gradient is meant to favour what the student gets wrong.
    """

    reads_losses = True
    _NOTE = torch.float32
    _SMALLEST = 1e-8

    def __init__(self, max_rows: int, device: torch.device, exponent: float) -> None:
        """Begin with no loss recorded."""
        super().__init__(max_rows, device)
        self.exponent = exponent
        self._largest = torch.zeros((), device=device)

    def added(self, slots: Index) -> None:
        """Give new rows the largest loss recorded so far, and before any the same loss to all."""
        assert self._notes is not None
        self._notes[slots] = torch.where(self._largest > 0.0, self._largest, 1.0)

    def record_loss(self, slots: torch.Tensor, losses: torch.Tensor) -> None:
        """Remember the losses."""
        assert self._notes is not None
        losses = losses.to(self.device, torch.float32).clamp_(min=self._SMALLEST)
        self._notes[slots] = losses
        torch.maximum(self._largest, losses.max(), out=self._largest)

    def weights(self, size: int) -> torch.Tensor:
        """Return loss ** exponent."""
        assert self._notes is not None
        return self._notes[:size].double() ** self.exponent

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the rows' losses and the largest."""
        return super().state_dict(size) | {"largest": self._largest.to("cpu", copy=True)}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore the rows' losses and the largest."""
        super().load_state_dict(state, size, unroll)
        self._largest.copy_(state["largest"])


SAMPLERS: dict[str, type[Sampler]] = {
    "passes": Passes,
    "uniform": Sampler,
    "recency": Recency,
    "loss": LossPrioritised,
}


def make_sampler(
    kind: str, max_rows: int, device: torch.device, half_life: float | None, exponent: float | None
) -> Sampler:
    """Return a sampler by name."""
    if kind == "recency":
        assert half_life is not None
        return Recency(max_rows, device, half_life)
    if kind == "loss":
        return LossPrioritised(max_rows, device, DEFAULT_PRIORITY_EXPONENT if exponent is None else exponent)
    return SAMPLERS[kind](max_rows, device)
