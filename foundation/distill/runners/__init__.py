"""Runners, their configuration, logging and progress."""
