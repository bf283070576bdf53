"""Train a teacher (task point_ctrl), distil a student from one (task distillation), or fine-tune the student.

A student is fine-tuned by PPO on task point_ctrl, with --init_from.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import shlex
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli.errors import RUN_FAILED, errors_as_one_line
from foundation.cli.flags import add_common_flags, add_server_flags, command_parser, parse, server_address
from foundation.cli.prepare import LONGEST_DEFAULT_WARMUP, prepare_run
from foundation.cli.processes import COMMAND, leave, only_first_prints

if TYPE_CHECKING:
    from foundation.distill.runners.progress import Display

EPILOG = """\
Settings of the environment and the agent follow the flags in Hydra's grammar, for example
  env.robot.spawn.usd_path="/path/to/cf2x.usd" agent.algorithm.phase1_iterations=100
Flags take precedence over settings, settings over --params, --params over defaults.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("train", __doc__, EPILOG)
    add_common_flags(parser)
    parser.add_argument("--max_iterations", type=int, help="iterations; a continued run adds as many again")
    parser.add_argument("--experiment_name", help="folder of the run under logs/rsl_rl")
    parser.add_argument("--run_name", help="suffix of the run's folder")
    parser.add_argument(
        "--checkpoint",
        help="a teacher's checkpoint, run folder or exported policy to distil from, or a checkpoint or run folder "
        "of the same task to continue",
    )
    parser.add_argument(
        "--teacher",
        help="a teacher's checkpoint, run folder or exported policy (TorchScript, ONNX) to distil from, or "
        "expert, which is computed for every vehicle and needs no checkpoint; without any, the packaged one",
    )
    parser.add_argument(
        "--init_from",
        help="a student's checkpoint or run folder to fine-tune with PPO on task point_ctrl: the actor takes its "
        "network, weights and observations; the first agent.critic_warmup_iterations, by default a tenth of the "
        f"run and at most {LONGEST_DEFAULT_WARMUP}, train the critic only; agent.init_noise_std sets the actor's "
        "noise",
    )
    parser.add_argument(
        "--init_dataset",
        help="folder of a dataset (Minari or LeRobot) that a new run's history begins with: one of foundation "
        "dataset export, or demonstrations whose actions are the labels",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue this experiment's newest run, or the one of --load_run, from its newest intact checkpoint",
    )
    parser.add_argument("--load_run", help="with --resume: name of the run's folder (default: the newest)")
    parser.add_argument("--logger", choices=("tensorboard", "wandb"), help="where metrics go")
    parser.add_argument("--log_project_name", help="project of the W&B logger")
    parser.add_argument(
        "--quiet", action="store_true", help="print only warnings and the result, not the iterations"
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="train one student in all processes that torchrun has started, each with its own environments: "
        "torchrun --nproc_per_node 2 -m foundation.rsl_rl.train --task distillation --distributed",
    )
    parser.add_argument("--params", help="a run's folder, to repeat it with its saved params/*.yaml")
    parser.add_argument(
        "--dashboard", action="store_true", help="watch the run in a browser: the fleet in flight, and curves"
    )
    add_server_flags(parser, "--dashboard")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input, 1 on NaN or infinity, 130 on Ctrl-C and 143 on SIGTERM.
    """
    # Parse before the heavy imports, so that --help is fast.
    args, overrides = parse(build_parser(), argv)
    from foundation.distill.log import RESULT, logger, quiet

    with only_first_prints(), quiet() if args.quiet else contextlib.nullcontext():
        with errors_as_one_line():
            where = server_address(args, "--dashboard" if args.dashboard else None)
            runner, run_dir, iterations = prepare_run(args, overrides)
        print(f"[Run] {run_dir}", flush=True)
        if runner.cfg["logger"] == "tensorboard":
            print(f"[Run] watch it: tensorboard --logdir {run_dir.parent}", flush=True)
        with contextlib.ExitStack() as stack:
            with errors_as_one_line():
                runner.logger.display = stack.enter_context(_display(runner, where, run_dir))
            _run(args, runner, iterations)
        logger.log(RESULT, f"[Run] {_result(runner)}")
        logger.log(RESULT, f"[Run] finished: {run_dir}")
        leave()


def _run(args: argparse.Namespace, runner: Any, iterations: int) -> None:
    from foundation.distill.algorithm.nan_report import NonFiniteError
    from foundation.distill.log import logger
    from foundation.distill.ranks import LostRankError

    try:
        with contextlib.closing(runner.logger.display):
            runner.learn(iterations, init_at_random_ep_len=True)
    except KeyboardInterrupt as stop:
        logger.warning(f"\n[Run] {_how_to_continue(args, runner, iterations)}")
        raise SystemExit(128 + getattr(stop, "signum", signal.SIGINT)) from None
    except (NonFiniteError, LostRankError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(RUN_FAILED) from None


def _display(
    runner: Any, where: tuple[str, int] | None, run_dir: Path
) -> contextlib.AbstractContextManager[Display]:
    """Return the display of the iterations: on the terminal and, with --dashboard, on a page."""
    from foundation.distill.runners.progress import Blocks, ProgressLine

    display = ProgressLine() if sys.stdout.isatty() else Blocks()
    if where is None:
        return contextlib.nullcontext(display)
    from foundation.viewer.dashboard import watched

    distils = hasattr(runner.alg, "student")
    trained = "student" if distils or runner.cfg.get("init_from") else "teacher"
    return watched(display, runner.env, where, f"{run_dir.parent.name}/{run_dir.name}", trained)


def _result(runner: Any) -> str:
    rewards, best = runner.logger.rewbuffer, runner.best_mean_reward
    last = f"mean return {statistics.mean(rewards):.2f}" if rewards else "no episode ended"
    return last + (f", best {best:.2f} (best_model.pt)" if math.isfinite(best) else "")


def _how_to_continue(args: argparse.Namespace, runner: Any, iterations: int) -> str:
    if runner.last_checkpoint is None:
        return "interrupted, no checkpoint was saved"
    done = runner.last_saved_iteration + 1 - runner.first_iteration
    launcher = ["foundation", "train"]
    if args.distributed:
        launcher = [*COMMAND, str(runner.gpu_world_size), "-m", "foundation.rsl_rl.train", "--distributed"]
    command = [*launcher, "--task", args.task, "--checkpoint", str(runner.last_checkpoint)]
    command += ["--max_iterations", str(max(iterations - done, 1))]
    command += [] if args.device == "cpu" else ["--device", args.device]
    lost = runner.last_completed_iteration - runner.last_saved_iteration
    state = f"interrupted, {lost} iterations are not saved, last checkpoint" if lost else "interrupted, checkpoint"
    return f"{state} saved: {runner.last_checkpoint}; continue with: {shlex.join(command)}"
