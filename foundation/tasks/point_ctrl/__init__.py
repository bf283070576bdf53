"""Position control of a quadrotor."""
