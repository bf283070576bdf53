"""Following a moving reference: the family, states and expert of task ``foundation``, along a mixture of paths."""
