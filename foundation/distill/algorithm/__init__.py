"""The algorithm: act, process_env_step, update; losses, teachers, mixing."""
