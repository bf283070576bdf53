"""Flags that several commands share."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

from foundation.cli.errors import UsageError

_OF_ISAAC_SIM = (
    "--experience",
    "--kit_args",
    "--rendering_mode",
    "--xr",
    "--verbose",
    "--info",
    "--viz",
    "--visualizer",
    "--anim_recording_enabled",
    "--anim_recording_start_time",
    "--anim_recording_stop_time",
)
ISAAC_LAB = {
    "--headless": "this command opens no window",
    "--video": "training makes no video; watch it with --dashboard, film the policy with play --video",
    "--video_length": "foundation play --video films one episode; --steps sets its length",
    "--video_interval": "training makes no video; watch it with --dashboard",
    "--agent": "a task has one configuration of its agent; choose the task with --task, settings with agent.NAME=",
    "--livestream": "watch with train --dashboard or play --viewer viser",
    "--enable_cameras": "these tasks have no cameras",
    "--real-time": "foundation play --viewer viser flies in real time",
    "--disable_fabric": "there is no Fabric here",
    "--export_io_descriptors": "docs/DEPLOY.md says what an exported policy reads and returns",
    "--use_pretrained_checkpoint": "the packaged teacher is used where no checkpoint is named",
    "--ray-proc-id": "Ray starts no processes here",
    **dict.fromkeys(_OF_ISAAC_SIM, "there is no Isaac Sim application here"),
}
"""Flags of Isaac Lab's scripts that mean nothing here, and the way out."""


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of the command line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(2, f"error: {message}; --help lists the flags\n")


def command_parser(name: str, description: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of a command; description and epilog keep their line breaks."""
    return OneLineParser(
        prog=name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def flight_parser(name: str, description: str | None, epilog: str, num_envs: int) -> argparse.ArgumentParser:
    """Return the parser of a command that flies policies in a task's environment."""
    parser = command_parser(
        name,
        description,
        "Settings of the environment follow the flags in Hydra's grammar: env.randomization.family=none\n"
        + epilog,
    )
    add_common_flags(parser, default_task="distillation")
    parser.add_argument("--steps", type=int, help="steps to fly (default: the task's episode)")
    parser.set_defaults(num_envs=num_envs, seed=0)
    return parser


def add_common_flags(parser: argparse.ArgumentParser, default_task: str | None = None) -> None:
    """Add task, number of environments, seed and device."""
    parser.add_argument(
        "--task",
        required=default_task is None,
        default=default_task,
        help="task: point_ctrl (teacher), distillation (student), foundation (student of an expert) or tracking "
        "(the same along paths)",
    )
    parser.add_argument("--num_envs", type=int, help="number of environments")
    parser.add_argument("--seed", type=int, help="seed of the environment and of the learning")
    parser.add_argument("--headless", action="store_true", help="accepted as in Isaac Lab: no window is opened")
    parser.add_argument("--device", default="cpu", help="torch device, cpu or cuda[:i] (default: cpu)")


def add_server_flags(parser: argparse.ArgumentParser, starts: str) -> None:
    """Add host and port of a web server; ``starts`` is the flag that starts it."""
    parser.add_argument(
        "--host",
        help=f"with {starts}: address to listen on (default: 127.0.0.1, which only this machine reaches; "
        "0.0.0.0 lets in everyone who reaches this machine)",
    )
    parser.add_argument(
        "--port", type=int, help=f"with {starts}: port, 0 for any (default: the first free one from 8080 on)"
    )


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return flags and overrides, which may come in any order; anything else is an error."""
    args, rest = parser.parse_known_args(argv)
    known = re.findall(r"--[\w-]+", parser.format_usage())
    for word in rest:
        flag = word.partition("=")[0]
        if flag in ISAAC_LAB:
            parser.error(f"{flag} has no effect: {ISAAC_LAB[flag]}")
        if word.startswith("-") or "=" not in word:
            near = difflib.get_close_matches(flag, known, n=1)
            way = f"did you mean {near[0]}?" if near else "settings look like env.sim.dt=0.01"
            parser.error(f"unrecognized argument {word!r}; {way}")
    return args, rest


def server_address(args: argparse.Namespace, starts: str | None) -> tuple[str, int] | None:
    """Return host and port to listen on, checked; None without a server.

    Args:
        args: The parsed flags.
        starts: The flag that starts the server; None if it is not given.

    Raises:
        UsageError: If host or port have no effect.
        ViewerError: If viser is not installed, or the address cannot be listened on.
    """
    if starts is None:
        for flag, value in (("--host", args.host), ("--port", args.port)):
            if value is not None:
                raise UsageError(f"{flag} {value} has no effect: nothing is served")
        return None
    from foundation.viewer import server

    server.require("viser", starts)
    host = server.DEFAULT_HOST if args.host is None else args.host
    return host, server.free_port(host, args.port)


def check_device(device: str) -> None:
    """Raise if torch cannot use the device.

    Raises:
        UsageError: If the name is unknown, the type is neither cpu nor cuda, or there is no such device.
    """
    import torch

    try:
        if torch.device(device).type not in ("cpu", "cuda"):
            raise RuntimeError("neither cpu nor cuda")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device} cannot be used ({reason}); use --device cpu") from None
