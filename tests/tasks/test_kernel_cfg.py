"""Settings on their way into the kernels."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np

from foundation.sim.params import COLUMNS, Column
from foundation.tasks.kernel_cfg import kernel_struct, kernel_values
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import MetricsCfg, PointCtrlEnvCfg, SimCfg


def assert_same(kernel, cfg, but=""):
    for item in fields(cfg):
        if item.name == but or getattr(cfg, item.name) is None:
            continue
        value = getattr(cfg, item.name)
        if is_dataclass(value):
            assert_same(getattr(kernel, item.name), value)
        elif not isinstance(value, str):
            np.testing.assert_array_equal(np.float32(getattr(kernel, item.name)), np.float32(value), item.name)


def test_kernels_read_every_number_of_the_configuration_under_its_own_name():
    cfg = PointCtrlEnvCfg(num_envs=7, episode_steps=30)
    kernel = kernel_values(kernel_struct(PointCtrlEnvCfg), cfg)
    # Absent unless it is set: kernels read the number that follows from it.
    assert kernel.max_episode_length == 30
    assert_same(kernel, cfg, but="episode_steps")


def test_the_metrics_window_is_a_whole_number_of_steps_within_an_episode():
    cfg = PointCtrlEnvCfg(episode_steps=30, sim=SimCfg(dt=0.02))
    steps = [replace(cfg, metrics=MetricsCfg(window=window)).window_steps for window in (0.0, 0.21, 9.0)]
    assert steps == [1, 10, 30]


def test_every_column_of_the_vehicle_table_is_where_the_kernels_read_it(nominal):
    table = nominal.table()[0]
    assert len(table) == sum(COLUMNS.values())
    np.testing.assert_array_equal(table[Column.DRAG : Column.DRAG + 3], nominal.drag[0])
    np.testing.assert_array_equal(table[Column.TORQUE_Y : Column.TORQUE_Y + 4], -nominal.rotor_pos_b[0, :, 0])
    np.testing.assert_allclose(
        1.0 / table[[Column.MASS_INV, Column.RATE_UP]], [nominal.mass[0], nominal.tau_up[0]]
    )
    xx, _, zz, xy, _, yz = table[Column.INERTIA : Column.INERTIA + 6]
    inertia = nominal.inertia[0]
    np.testing.assert_array_equal([xx, zz, xy, yz], [inertia[0, 0], inertia[2, 2], inertia[0, 1], inertia[1, 2]])
