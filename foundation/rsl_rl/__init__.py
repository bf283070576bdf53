"""Command-line scripts: train, play, evaluate. Nothing imports this."""
