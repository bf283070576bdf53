"""A vehicle's USD file as one text, without its sublayers, references and payloads."""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from foundation.sim.usd_file import UsdVehicleError, open_stage, shown


def flattened(path: str) -> str:
    """Return the composed contents of a USD file as text (.usda) that needs no other file.

    Equal contents give equal text, wherever the files lie.

    Raises:
        UsdVehicleError: If the file is missing, or USD cannot compose it.
    """
    from pxr import Tf

    try:
        layer = open_stage(path).Flatten()
    except Tf.ErrorException as error:
        raise UsdVehicleError(path, f"what USD cannot read ({shown(error.args[0].commentary)})") from error
    # USD notes the files that it was composed from.
    layer.documentation = ""
    return layer.ExportToString()
