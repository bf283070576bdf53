"""The error of a failed export."""


class ExportError(Exception):
    """An export is not possible or differs from the policy; no file is left on disk."""
