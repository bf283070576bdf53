"""Samplers: which stored rows a mini-batch is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from foundation.distill.history.distinct_integers import distinct_integers
from foundation.distill.history.storage import Index
from foundation.distill.strategies import Registry, Strategy

DEFAULT_PRIORITY_EXPONENT = 0.6
"""Exponent of sampling ``loss``; the proportional variant's value in Schaul et al., 2016."""


class Sampler(Strategy):
    """Draws the slots of mini-batches. Extend it to write your own; :class:`Uniform` is the shortest example."""

    reads_losses = False
    """Whether :meth:`record_loss` has to be called."""
    note_dtype: torch.dtype | None = None
    """Dtype of the one number that is kept for every row; None keeps none."""

    def __init__(self, max_rows: int, device: torch.device, options: Any = None) -> None:
        """Allocate one number per slot, if the sampler keeps one.

        Args:
            max_rows: Largest number of rows.
            device: Device that the rows are kept on.
            options: The :class:`~foundation.distill.DaggerOptions`, for samplers with options.
        """
        self.device = device
        with torch.inference_mode(False):
            self.notes = torch.empty(max_rows if self.note_dtype else 0, dtype=self.note_dtype, device=device)
            """The number of every slot, shape (max_rows,)."""

    @classmethod
    def bytes_per_row(cls) -> int:
        """Return the memory of the bookkeeping [bytes per row]."""
        return 0 if cls.note_dtype is None else cls.note_dtype.itemsize

    def begin_append(self) -> None:
        """Prepare for the rows of another rollout."""

    def added(self, slots: Index) -> None:
        """Register new rows in some slots; rows that were there before are gone."""

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Yield the slots (B,) of ``count`` mini-batches out of ``size`` rows."""
        raise NotImplementedError

    def record_loss(self, slots: torch.Tensor, losses: torch.Tensor) -> None:
        """Register the losses of drawn rows, each of shape (B,)."""

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the state of the first ``size`` slots, in host memory."""
        return {} if self.note_dtype is None else {"notes": self.notes[:size].to("cpu", copy=True)}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore a state.

        Args:
            state: A state of :meth:`state_dict`.
            size: Its number of rows.
            unroll: Slot in it that becomes slot 0.
        """
        if self.note_dtype is not None:
            self.notes[:size].copy_(state["notes"].roll(-unroll, 0))


class Uniform(Sampler):
    """Draws with equal probability, independently and with replacement."""

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Yield independent uniform slots."""
        for _ in range(count):
            yield torch.randint(size, (mini_batch_size,), device=self.device)


class WithoutReplacement(Sampler):
    """Draws in passes: a pass visits every row exactly once, in random order.

    A pass may be interrupted and continued, also after new rows arrived: those join the pass under way. The last
    mini-batch of a pass may be smaller, down to one row.

    The slots that are still pending in the pass are the first ``num_pending`` entries of a pool in random order,
    so a mini-batch is taken from its end, and new rows swap into random places. The cost of a draw therefore
    depends on the number of rows drawn and not on the number stored. Interleaving Fisher-Yates with insertions
    keeps every order of the pending slots equally likely.
    """

    def __init__(self, max_rows: int, device: torch.device, options: Any = None) -> None:
        """Begin with no rows."""
        super().__init__(max_rows, device, options)
        with torch.inference_mode(False):
            self.pool = torch.empty(max_rows, dtype=torch.int32, device=device)
            self.is_pending = torch.zeros(max_rows, dtype=torch.bool, device=device)
        self.num_pending = 0
        self._new: list[Index] = []

    @classmethod
    def bytes_per_row(cls) -> int:
        """Return the memory of pool and marks [bytes per row]."""
        return torch.int32.itemsize + torch.bool.itemsize

    def added(self, slots: Index) -> None:
        """Register rows that have not been visited yet."""
        self._new.append(slots)

    def add_new_rows(self) -> None:
        """Let the rows added since the last draw join the pass under way."""
        for slots in self._new:
            joining = self.select_joining(slots)
            self.insert(joining)
            self.is_pending[slots] = True
        self._new = []

    def select_joining(self, slots: Index) -> torch.Tensor:
        """Return the slots of new rows that are not pending already."""
        if isinstance(slots, slice):
            numbers = torch.arange(slots.start, slots.stop, device=self.device)
            return numbers.masked_select(~self.is_pending[slots])
        return slots[~self.is_pending[slots]]

    def insert(self, joining: torch.Tensor) -> None:
        """Insert slots at random places of the pool."""
        before, after = self.num_pending, self.num_pending + len(joining)
        places = distinct_integers(after, len(joining), self.device).long()
        # The entries that were in these places move to the free ones at the pool's new end.
        free = torch.ones(len(joining), dtype=torch.bool, device=self.device)
        free.index_fill_(0, places.masked_select(places >= before) - before, False)
        self.pool[before:after].masked_scatter_(free, self.pool[places.masked_select(places < before)])
        self.pool.index_copy_(0, places, joining.int())
        self.num_pending = after

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Continue the pass under way and begin new ones as needed."""
        self.add_new_rows()
        while count > 0:
            slots = self._take(min(count * mini_batch_size, self.num_pending))
            # Refill at once, so that new rows join the next pass from its beginning.
            if self.num_pending == 0:
                self._begin_pass(size)
            for part in slots.split(mini_batch_size):
                yield part
                count -= 1

    def _begin_pass(self, size: int) -> None:
        self.pool[:size] = torch.randperm(size, dtype=torch.int32, device=self.device)
        self.is_pending[:size] = True
        self.num_pending = size

    def _take(self, count: int) -> torch.Tensor:
        """Remove ``count`` pending slots from the pool, and return them in random order."""
        left = self.num_pending - count
        slots = self.pool[left : self.num_pending].long()
        self.is_pending.index_fill_(0, slots, False)
        self.num_pending = left
        return slots

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the pending slots, in the pool's order."""
        self.add_new_rows()
        return {"waiting": self.pool[: self.num_pending].to("cpu", copy=True)}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore the pending slots."""
        self._new = []
        pending = (state["waiting"].to(self.device).long() - unroll) % max(size, 1)
        self.num_pending = len(pending)
        self.pool[: len(pending)] = pending.int()
        self.is_pending.zero_()
        self.is_pending[pending] = True


class Weighted(Sampler):
    """Draws in proportion to weights, independently and with replacement. Extend it and define :meth:`weights`."""

    def weights(self, size: int) -> torch.Tensor:
        """Return weights proportional to the probability of each row, float64, shape (size,)."""
        raise NotImplementedError

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Yield slots by inverting the cumulative distribution, which is computed once for all mini-batches."""
        # Not torch.multinomial: it is limited to 2**24 rows.
        cumulative = self.weights(size).cumsum(0)
        for _ in range(count):
            level = torch.rand(mini_batch_size, device=self.device, dtype=torch.float64) * cumulative[-1]
            yield torch.searchsorted(cumulative, level, right=True).clamp_(max=size - 1)


