"""Target 4: appending to and drawing from the history against TorchRL's replay buffer, and against a plain copy.

A million transitions of task ``distillation``, flat and as windows of 15 steps with a GRU's hidden state; a round
is one rollout of 10 000 transitions appended and 25 mini-batches of 2048 transitions drawn. TorchRL:
``ReplayBuffer`` on ``LazyTensorStorage``, without replacement, a window being one item, which is the faster of its
ways. Checked first: what was appended comes back from both.

Run: python benchmarks/buffer.py
"""

from __future__ import annotations

import argparse
import os

import torch
from report import Target, in_turn, medians, record
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer

TRANSITIONS, ROLLOUT, BATCH, DRAWS = 1_000_000, 10_000, 2048, 25
WINDOW = 15


def rows(kind: str, transitions: int) -> TensorDict:
    """Return random rows with the fields that the algorithm stores."""
    shape = [transitions] if kind == "transitions" else [transitions // WINDOW, WINDOW]
    fields = {
        "obs/student": torch.randn(*shape, 22),
        "teacher_actions": torch.randn(*shape, 4),
        "student_actions": torch.randn(*shape, 4),
        "dones": torch.rand(*shape) < 0.002,
        "phase": torch.ones(*shape, dtype=torch.uint8),
    }
    if kind == "windows":
        fields["trained"] = torch.ones(*shape, dtype=torch.bool)
        fields["hidden/0"] = torch.randn(shape[0], 1, 32)
    return TensorDict(fields, batch_size=shape[:1])


def theirs(size: int, batch: int):
    from torchrl.data import LazyTensorStorage, ReplayBuffer
    from torchrl.data.replay_buffers.samplers import SamplerWithoutReplacement

    return ReplayBuffer(storage=LazyTensorStorage(size), sampler=SamplerWithoutReplacement(), batch_size=batch)


def check(kind: str, rollout: TensorDict) -> None:
    """Assert that a pass over either buffer returns exactly the rows that were appended."""
    ours, other = AggregatedBuffer(rollout[:1], len(rollout), "cpu"), theirs(len(rollout), len(rollout))
    ours.append(rollout)
    other.extend(rollout)
    expected = rollout["obs/student"].flatten(1).sum(1).sort().values
    for drawn in (next(ours.mini_batches(len(rollout), 1)), other.sample()):
        torch.testing.assert_close(drawn["obs/student"].flatten(1).sum(1).sort().values, expected)


def measure(kind: str, cores: int) -> tuple[list[Target], dict]:
    torch.set_num_threads(cores)
    on = "one core" if cores == 1 else f"{cores} cores"
    each = 1 if kind == "transitions" else WINDOW
    size, batch = TRANSITIONS // each, BATCH // each
    rollout = rows(kind, ROLLOUT)
    check(kind, rollout)
    ours, other = AggregatedBuffer(rollout[:1], size, "cpu"), theirs(size, batch)
    while len(ours) < size:
        ours.append(rollout)
        other.extend(rollout)
    place = {name: values.new_zeros(size, *values.shape[1:]) for name, values in ours[:].items()}
    copied = 0

    def copy() -> None:
        nonlocal copied
        start = copied % (size - len(rollout))
        for name, values in rollout.items():
            place[name][start : start + len(rollout)].copy_(values)
        copied += len(rollout)

    def our_round() -> None:
        ours.append(rollout)
        for _ in ours.mini_batches(batch, DRAWS):
            pass

    def their_round() -> None:
        other.extend(rollout)
        for _ in range(DRAWS):
            other.sample()

    for _ in range(2 * size // len(rollout)):
        copy()
    rounds = medians(in_turn({"ours": our_round, "theirs": their_round}, 41))
    appends = medians(in_turn({"append": lambda: ours.append(rollout), "copy": copy}, 201))
    seconds = rounds | appends
    return [
        Target(
            f"4 buffer against TorchRL, {kind}, {on}",
            ">= 3",
            seconds["theirs"] / seconds["ours"],
            f"{seconds['ours'] * 1e3:.1f} ms against {seconds['theirs'] * 1e3:.1f} ms a round",
        ),
        Target(
            f"4 appending against a plain copy, {kind}, {on}",
            "<= 2",
            seconds["append"] / seconds["copy"],
            f"{seconds['append'] * 1e6:.0f} us against {seconds['copy'] * 1e6:.0f} us",
        ),
    ], seconds


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    targets, details = [], {}
    for cores in sorted({1, os.cpu_count() or 1}):
        for kind in ("transitions", "windows"):
            measured, details[f"{kind}, {cores}"] = measure(kind, cores)
            targets += measured
    record("buffer", targets, details)


if __name__ == "__main__":
    main()
