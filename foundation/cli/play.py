"""Fly a policy: save a picture of the flight, watch it live in a browser, or save a recording or a video.

Without --viewer and --video the flight is drawn as one picture (PNG).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli.errors import UsageError, errors_as_one_line
from foundation.cli.flags import add_server_flags, check_device, flight_parser, parse, server_address
from foundation.cli.flown import flown_environment, print_vehicle
from foundation.cli.paths import beside, find_checkpoint, newest_or_packaged, require_writable
from foundation.tasks.packaged import WITH_STUDENT

if TYPE_CHECKING:
    from foundation.evaluation.policies import Policy

EPILOG = """
examples:
  foundation play --viewer viser                 watch live: open the printed address, Ctrl-C ends it
  foundation play --viewer html                  one interactive HTML file, to open or to send
  foundation play --video                        an mp4; needs neither GPU nor display
Without --checkpoint they fly your newest run or, before your first one, the packaged teacher.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = flight_parser("play", __doc__, EPILOG, num_envs=8)
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
    add_server_flags(parser, "--viewer viser")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args, overrides = parse(build_parser(), argv)
    with errors_as_one_line():
        for path in play(args, overrides):
            print(f"[Play] wrote {path}")


@dataclass(frozen=True)
class _Plan:
    """The checked flags."""

    args: argparse.Namespace
    env_cfg: Any
    checkpoint: Path
    address: tuple[str, int] | None
    """Host and port of the live view."""
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
    """Fly the policy and return the paths of the written files."""
    plan = _plan(args, overrides)
    if plan.address is not None:
        _watch(plan, plan.address)
        return []
    return _record(plan)


def _plan(args: argparse.Namespace, overrides: list[str]) -> _Plan:
    from foundation.tasks import load_task, resolve

    task = load_task(args.task)
    check_device(args.device)
    live = args.viewer == "viser"
    checkpoint = _checkpoint(args, resolve(task.agent_cfg)().experiment_name)
    env_cfg = flown_environment(
        task, {"policy": checkpoint}, overrides, {"env.num_envs": args.num_envs}, is_live=live
    )
    _check_flags(args, live, env_cfg.max_episode_length)
    address = server_address(args, "--viewer viser" if live else None)
    draws_picture = args.viewer is None and args.video is None
    return _Plan(
        args,
        env_cfg,
        checkpoint,
        address,
        picture=_output("--output", args.output, checkpoint, ".png") if draws_picture else None,
        page=_output("--output", args.output, checkpoint, ".html") if args.viewer == "html" else None,
        video=None if args.video is None else _output("--video", args.video, checkpoint, ".mp4"),
    )


def _check_flags(args: argparse.Namespace, live: bool, episode_steps: int) -> None:
    from foundation.viewer.server import require

    if live and args.video is not None:
        raise UsageError("--video has no effect with --viewer viser; give one of them")
    if args.output is not None and live:
        raise UsageError(f"--output {args.output} has no effect with --viewer viser, which writes nothing")
    if args.output is not None and args.video is not None and args.viewer is None:
        raise UsageError(f"--output {args.output} has no effect with --video; name the file there")
    if args.teacher is not None and not live:
        raise UsageError(f"--teacher {args.teacher} has no effect without --viewer viser")
    if args.steps is not None and args.steps < 1:
        raise UsageError(f"--steps must be at least 1, got {args.steps}")
    if args.steps is not None and args.steps > episode_steps and not live:
        raise UsageError(f"--steps must lie in 1 ... {episode_steps} (env.episode_steps), got {args.steps}")
    if args.viewer == "html":
        require("viser", "--viewer html")
    if args.video is not None:
        require("imageio_ffmpeg", "--video")


def _checkpoint(args: argparse.Namespace, experiment: str) -> Path:
    if args.checkpoint is not None or args.load_run is not None:
        return find_checkpoint(args.checkpoint, args.load_run, experiment)
    return newest_or_packaged(args.task, experiment if args.task in WITH_STUDENT else None, "Play")


def _output(flag: str, given: str | None, checkpoint: Path, suffix: str) -> Path:
    from foundation.tasks import is_packaged

    if not given:
        name = f"flight{suffix}" if is_packaged(checkpoint) else f"plots/{checkpoint.stem}{suffix}"
        return beside(checkpoint, name)
    path = Path(given)
    if "=" in given:
        raise UsageError(f"{flag} {given} is a setting; put settings before {flag}, or name a file")
    if path.suffix != suffix:
        raise UsageError(f"{flag} {path} must end in {suffix}")
    if path.parent.is_dir():
        require_writable(flag, path)
    return path


def _record(plan: _Plan) -> list[Path]:
    """Fly once and write the picture, or the recording and the video."""
    from foundation.evaluation.recording import record

    args, cfg = plan.args, plan.env_cfg
    env = plan.make_env(args.seed)
    print_vehicle(env, "Play")
    policy = plan.load(plan.checkpoint, env)
    title = f"{policy.role}, {args.num_envs} vehicles of family {cfg.randomization.family}"
    vehicle = env.sim.vehicle.cpu().numpy().copy()
    flight = record(env, policy, cfg.max_episode_length if args.steps is None else args.steps)
    if plan.picture is not None:
        from foundation.evaluation.plots import plot_flight

        plot_flight(flight, plan.picture, title, cfg.metrics.settle_radius)
        return [plan.picture]
    from foundation.viewer.fleet import Fleet

    fleet = Fleet(env.sim.params, env.nominal, env.num_envs, flight.target_w)
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
        print_vehicle(env, "Play")
        policies = _policies(plan, env)
        flight = Flight(env, next(iter(policies.values())), args.steps)
        sources = Sources(
            lambda family, seed: _as_viewer_error(plan.make_env, seed, family),
            lambda path: _as_viewer_error(lambda: plan.load(find_checkpoint(path, None, None), flight.env)),
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
    """Return the policies in the menu by name; the first one flies."""
    from foundation.tasks import is_packaged, packaged_teacher
    from foundation.viewer.controls import name_of

    checkpoints: list[tuple[Path, str | None]] = [(plan.checkpoint, None)]
    if plan.args.teacher is not None:
        checkpoints.append((find_checkpoint(plan.args.teacher, None, None), "teacher"))
    checkpoints.append((packaged_teacher(), None))
    policies: dict[str, Policy] = {}
    for path, role in checkpoints:
        policy = plan.load(path, env, role)
        policies.setdefault(name_of(policy, is_packaged(path)), policy)
    return policies


def _as_viewer_error(do: Any, *args: Any) -> Any:
    """Call, and turn errors of bad input into one that the page shows while the flight goes on."""
    from foundation.distill.checkpoint import CheckpointError
    from foundation.tasks.saved_params import ConfigError
    from foundation.viewer.errors import ViewerError

    try:
        return do(*args)
    except (UsageError, ConfigError, CheckpointError, OSError) as error:
        raise ViewerError(str(error)) from error
