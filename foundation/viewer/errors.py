"""What the viewer refuses."""

from __future__ import annotations


class ViewerError(ValueError):
    """Something that was asked of the viewer cannot work."""
