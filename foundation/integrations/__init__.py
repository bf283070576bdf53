"""Hosts of environments: each module is imported on use, and needs its host installed."""
