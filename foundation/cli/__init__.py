"""The commands of ``foundation``: train, play, evaluate, export, runs, compare. Nothing imports this."""
