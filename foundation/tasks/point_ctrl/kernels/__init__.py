"""The fused environment step."""
