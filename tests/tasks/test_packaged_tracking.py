"""The packaged student of task ``tracking`` follows paths, which a student of hovering does less well."""

from __future__ import annotations

import foundation
from foundation.evaluation import load_policy
from foundation.evaluation.tracking.flight import track
from foundation.evaluation.tracking.setup import make_paths, reference_table, tracking_cfg
from foundation.evaluation.tracking.statistics import statistics
from foundation.tasks import create_env, packaged_student

X500 = ["env.randomization.family=none", "env.robot.vehicle=x500", "env.noise.delay=0", "env.episode_s=6"]


def flown(path, task, **parameters):
    env = create_env(
        "foundation", tracking_cfg(foundation.make_env("foundation", 16, overrides=X500).cfg), "cpu", 0
    )
    policy = load_policy(packaged_student(task), env.get_observations(), env.num_actions, "cpu")
    return statistics(track(env, policy, reference_table(make_paths(path, parameters, 16), env, 0)), 100)[
        "overall"
    ]


def test_it_follows_a_figure_eight_within_five_centimetres_where_one_of_hovering_does_not():
    own, hovering = (flown("figure_eight", task, speed=1.5) for task in ("tracking", "foundation"))
    assert own["survival"] == hovering["survival"] == 1.0
    # docs/TRACKING.md: 3.0 and 12.9 cm; flights differ by their phases.
    assert own["rmse_m"] < 0.05
    assert own["heading_rmse_deg"] < 1.5
    assert hovering["rmse_m"] > 2.0 * own["rmse_m"]


def test_it_hovers_within_a_centimetre():
    assert flown("hover", "tracking")["rmse_m"] < 0.01
