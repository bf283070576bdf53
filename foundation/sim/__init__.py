"""Quadrotor physics: readable reference, Warp kernels, vehicles from USD. Knows nothing of learning."""
