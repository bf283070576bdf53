"""The simulator's kernels."""
