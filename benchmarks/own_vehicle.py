"""The vehicle of docs/VEHICLES.md from USD to C: run the page's own commands, and note their times and figures.

Times are CPU time on one core, of the command and what it starts. The result is kept in
``benchmarks/results/own-vehicle-cpu-<machine>.json``.

Run: OMP_NUM_THREADS=1 python benchmarks/own_vehicle.py
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / f"own-vehicle-cpu-{platform.machine()}.json"
METRICS = ("survival", "mean_return", "position_rmse_m")


def blocks(language: str) -> list[str]:
    """Return the page's blocks of a language."""
    page = (ROOT / "docs" / "VEHICLES.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Return the page's commands of training, evaluation and export, as lists of words."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    wanted = ("train", "evaluate", "export")
    return [words for line in lines if (words := shlex.split(line))[:1] == ["foundation"] and words[1] in wanted]


def timed(words: list[str], folder: str) -> dict[str, object]:
    """Run a command and return its times."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "foundation.cli.main", *words[1:]], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"command": shlex.join(words), "cpu_s": round(cpu, 1), "wall_s": round(time.monotonic() - start, 1)}


def main() -> None:
    [script] = [block for block in blocks("python") if "stage.Save()" in block]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
        steps = []
        for words in commands():
            steps.append(timed(words + (["--json", "result.json"] if words[1] == "evaluate" else []), folder))
            print(steps[-1], flush=True)
        result = json.loads((Path(folder) / "result.json").read_text())
    figures = {
        role: {name: [row[name], result["confidence_95"][role][name]] for name in METRICS}
        for role, row in result["policies"].items()
    }
    contents = {
        "machine": platform.machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "steps": steps,
        "mean_and_interval": figures,
        "relative_return": result["relative_return"]["student"],
    }
    RESULT.write_text(json.dumps(contents, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
