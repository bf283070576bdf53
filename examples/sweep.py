"""A sweep with Optuna: how long should the teacher drive, and how many gradient steps are worth their time?

Every trial trains a student of example 2 and flies it after each third of its iterations; a trial that is worse
than the median of the others at that point is pruned. The study is a file: run the program again, after Ctrl-C or
in a second process, and it goes on where it was.

Run: python examples/sweep.py
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

import optuna
import torch

from foundation.distill import DaggerRunner

own = importlib.import_module("2_your_own_environment")
PARTS = 3
"""Evaluations of a trial."""


def train_and_fly(trial: optuna.Trial, teacher: str, iterations: int) -> float:
    """Return the mean return of a trial's student.

    Raises:
        optuna.TrialPruned: If the trial is worse than most.
    """
    share = trial.suggest_float("share of the run in which the teacher drives", 0.0, 0.5)
    updates = trial.suggest_int("gradient steps per iteration", 5, 100, log=True)
    torch.manual_seed(trial.number)
    phase1 = round(share * iterations)
    options = {"max_updates_per_iteration": updates, "use_two_stage_training": phase1 > 0}
    if phase1:
        options["phase1_iterations"] = phase1
    runner = DaggerRunner(own.PointMass(32), own.student_cfg(teacher, **options))
    for part in range(PARTS):
        runner.learn(iterations * (part + 1) // PARTS - iterations * part // PARTS)
        trial.report(own.mean_return(runner.alg.student), part)
        if trial.should_prune():
            raise optuna.TrialPruned
    return own.mean_return(runner.alg.student)


def main(folder: str = "logs/sweep", iterations: int = 30, trials: int = 20) -> None:
    """Run trials until so many have ended, and print the best."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    teacher = f"{folder}/teacher.pt"
    if not Path(teacher).exists():
        # Moved when it is finished: after Ctrl-C there is no half-trained teacher to go on with.
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            Path(own.train_teacher(unfinished)).replace(teacher)
    backend = optuna.storages.journal.JournalFileBackend(f"{folder}/study.log")
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="phase and updates",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
        load_if_exists=True,
    )
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    # The callback looks only after a trial.
    if len(study.get_trials(states=ended)) < trials:
        study.optimize(
            lambda trial: train_and_fly(trial, teacher, iterations),
            callbacks=[optuna.study.MaxTrialsCallback(trials, states=ended)],
        )
    for name, value in study.best_params.items():
        print(f"best {name} {value:.3g}")
    print(f"return {study.best_value:.2f}")
    print(f"trials {len(study.get_trials(states=ended))}")


if __name__ == "__main__":
    main()
