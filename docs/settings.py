"""Write the page of all settings, from the configurations' defaults and docstrings.

Run: python docs/settings.py
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from foundation.control.lqr import LqrCfg
from foundation.tasks import TASKS, resolve
from foundation.tasks.point_ctrl.paths_cfg import PathsCfg
from foundation.tasks.saved_params import settings

PAGE = Path(__file__).parent / "SETTINGS.md"
HEAD = """# Settings

Every setting with its default and meaning; units are in brackets. Settings follow the flags of a command:
`foundation train --task distillation env.sim.dt=0.02 agent.algorithm.mini_batch_size=512`. Text with blanks or
special characters is quoted twice, for the shell and for Hydra:
`'env.robot.spawn.usd_path="/my vehicles/quad.usda"'`. `python docs/settings.py` writes this page.
"""
PARTS = {
    "env": (
        "Environment",
        "Settings of all tasks, with the defaults of task `distillation`; `num_envs` is 512 in task `point_ctrl`.",
        "distillation",
    ),
    "agent of distillation": ("Agent of task `distillation`", "", "distillation"),
    "agent of point_ctrl": ("Agent of task `point_ctrl`", "", "point_ctrl"),
}


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for key, (title, note, task) in PARTS.items():
        group = key.split()[0]
        cfg = resolve(getattr(TASKS[task], f"{group}_cfg"))()
        parts.append(f"## {title}\n" + (f"\n{note}\n" if note else ""))
        parts.append("| setting | default | meaning |\n| --- | --- | --- |")
        parts.append(
            "\n".join(f"| `{name}` | `{value}` | {text} |" for name, value, text in rows(cfg, group)) + "\n"
        )
    return "\n".join([*parts, optional(), others("foundation", "distillation"), others("tracking", "foundation")])


def optional() -> str:
    """Return the section of the environment's groups that are None unless a task or a setting asks for them."""
    lines = [
        "## Optional groups of the environment\n",
        "None by default in tasks `point_ctrl` and `distillation`. `env.paths={}` turns a group on with these "
        "defaults, `env.paths={speed:[0.2,1.0]}` with one of them changed.\n",
        "| setting | default | meaning |\n| --- | --- | --- |",
    ]
    for name, cfg in (("env.expert", LqrCfg()), ("env.paths", PathsCfg())):
        lines += [f"| `{setting}` | `{value}` | {text} |" for setting, value, text in rows(cfg, name)]
    return "\n".join(lines) + "\n"


def others(task: str, base: str) -> str:
    """Return the section of a task: the defaults in which it differs from another task."""
    lines = [f"## Task `{task}`\n", f"Its defaults where they are not those of task `{base}`.\n"]
    lines.append("| setting | default |\n| --- | --- |")
    for group in ("env", "agent"):
        first, second = (
            dict(settings(asdict(resolve(getattr(TASKS[one], f"{group}_cfg"))()), group)) for one in (base, task)
        )
        lines += [f"| `{name}` | `{value}` |" for name, value in second.items() if first.get(name) != value]
    return "\n".join(lines) + "\n"


def rows(cfg: Any, name: str) -> Iterator[tuple[str, Any, str]]:
    """Yield name, default and meaning of every setting."""
    texts = docstrings(type(cfg))
    for item in fields(cfg):
        value, setting = getattr(cfg, item.name), f"{name}.{item.name}"
        if is_dataclass(value):
            yield from rows(value, setting)
        else:
            text = re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", texts[item.name])
            yield setting, value, text.replace("``", "`").replace("|", "\\|")


def docstrings(cls: type) -> dict[str, str]:
    """Return the docstring of each field, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed([base for base in cls.__mro__ if is_dataclass(base)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # pyright: ignore
        for statement, following in pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                found[statement.target.id] = " ".join(ast.literal_eval(following.value).split())  # pyright: ignore
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
