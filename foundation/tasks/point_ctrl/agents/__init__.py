"""Runner configurations of the task."""
