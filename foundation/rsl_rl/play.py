"""Fly a policy: save a picture of the flight, watch it live in a browser, or save a recording or a video.

Without --viewer and --video the flight is drawn as one picture (PNG).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.rsl_rl import cli

if TYPE_CHECKING:
    from foundation.evaluation.policies import Policy

EPILOG = """\
Settings of the environment follow the flags in Hydra's grammar: env.randomization.family=none

examples:
  foundation play --viewer viser                 watch live: open the printed address, Ctrl-C ends it
  foundation play --viewer html                  one interactive HTML file, to open or to send
  foundation play --video                        an mp4; needs neither GPU nor display
Without --checkpoint they fly your newest run or, before your first one, the packaged teacher.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = cli.flight_parser("play", __doc__, num_envs=8)
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EPILOG
    parser.add_argument(
        "--checkpoint", help="a checkpoint or run folder, of a teacher or a student, distilled or fine-tuned"
    )
    parser.add_argument("--load_run", help="name of the run's folder (default: the newest)")
    parser.add_argument(
        "--viewer",
        choices=("viser", "html"),
        help="viser: live in a browser, with controls, until Ctrl-C or --steps; html: an interactive recording",
    )
    parser.add_argument(
        "--video",
        nargs="?",
        const="",
        metavar="FILE.mp4",
        help="write a video (default: plots/<checkpoint>.mp4 in the run's folder)",
    )
    parser.add_argument(
        "--output",
        help="picture, or HTML file with --viewer html, to write (default: plots/<checkpoint>.png or .html in the "
        "run's folder)",
    )
    parser.add_argument("--teacher", help="with --viewer viser: another teacher to offer beside the packaged one")
    cli.add_server_flags(parser, "--viewer viser")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args, overrides = cli.parse(build_parser(), argv)
    with cli.errors_as_one_line():
        for path in play(args, overrides):
            print(f"[Play] wrote {path}")


@dataclass(frozen=True)
class _Plan:
    """What the flags ask for, checked."""

    args: argparse.Namespace
    env_cfg: Any
    checkpoint: Path
    address: tuple[str, int] | None
    """Where the live view listens."""
    picture: Path | None
    page: Path | None
    video: Path | None

    def load(self, checkpoint: Path, env: Any, role: str | None = None) -> Policy:
        from foundation.evaluation.policies import load_policy

        return load_policy(checkpoint, env.get_observations(), env.num_actions, self.args.device, role)

    def make_env(self, seed: int, family: str | None = None) -> Any:
        from foundation.tasks import create_env

        cfg = self.env_cfg
        if family is not None:
            cfg = replace(cfg, randomization=replace(cfg.randomization, family=family))
        return create_env(self.args.task, cfg, self.args.device, seed)


def play(args: argparse.Namespace, overrides: list[str]) -> list[Path]:
    """Fly the policy and return the paths of what was written."""
    plan = _plan(args, overrides)
    if plan.address is not None:
        _watch(plan, plan.address)
        return []
    env = plan.make_env(args.seed)
    policy = plan.load(plan.checkpoint, env)
    return _record(plan, env, policy)


def _plan(args: argparse.Namespace, overrides: list[str]) -> _Plan:
    from foundation.tasks import load_task
    from foundation.tasks.config import compose

    task = load_task(args.task)
    cli.check_device(args.device)
    env_cfg, agent_cfg = compose(task, overrides, groups=("env",), flags={"env.num_envs": args.num_envs})
    live = args.viewer == "viser"
    _check_flags(args, live, env_cfg.episode_steps)
    address = cli.server_address(args, "--viewer viser" if live else None)
    checkpoint = _checkpoint(args, agent_cfg.experiment_name)
    draws_picture = args.viewer is None and args.video is None
    return _Plan(
        args,
        env_cfg,
        checkpoint,
        address,
        picture=_file("--output", args.output, checkpoint, ".png") if draws_picture else None,
        page=_file("--output", args.output, checkpoint, ".html") if args.viewer == "html" else None,
        video=None if args.video is None else _file("--video", args.video, checkpoint, ".mp4"),
    )


def _check_flags(args: argparse.Namespace, live: bool, episode_steps: int) -> None:
    from foundation.viewer.server import require

    if live and args.video is not None:
        raise cli.UsageError("--video has no effect with --viewer viser; give one of them")
    if args.output is not None and live:
        raise cli.UsageError(f"--output {args.output} has no effect with --viewer viser, which writes nothing")
    if args.output is not None and args.video is not None and args.viewer is None:
        raise cli.UsageError(f"--output {args.output} has no effect with --video; name the file there")
    if args.teacher is not None and not live:
        raise cli.UsageError(f"--teacher {args.teacher} has no effect without --viewer viser")
    if args.steps is not None and args.steps < 1:
        raise cli.UsageError(f"--steps must be at least 1, got {args.steps}")
    if args.steps is not None and args.steps > episode_steps and not live:
        raise cli.UsageError(f"--steps must lie in 1 ... {episode_steps} (env.episode_steps), got {args.steps}")
    if args.viewer == "html":
        require("viser", "--viewer html")
    if args.video is not None:
        require("imageio_ffmpeg", "--video")


