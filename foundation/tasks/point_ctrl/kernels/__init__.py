"""The task's Warp kernels: a whole environment step is one launch.

:func:`~foundation.tasks.point_ctrl.kernels.step.task_kernels` shows the order: physics, reward and termination,
reset of the finished environments, observations. Each of these has a file. How the kernels work on blocks of
environments is explained in :mod:`foundation.sim.kernels`.
"""
