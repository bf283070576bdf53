"""Draw the figures of DAGGER_IMPLEMENTATION.md from the classes that they explain.

Run: python docs/figures/draw.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Patch, Rectangle
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer

HERE = Path(__file__).parent
# Okabe and Ito's palette, made for colour-blind readers.
BLUE, ORANGE, GREEN, GREY, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#BBBBBB", "#56B4E9", "#D55E00"


def draw_layout() -> None:
    """Windows of four steps with a burn-in of two, cut from rollouts of ten steps."""
    steps, length, burn_in, envs = 10, 4, 2, 3
    dones = {(0, 5), (1, 1), (1, 8), (2, 3)}
    figure, axes = plt.subplots(figsize=(9, 3.9), layout="constrained")
    for env in range(envs):
        y = envs - 1 - env
        for step in range(-burn_in, 12):
            window = max(step, 0) // length
            face = (GREY if step < 0 else "white") if not 0 <= step < steps else (BLUE, ORANGE, GREEN)[window]
            axes.add_patch(
                Rectangle(
                    (step, y),
                    1,
                    0.72,
                    facecolor=face,
                    edgecolor="black",
                    lw=0.6,
                    hatch="///" if step >= 10 else "",
                )
            )
            if (env, step) in dones:
                axes.plot([step + 1, step + 1], [y - 0.08, y + 0.8], color=RED, lw=3)
        for start in range(0, steps, length):
            axes.plot(start - burn_in + 0.02, y + 0.86, marker="v", color="black", ms=7, clip_on=False)
        axes.text(-burn_in - 0.2, y + 0.36, f"environment {env}", ha="right", va="center")
    for window, colour in enumerate((BLUE, ORANGE, GREEN)):
        start = window * length
        y = -0.42 - 0.24 * window
        axes.plot([start - burn_in, start], [y, y], color=colour, lw=6, alpha=0.35, solid_capstyle="butt")
        axes.plot([start, start + length], [y, y], color=colour, lw=6, solid_capstyle="butt")
        axes.text(start + length + 0.15, y, f"row {window}", va="center", fontsize=9)
    axes.set(xlim=(-4.6, 13.6), ylim=(-1.15, envs + 0.15), yticks=[])
    axes.set_xticks(np.arange(0, 10) + 0.5, [str(step) for step in range(10)])
    axes.set_xlabel("step of the rollout")
    axes.spines[["left", "right", "top"]].set_visible(False)
    handles = [
        Patch(facecolor=BLUE, edgecolor="black", label="trained in the first, second and third window"),
        Patch(facecolor=GREY, edgecolor="black", label="end of the rollout before: burn-in only"),
        Patch(facecolor="white", edgecolor="black", hatch="///", label="padding: counts for nothing"),
        plt.Line2D([], [], color=RED, lw=3, label="episode ends: hidden state starts anew"),
        plt.Line2D([], [], color="black", marker="v", ls="", label="hidden state recorded"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(HERE / "layout.png", dpi=130)
    plt.close(figure)


def draw_sampling() -> None:
    """How often rows of twenty rollouts are drawn in one pass' worth of mini-batches."""
    rollouts, rows, draws = 20, 50, 400
    kinds = {
        "passes": {},
        "uniform": {},
        "recency": {"recency_half_life": 5.0},
        "loss": {"priority_exponent": 0.6},
    }
    losses = torch.rand(rollouts * rows, generator=torch.Generator().manual_seed(1)) ** 3
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), sharey=True, layout="constrained")
    for axis, (kind, options) in zip(axes, kinds.items(), strict=True):
        torch.manual_seed(0)
        buffer = history(rollouts * rows, sampling=kind, **options)
        for number in range(rollouts):
            buffer.append(numbered(number * rows, rows))
        buffer.record_loss(TensorDict({"slot": torch.arange(len(losses))}, batch_size=[len(losses)]), losses)
        count = torch.zeros(rollouts * rows)
        for batch in buffer.mini_batches(100, draws):
            count += torch.bincount(batch["id"], minlength=len(count))
        visits = count / (draws * 100 / len(count))
        x = losses if kind == "loss" else torch.arange(len(count)) / rows
        axis.plot(x, visits, ".", ms=3, color=BLUE, alpha=0.6)
        axis.set_title(f"sampling={kind}", fontsize=10)
        axis.set_xlabel("last loss of the row" if kind == "loss" else "rollout (19 is the newest)", fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("draws, mean 1", fontsize=9)
    figure.savefig(HERE / "sampling.png", dpi=130)
    plt.close(figure)


def draw_eviction() -> None:
    """Contents of a history of 1000 rows after 40 rollouts of 100, the first ten driven by the teacher."""
    figure, axes = plt.subplots(3, 1, figsize=(9, 4.2), sharex=True, layout="constrained")
    for axis, kind in zip(axes, ("fifo", "reservoir", "balanced"), strict=True):
        torch.manual_seed(0)
        buffer = history(1000, eviction=kind)
        for number in range(40):
            buffer.append(numbered(number * 100, 100, phase=1 if number < 10 else 2))
        kept = torch.bincount(buffer[:]["id"] // 100, minlength=40)
        colours = [ORANGE] * 10 + [BLUE] * 30
        axis.bar(range(40), kept, color=colours, width=0.9)
        axis.set(ylim=(0, 105), ylabel="rows kept")
        axis.set_title(f"eviction={kind}", fontsize=10, loc="left")
        axis.grid(axis="y", alpha=0.3)
    axes[-1].set_xlabel("rollout that the rows came with (100 rows each, 1000 fit)")
    handles = [
        Patch(color=ORANGE, label="teacher drove (phase 1)"),
        Patch(color=BLUE, label="student drove (phase 2)"),
    ]
    axes[0].legend(handles=handles, loc="upper left", fontsize=9, frameon=False)
    figure.savefig(HERE / "eviction.png", dpi=130)
    plt.close(figure)


def history(size: int, **options) -> AggregatedBuffer:
    return AggregatedBuffer(numbered(0, 1), size, "cpu", **options)


def numbered(start: int, count: int, phase: int = 2) -> TensorDict:
    fields = {"id": torch.arange(start, start + count), "phase": torch.full((count,), phase, dtype=torch.uint8)}
    return TensorDict(fields, batch_size=[count])


if __name__ == "__main__":
    draw_layout()
    draw_sampling()
    draw_eviction()
