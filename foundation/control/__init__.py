"""Model-based control of the simulator's vehicles: experts that need no training.

:class:`~foundation.control.expert.LqrExpert` flies every vehicle of a table to a point.
"""