def _checkpoint(args: argparse.Namespace, experiment: str) -> Path:
    named = args.checkpoint is not None or args.load_run is not None
    has_runs = any((cli.LOG_ROOT / experiment).glob("*/*.pt"))
    if named or has_runs or (args.viewer is None and args.video is None):
        return cli.find_checkpoint(args.checkpoint, args.load_run, experiment)
    print(
        f"[Play] there are no runs under {cli.LOG_ROOT / experiment} yet; the packaged teacher flies", flush=True
    )
    return cli.packaged_teacher()


def _file(flag: str, given: str | None, checkpoint: Path, suffix: str) -> Path:
    if not given:
        # Of the packaged teacher it goes here, not into the installed package.
        if cli.is_packaged(checkpoint):
            return Path(f"flight{suffix}")
        return checkpoint.parent / "plots" / f"{checkpoint.stem}{suffix}"
    path = Path(given)
    if "=" in given:
        raise cli.UsageError(f"{flag} {given} is a setting; put settings before {flag}, or name a file")
    if path.suffix != suffix:
        raise cli.UsageError(f"{flag} {path} must end in {suffix}")
    if path.parent.is_dir():
        cli.require_writable(flag, path)
    return path


def _record(plan: _Plan, env: Any, policy: Policy) -> list[Path]:
    """Fly once and write the picture, or the recording and the video."""
    from foundation.evaluation.recording import record

    args, cfg = plan.args, plan.env_cfg
    title = f"{policy.role}, {args.num_envs} vehicles of family {cfg.randomization.family}"
    vehicle = env.sim.vehicle.cpu().numpy().copy()
    flight = record(env, policy, cfg.episode_steps if args.steps is None else args.steps)
    if plan.picture is not None:
        from foundation.evaluation.plots import plot_flight

        plot_flight(flight, plan.picture, title, cfg.metrics.settle_radius)
        return [plan.picture]
    from foundation.viewer.fleet import Fleet

    fleet = Fleet(env.sim.params, env.nominal, env.num_envs)
    if plan.page is not None:
        from foundation.viewer.page import write_page

        write_page(plan.page, flight, vehicle, fleet, policy.role, title)
    if plan.video is not None:
        from foundation.viewer.video import write_video

        write_video(plan.video, flight, vehicle, fleet, policy.role, title)
    return [path for path in (plan.page, plan.video) if path is not None]


def _watch(plan: _Plan, where: tuple[str, int]) -> None:
    """Serve the live view until it is interrupted or --steps have been flown."""
    from foundation.viewer.flight import Flight
    from foundation.viewer.live import LiveView, Sources, stopped_by_signals
    from foundation.viewer.server import address, is_private, serving

    with stopped_by_signals() as stop:
        args = plan.args
        env = plan.make_env(args.seed)
        policies = _policies(plan, env)
        flight = Flight(env, next(iter(policies.values())), args.steps)
        sources = Sources(
            lambda family, seed: _refused_by_viewer(plan.make_env, seed, family),
            lambda path: _refused_by_viewer(lambda: plan.load(cli.find_checkpoint(path, None, None), flight.env)),
            plan.env_cfg.randomization.family,
            args.seed,
        )
        with serving(*where, "Flight") as server:
            view = LiveView(server, flight, policies, sources)
            print(f"[Play] open {address(where[0], server.get_port())} in a browser; Ctrl-C ends it", flush=True)
            if not is_private(where[0]):
                print(
                    "[Play] everyone who reaches this machine can steer it and have checkpoints loaded", flush=True
                )
            view.run(stop)
    print(f"[Play] ended after {flight.steps} steps, {flight.steps * flight.dt:.2f} s of flight", flush=True)


def _policies(plan: _Plan, env: Any) -> dict[str, Policy]:
    """Return the policies on offer by name; the first one flies."""
    from foundation.viewer.controls import name_of

    wanted: list[tuple[Path, str | None]] = [(plan.checkpoint, None)]
    if plan.args.teacher is not None:
        wanted.append((cli.find_checkpoint(plan.args.teacher, None, None), "teacher"))
    wanted.append((cli.packaged_teacher(), None))
    offered: dict[str, Policy] = {}
    for path, role in wanted:
        policy = plan.load(path, env, role)
        offered.setdefault(name_of(policy, cli.is_packaged(path)), policy)
    return offered


def _refused_by_viewer(do: Any, *args: Any) -> Any:
    """Call, and let the viewer show what is wrong instead of ending the flight."""
    from foundation.distill.checkpoint import CheckpointError
    from foundation.tasks.config import ConfigError
    from foundation.viewer.errors import ViewerError

    try:
        return do(*args)
    except (cli.UsageError, ConfigError, CheckpointError, OSError) as error:
        raise ViewerError(str(error)) from error


if __name__ == "__main__":
    main(sys.argv[1:])
