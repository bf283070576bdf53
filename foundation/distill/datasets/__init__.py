"""The history as a dataset of another library's format, and such datasets as the beginning of a history."""

from __future__ import annotations

from foundation.distill.datasets.files import FORMATS, DatasetError, export_history, read_dataset
from foundation.distill.datasets.recording import Recording

__all__ = ["FORMATS", "DatasetError", "Recording", "export_history", "read_dataset"]
