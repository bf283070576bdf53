"""Launchers: ``python foundation/rsl_rl/train.py``. The code of the commands is in :mod:`foundation.cli`."""
