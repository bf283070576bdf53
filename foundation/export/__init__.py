"""Export policies: ONNX, TorchScript, C, and a controller for the Crazyflie's firmware."""

from __future__ import annotations

from foundation.export.c_header import Origin
from foundation.export.errors import ExportError
from foundation.export.exporter import Export, Source, export

__all__ = ["Export", "ExportError", "Origin", "Source", "export"]
