"""True DAgger and two-stage training for rsl_rl.

Use it in any rsl_rl runner configuration::

    algorithm = {"class_name": "foundation.distill:DaggerDistillation", ...}
"""

from __future__ import annotations

from foundation.distill.buffer import AggregatedBuffer
from foundation.distill.cfg import (
    RslRlDistillationAlgorithmCfg,
    RslRlDistillationRunnerCfg,
    RslRlModelCfg,
    RslRlOnPolicyRunnerCfg,
    RslRlPpoAlgorithmCfg,
)
from foundation.distill.dagger import DaggerDistillation
from foundation.distill.finite import NonFiniteError, replay
from foundation.distill.options import DaggerOptions
from foundation.distill.runner import DaggerRunner, PpoRunner
from foundation.distill.schedule import TeacherSchedule
from foundation.distill.signals import TrainingStopped

__all__ = [
    "AggregatedBuffer",
    "DaggerDistillation",
    "DaggerOptions",
    "DaggerRunner",
    "NonFiniteError",
    "PpoRunner",
    "RslRlDistillationAlgorithmCfg",
    "RslRlDistillationRunnerCfg",
    "RslRlModelCfg",
    "RslRlOnPolicyRunnerCfg",
    "RslRlPpoAlgorithmCfg",
    "TeacherSchedule",
    "TrainingStopped",
    "replay",
]
