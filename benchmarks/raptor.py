"""RAPTOR's released policy, for scripts beside one that has its package's name."""

from __future__ import annotations

import sys
from pathlib import Path

from foundation.evaluation.tracking import baselines


def Raptor() -> baselines.Raptor:
    """Return the policy; its package ``foundation_policy`` reads a file of its own while it is made."""
    path, script = sys.path, sys.modules.pop("foundation_policy", None)
    sys.path = [folder for folder in path if Path(folder).resolve() != Path(__file__).parent.resolve()]
    try:
        return baselines.Raptor()
    finally:
        sys.path = path
        sys.modules.pop("foundation_policy", None)
        if script is not None:
            sys.modules["foundation_policy"] = script
