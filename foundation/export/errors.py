"""The error of an export that cannot be made or does not do what the policy does."""


class ExportError(Exception):
    """An export failed; nothing of it was left on disk."""
