"""What the benchmarks share: timing two sides in turn, and keeping what was measured.

Every run of a benchmark appends one line to ``benchmarks/results/<machine>.jsonl``. ``make bench`` ends with the
table of the newest measurement of every target; with ``--page`` it is written into ``docs/BENCHMARKS.md``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "BENCHMARKS.md"
PACKAGES = ("torch", "warp-lang", "rsl-rl-lib", "tensordict", "torchrl", "crazyflow", "jax", "numpy")


@dataclass
class Target:
    """One line of the table."""

    name: str
    """Number and name, for example ``5 simulator against crazyflow, N = 100``."""
    limit: str
    """What it has to reach, for example ``>= 4``."""
    value: float
    """What is compared with the limit."""
    measured: str
    """Both sides in their units."""

    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit."""
        sign, number = self.limit.split()[:2]
        return self.value >= float(number) if sign == ">=" else self.value <= float(number)


def in_turn(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every repeat of every side, all sides taking turns in this process."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def record(benchmark: str, targets: list[Target], details: object = None) -> None:
    """Print the targets and append them, with the machine, the versions and the commit, to the results."""
    for target in targets:
        print(_row(asdict(target) | {"passed": target.passed}), flush=True)
    entry = {
        "benchmark": benchmark,
        "date": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "commit": _git("describe", "--always", "--dirty", "--abbrev=10"),
        "machine": machine(),
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "targets": [asdict(target) | {"passed": target.passed} for target in targets],
        "details": details,
    }
    with open(_results_file(), "a") as file:
        file.write(json.dumps(entry) + "\n")


def machine() -> dict[str, object]:
    """Return what the figures depend on: processor, cores and GPU."""
    import torch

    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": model, "cores": os.cpu_count(), "gpu": gpu}


def newest_targets() -> list[dict]:
    """Return the newest measurement on this kind of machine of every target, in the order of their numbers."""
    newest: dict[str, dict] = {}
    for line in _results_file().read_text().splitlines():
        entry = json.loads(line)
        for target in entry["targets"]:
            newest[target["name"]] = target | {"benchmark": entry["benchmark"]}
    return sorted(newest.values(), key=lambda target: (target["name"].split()[0], target["benchmark"]))


def write_page() -> None:
    lines = ["| target | limit | ratio | measured | |", "| --- | --- | --- | --- | --- |"]
    for row in newest_targets():
        verdict = "pass" if row["passed"] else "**miss**"
        lines.append(f"| {row['name']} | {row['limit']} | {row['value']:.3g} | {row['measured']} | {verdict} |")
    write_blocks(PAGE, {"benchmarks": "\n".join(lines)})


def write_blocks(page: Path, blocks: dict[str, str]) -> None:
    """Replace what stands between the comments ``name`` and ``end of name`` of a Markdown page."""
    text = page.read_text()
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"
    page.write_text(text)


def _row(target: dict) -> str:
    verdict = "pass" if target["passed"] else "MISS"
    return f"{target['name']:58} {target['limit']:>8} {target['value']:>9.3g}  {verdict}  {target['measured']}"


def _results_file() -> Path:
    here = machine()
    name = here["gpu"] or f"cpu-{platform.machine()}-{here['cores']}-cores"
    return RESULTS / f"{str(name).replace(' ', '-')}.jsonl"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write the table into docs/BENCHMARKS.md")
    args = parser.parse_args()
    if args.page:
        write_page()
    rows = newest_targets()
    print(f"{'target':58} {'limit':>8} {'ratio':>9}        measured")
    for row in rows:
        print(_row(row))
    missed = sum(not row["passed"] for row in rows)
    print(f"{len(rows) - missed} of {len(rows)} targets met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
