"""Quadrotor physics: NumPy reference, Warp kernels, vehicles from USD. Independent of learning."""
