"""Checkpoints on disk: files, manifests, weights, random generators, and every part of a resumable run."""

from __future__ import annotations

from foundation.distill.checkpoint.files import CheckpointError, FileDigest, atomic_save, is_plain
from foundation.distill.checkpoint.foreign import convert_checkpoint, present_layout
from foundation.distill.checkpoint.loading import load_checkpoint
from foundation.distill.checkpoint.weights import STUDENT, TEACHER, check_models, checkpoint_kind, load_weights

__all__ = [
    "STUDENT",
    "TEACHER",
    "CheckpointError",
    "FileDigest",
    "atomic_save",
    "check_models",
    "checkpoint_kind",
    "convert_checkpoint",
    "is_plain",
    "load_checkpoint",
    "load_weights",
    "present_layout",
]
