"""The collecting loop."""
