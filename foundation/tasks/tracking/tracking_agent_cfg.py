"""Runner configuration of task ``tracking``."""

from __future__ import annotations

from dataclasses import replace

from foundation.distill.runners.config import RslRlDistillationRunnerCfg
from foundation.tasks.foundation.foundation_agent_cfg import foundation_runner_cfg


def tracking_runner_cfg() -> RslRlDistillationRunnerCfg:
    """Return the recipe of task ``foundation``: the expert knows the path ahead, the student does not."""
    return replace(foundation_runner_cfg(), experiment_name="tracking")
