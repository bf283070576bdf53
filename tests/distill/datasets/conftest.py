"""The small environments of ``make test-rsl-rl`` are without the extra ``datasets``."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = ["test_*.py"] if importlib.util.find_spec("minari") is None else []
