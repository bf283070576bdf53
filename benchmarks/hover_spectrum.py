"""The spectrum of a hovering student's rotor commands: does a line stand out of the noise, as a limit cycle would?

Vehicles of family ``cf2x`` hover with the packaged sensor noise. Each rotor's commands have a periodogram of their
own, because a limit cycle has another frequency on every vehicle. Over the local noise floor, the ordinates of
noise with a smooth spectrum are exponentially distributed (Priestley, Spectral Analysis and Time Series, 1981,
section 6.1), so the largest of K exceeds ln(K / p) with probability p. Checked first, on made-up commands: noise
of a smooth spectrum exceeds the bound hardly ever, and with a sine of a thousandth of full speed almost always.
Without sensor noise the commands of a vehicle that has come to rest do not change: that is measured, too.

Run: python benchmarks/hover_spectrum.py --student RUN [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from setups import EXACT

import foundation
from foundation.evaluation import load_policy
from foundation.evaluation.recording import reset_policy

DT, SETTLING, SAMPLES = 0.01, 1000, 4096
"""Control step [s], steps before the record, and its length."""
NEIGHBOURS = 40
"""Ordinates on either side of one from which its noise floor is taken."""
SMOOTHING = 5
"""The same for the common shape, the median over all rotors: a line that they share is narrower than this."""
FALSE_ALARM = 0.001
"""Probability that noise alone exceeds the bound in one spectrum."""


@torch.inference_mode()
def hover(checkpoint: Path, num_envs: int, overrides: list[str]) -> np.ndarray:
    """Return the rotor commands of hovering vehicles as a share of full speed, shape (T, N * 4)."""
    overrides = [*overrides, "env.init.origin_probability=1", f"env.episode_steps={SETTLING + SAMPLES + 1}"]
    env = foundation.make_env("distillation", num_envs, seed=0, overrides=overrides)
    obs = env.get_observations()
    policy = load_policy(checkpoint, obs, 4, "cpu")
    reset_policy(policy, torch.ones(num_envs, dtype=torch.bool))
    commands = []
    for _ in range(SETTLING + SAMPLES):
        actions = policy(obs).clone()
        obs, _, done, _ = env.step(actions)
        assert not done.any(), "a hovering vehicle was lost"
        commands.append(((actions + 1.0) / 2.0).clamp(0.0, 1.0).flatten())
    return torch.stack(commands[SETTLING:]).double().numpy()


def spectra(commands: np.ndarray) -> np.ndarray:
    """Return power spectral densities per column [1/Hz], shape (T / 2 - 1, C): no mean, no Nyquist frequency."""
    power = np.abs(np.fft.rfft(commands - commands.mean(0), axis=0)) ** 2
    return 2.0 * DT / len(commands) * power[1:-1]


def highest_line(densities: np.ndarray) -> np.ndarray:
    """Return the largest ordinate of every column over its noise floor, shape (C,).

    The floor is the median of the ordinates around it, over that of the exponential distribution, ln 2. The shape
    that the spectra have in common is divided out first, because a median is too low where they rise steeply.
    """
    densities = densities[SMOOTHING:-SMOOTHING] / running_median(np.median(densities, axis=1), SMOOTHING)[:, None]
    floor = running_median(densities, NEIGHBOURS) / math.log(2.0)
    return (densities[NEIGHBOURS:-NEIGHBOURS] / floor).max(0)


def running_median(values: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the medians of every value and its neighbours on either side, along the first axis."""
    around = np.lib.stride_tricks.sliding_window_view(values, 2 * neighbours + 1, axis=0)
    return np.median(around, axis=-1)


def bound() -> float:
    ordinates = SAMPLES // 2 - 1 - 2 * (NEIGHBOURS + SMOOTHING)
    return math.log(ordinates / FALSE_ALARM)


def share_with_a_line(commands: np.ndarray) -> float:
    return float((highest_line(spectra(commands)) > bound()).mean())


def check_the_test() -> float:
    """Compare what it finds in noise of a smooth spectrum with and without a sine; return the share without."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.003, (SAMPLES, 1024))
    for t in range(1, SAMPLES):
        noise[t] += 0.9 * noise[t - 1]
    sine = 0.001 * np.sin(2.0 * np.pi * 8.03 * DT * np.arange(SAMPLES))[:, None]
    false_alarms = share_with_a_line(noise)
    assert false_alarms < 0.02, false_alarms
    assert share_with_a_line(noise + sine) > 0.9, share_with_a_line(noise + sine)
    return false_alarms


def measure(checkpoint: Path, num_envs: int) -> tuple[dict[str, float], np.ndarray]:
    """Return the figures, and the mean spectrum over all rotors [1/Hz]."""
    noisy, exact = hover(checkpoint, num_envs, []), hover(checkpoint, num_envs, EXACT)
    densities = spectra(noisy)
    lines = highest_line(densities)
    figures = {
        "rotors": noisy.shape[1],
        "seconds": SAMPLES * DT,
        "bound": bound(),
        "false_alarm": FALSE_ALARM,
        "share_with_a_line": float((lines > bound()).mean()),
        "highest_line": float(lines.max()),
        "command_std": float(noisy.std(0).mean()),
        "rotor_command_rate": float(np.abs(np.diff(noisy, axis=0)).mean()),
        "rotor_command_rate_without_noise": float(np.abs(np.diff(exact[-100:], axis=0)).mean()),
        "share_at_rest_without_noise": float((np.ptp(exact[-100:], axis=0) < 1e-3).mean()),
    }
    return figures, densities.mean(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", type=Path, required=True, help="checkpoint of a student")
    parser.add_argument("--num_envs", type=int, default=256)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--plot", type=Path, help="file to draw the mean spectrum into")
    args = parser.parse_args()
    false_alarms = check_the_test()
    figures, mean = measure(args.student, args.num_envs)
    figures["share_with_a_line_in_smooth_noise"] = false_alarms
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    if args.plot:
        draw(mean, args.plot)


def draw(mean: np.ndarray, path: Path) -> None:
    import matplotlib.pyplot as plt

    hertz = np.arange(1, len(mean) + 1) / (SAMPLES * DT)
    figure, axes = plt.subplots(figsize=(7.0, 3.2), layout="constrained")
    axes.loglog(hertz, mean)
    axes.set(xlabel="frequency [Hz]", ylabel="rotor command [1/Hz]", title="Hovering student, mean of all rotors")
    axes.grid(True, which="both", alpha=0.3)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
