"""The viewer's error."""

from __future__ import annotations


class ViewerError(ValueError):
    """A request to the viewer cannot work."""
