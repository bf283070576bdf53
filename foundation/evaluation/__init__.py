"""Fly policies on fixed seeds, measure them, and draw them."""

from __future__ import annotations

from foundation.evaluation.episodes import EvaluationError
from foundation.evaluation.evaluation import Evaluation
from foundation.evaluation.policies import load_policy
from foundation.evaluation.report import write_report
from foundation.evaluation.seeds import evaluate

__all__ = ["Evaluation", "EvaluationError", "evaluate", "load_policy", "write_report"]
