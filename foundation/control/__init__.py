"""Model-based control of the simulator's vehicles: experts that need no training.

:class:`~foundation.control.expert.LqrExpert` flies every vehicle of a table to a point;
:class:`~foundation.control.pid.CascadedPid` flies them as Crazyflies are flown, knowing no more than a pilot does.
"""
