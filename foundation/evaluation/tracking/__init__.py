"""Flights along paths: how well policies follow a moving reference, as numbers, arrays and plots."""
