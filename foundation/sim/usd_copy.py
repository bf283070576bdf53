"""A vehicle's USD file as one text, without its sublayers, references and payloads."""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from foundation.sim.usd import CF2X, CF2X_USD_PATH
from foundation.sim.usd_file import open_stage, usd_errors


def flattened(path: str) -> str:
    """Return the composed contents of a USD file, or of ``cf2x``, as text (.usda) that needs no other file.

    Equal contents give equal text, wherever the files lie.

    Raises:
        UsdVehicleError: If the file is missing, or USD cannot compose it.
    """
    path = CF2X_USD_PATH if path == CF2X else path
    with usd_errors(path):
        layer = open_stage(path).Flatten()
        # USD notes the files that it was composed from.
        layer.documentation = ""
        return layer.ExportToString()