class Recency(Weighted):
    """The probability of a row halves with every ``recency_half_life`` rollouts stored after it."""

    needs = ("recency_half_life",)
    note_dtype = torch.int32

    def __init__(self, max_rows: int, device: torch.device, options: Any) -> None:
        """Begin before the first rollout."""
        super().__init__(max_rows, device, options)
        self.half_life = options.recency_half_life
        self._rollouts = 0

    @classmethod
    def check(cls, options: Any) -> None:
        """Check that the half-life is positive."""
        if not options.recency_half_life > 0.0:
            raise ValueError(f"recency_half_life must be positive, got {options.recency_half_life}")

    def begin_append(self) -> None:
        """Count the rollout."""
        self._rollouts += 1

    def added(self, slots: Index) -> None:
        """Record the rollout that the rows came with."""
        self.notes[slots] = self._rollouts

    def weights(self, size: int) -> torch.Tensor:
        """Return 2 ** (-age / half_life), the age in rollouts."""
        age = (self._rollouts - self.notes[:size]).double()
        return torch.exp2(-age / self.half_life)

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the rows' rollouts and the count."""
        return super().state_dict(size) | {"rollouts": self._rollouts}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore the rows' rollouts and the count."""
        super().load_state_dict(state, size, unroll)
        self._rollouts = state["rollouts"]


class LossPrioritised(Weighted):
    """The probability of a row is proportional to a power of the loss that it had when it was last drawn.

    A new row has the largest loss recorded so far, so that it is drawn soon. Reference: Schaul, Quan, Antonoglou
    and Silver, "Prioritized experience replay", ICLR 2016, proportional variant, without importance weights: the
    gradient is meant to favour what the student gets wrong.
    """

    takes = ("priority_exponent",)
    reads_losses = True
    note_dtype = torch.float32
    _SMALLEST = 1e-8

    def __init__(self, max_rows: int, device: torch.device, options: Any) -> None:
        """Begin with no loss recorded."""
        super().__init__(max_rows, device, options)
        exponent = options.priority_exponent
        self.exponent = DEFAULT_PRIORITY_EXPONENT if exponent is None else exponent
        self._largest = torch.zeros((), device=device)

    @classmethod
    def check(cls, options: Any) -> None:
        """Check that the exponent is not negative."""
        if options.priority_exponent is not None and options.priority_exponent < 0:
            raise ValueError(f"priority_exponent must be at least 0, got {options.priority_exponent}")

    def added(self, slots: Index) -> None:
        """Give new rows the largest loss recorded so far; before the first, give all the same."""
        self.notes[slots] = torch.where(self._largest > 0.0, self._largest, 1.0)

    def record_loss(self, slots: torch.Tensor, losses: torch.Tensor) -> None:
        """Record the losses."""
        losses = losses.to(self.device, torch.float32).clamp_(min=self._SMALLEST)
        self.notes[slots] = losses
        torch.maximum(self._largest, losses.max(), out=self._largest)

    def weights(self, size: int) -> torch.Tensor:
        """Return loss ** exponent."""
        return self.notes[:size].double() ** self.exponent

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the rows' losses and the largest."""
        return super().state_dict(size) | {"largest": self._largest.to("cpu", copy=True)}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore the rows' losses and the largest."""
        super().load_state_dict(state, size, unroll)
        self._largest.copy_(state["largest"])


SAMPLERS = Registry(
    "sampling",
    Sampler,
    {"passes": WithoutReplacement, "uniform": Uniform, "recency": Recency, "loss": LossPrioritised},
)
