"""True DAgger and two-stage training for rsl_rl.

Use it in any rsl_rl runner configuration::

    algorithm = {"class_name": "foundation.distill:DaggerDistillation", ...}
"""

from __future__ import annotations

from foundation.distill.algorithm.distillation import DaggerDistillation
from foundation.distill.algorithm.mixing import TeacherSchedule
from foundation.distill.algorithm.nan_report import NonFiniteError, replay
from foundation.distill.algorithm.options import DaggerOptions
from foundation.distill.history.aggregated_buffer import AggregatedBuffer
from foundation.distill.models import EncoderRnnModel, ObservedActions
from foundation.distill.runners.config import (
    RslRlDistillationAlgorithmCfg,
    RslRlDistillationRunnerCfg,
    RslRlModelCfg,
    RslRlOnPolicyRunnerCfg,
    RslRlPpoAlgorithmCfg,
)
from foundation.distill.runners.dagger import DaggerRunner
from foundation.distill.runners.ppo import PpoRunner
from foundation.distill.runners.stop_request import TrainingStopped

__all__ = [
    "AggregatedBuffer",
    "DaggerDistillation",
    "DaggerOptions",
    "DaggerRunner",
    "EncoderRnnModel",
    "NonFiniteError",
    "ObservedActions",
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
