"""Configuration of the position-control task; every constant has its unit here."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from foundation.control.lqr import LqrCfg
from foundation.sim.params import MotorParams
from foundation.sim.randomization import FAMILIES, Cf2xFamilyCfg, FoundationFamilyCfg, RaptorFamilyCfg
from foundation.sim.usd import CF2X
from foundation.sim.vehicles import VEHICLES
from foundation.tasks.point_ctrl.noise_cfg import LONGEST_DELAY, NoiseCfg
from foundation.tasks.point_ctrl.paths_cfg import PathsCfg
from foundation.tasks.point_ctrl.states_cfg import STATES, InitCfg, TerminationCfg

SHORTEST_DT = 1e-4
"""Shortest control step [s]: an episode of five seconds has 50 000 of them."""
LONGEST_DT = 0.05
"""Longest control step [s]: a quadrotor tumbles in a few tenths of a second."""


@dataclass
class SimCfg:
    """Time stepping."""

    dt: float = 0.01
    """Control step [s]."""
    substeps: int = 1
    """Runge-Kutta steps per control step."""

    def __post_init__(self) -> None:
        """Check the rate."""
        if not SHORTEST_DT <= self.dt <= LONGEST_DT:
            raise ValueError(
                f"sim.dt must lie in [{SHORTEST_DT:g}, {LONGEST_DT:g}] s, {1 / LONGEST_DT:g} Hz to "
                f"{1 / SHORTEST_DT:g} Hz, got {self.dt:g}"
            )
        if self.substeps < 1:
            raise ValueError(f"sim.substeps must be positive, got {self.substeps}")


@dataclass
class SpawnCfg:
    """Where the vehicle comes from."""

    usd_path: str = CF2X
    """USD file whose physics schema describes the vehicle; ``cf2x`` is the packaged one."""

    def __post_init__(self) -> None:
        """Expand ``~``, which a shell does not where it follows an equals sign."""
        self.usd_path = os.path.expanduser(self.usd_path)


@dataclass
class RobotCfg:
    """The nominal vehicle."""

    spawn: SpawnCfg = field(default_factory=SpawnCfg)
    """The part that USD describes."""
    motor: MotorParams = field(default_factory=MotorParams)
    """The part that USD cannot describe."""
    vehicle: str | None = None
    """A vehicle by name instead of ``spawn`` and ``motor``: crazyflie, cf2x_L250, cf2x_P250, cf2x_T350, x500 or
    flightmare."""

    def __post_init__(self) -> None:
        """Check the name, and that nothing else describes the vehicle."""
        if self.vehicle is None:
            return
        if self.vehicle not in VEHICLES:
            raise ValueError(f"robot.vehicle must be one of {', '.join(VEHICLES)}, got {self.vehicle!r}")
        for group, default in (("spawn", SpawnCfg()), ("motor", MotorParams())):
            if not _same(getattr(self, group), default):
                raise ValueError(f"robot.{group} has no effect with robot.vehicle={self.vehicle}; set one of them")


@dataclass
class RandomizationCfg:
    """Which vehicles fly; each episode draws one from a table sampled once per environment object."""

    family: str = "cf2x"
    """One of none, cf2x, foundation, raptor."""
    num_vehicles: int = 4096
    """Size of the table of vehicles; family none always has one."""
    cf2x: Cf2xFamilyCfg = field(default_factory=Cf2xFamilyCfg)
    """Settings of family cf2x."""
    foundation: FoundationFamilyCfg = field(default_factory=FoundationFamilyCfg)
    """Settings of family foundation."""
    raptor: RaptorFamilyCfg = field(default_factory=RaptorFamilyCfg)
    """Settings of family raptor."""

    def __post_init__(self) -> None:
        """Check the family's name and the table's size."""
        if self.family not in FAMILIES:
            raise ValueError(f"randomization.family must be one of {', '.join(FAMILIES)}, got {self.family!r}")
        if self.num_vehicles < 1:
            raise ValueError(f"randomization.num_vehicles must be at least 1, got {self.num_vehicles}")


@dataclass
class RewardCfg:
    """Reward per step, in the form of RAPTOR (arXiv 2509.11481).

    scale * (alive - position * |p| - attitude * 2 acos(1 - |q_z|) - action_rate * |a - a_previous|^2
    - action_change * |a - a_previous|), and scale * ``termination`` instead in the step in which an episode fails.
    RAPTOR takes the change of action to the first power with a weight of 1; squared, it does not also punish
    exploration.
    """

    scale: float = 0.1
    """Factor on everything; discounted returns of about 10 suit PPO's value loss and its clipping."""
    alive: float = 1.5
    """Reward of being in the air."""
    position: float = 1.0
    """Weight of the distance to the target [1/m]."""
    attitude: float = 0.1
    """Weight of the heading term [1/rad]."""
    action_rate: float = 0.3
    """Weight of the squared change of action between two steps."""
    action_change: float = 0.0
    """Weight of the change of action between two steps, to the first power."""
    termination: float = -10.0
    """Reward of a failure, once."""

    def __post_init__(self) -> None:
        """Check the signs."""
        for name in ("position", "attitude", "action_rate", "action_change"):
            _require_at_least(f"reward.{name}", getattr(self, name), 0.0)
        _require_positive("reward", self, ["scale"])
        if self.termination > 0.0:
            raise ValueError(
                f"reward.termination must be at most 0, or crashes are rewarded, got {self.termination}"
            )


@dataclass
class MetricsCfg:
    """How an episode's metrics are measured."""

    window: float = 1.0
    """Last part of an episode over which the steady position error is taken [s]."""
    settle_radius: float = 0.1
    """Distance to the target that counts as settled once it is never exceeded again [m]."""


@dataclass
class PointCtrlEnvCfg:
    """Fly to a point and stay there."""

    num_envs: int = 100
    """Number of environments."""
    episode_s: float = 5.0
    """Time after which an episode ends [s]."""
    episode_steps: int | None = None
    """Control steps after which an episode ends, instead of ``episode_s``."""
    wind: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Constant force on every vehicle, world frame [N], beside the random force of its family."""
    sim: SimCfg = field(default_factory=SimCfg)
    """Time stepping."""
    robot: RobotCfg = field(default_factory=RobotCfg)
    """The nominal vehicle."""
    randomization: RandomizationCfg = field(default_factory=RandomizationCfg)
    """The family of vehicles."""
    states: str | None = None
    """First states and bounds by name, instead of ``init`` and ``termination``: raptor."""
    init: InitCfg = field(default_factory=InitCfg)
    """First states."""
    termination: TerminationCfg = field(default_factory=TerminationCfg)
    """Failures."""
    reward: RewardCfg = field(default_factory=RewardCfg)
    """Reward."""
    noise: NoiseCfg = field(default_factory=NoiseCfg)
    """The student's sensors."""
    metrics: MetricsCfg = field(default_factory=MetricsCfg)
    """Episode metrics."""
    expert: LqrCfg | None = None
    """Weights of the expert whose actions are the observation group ``expert``; None is no such group."""
    paths: PathsCfg | None = None
    """Paths that the target follows; None is a target that stays at the origin."""

    @property
    def window_steps(self) -> int:
        """Control steps of ``metrics.window``, at least one and at most an episode's."""
        return min(max(1, round(self.metrics.window / self.sim.dt)), self.max_episode_length)

    @property
    def delay_steps(self) -> int:
        """Control steps of ``noise.delay``."""
        return round(self.noise.delay / self.sim.dt)

    @property
    def max_episode_length(self) -> int:
        """Control steps after which an episode ends."""
        if self.episode_steps is not None:
            return self.episode_steps
        return max(1, round(self.episode_s / self.sim.dt))

    def __post_init__(self) -> None:
        """Set named states, and check signs and the consistency of the parts."""
        if self.states is not None:
            self._set_states(self.states)
        if self.randomization.family == "raptor" and not _same(self.robot, RobotCfg()):
            raise ValueError(
                "robot has no effect with randomization.family=raptor, which scales L2F's Crazyflie; "
                "set randomization.family to none or cf2x"
            )
        bounds = [
            item.name for item in fields(self.termination) if getattr(self.termination, item.name) is not None
        ]
        _require_positive("termination", self.termination, bounds)
        for group in ("noise", "metrics"):
            for item in fields(getattr(self, group)):
                _require_at_least(f"{group}.{item.name}", getattr(getattr(self, group), item.name), 0.0)
        for name in ("position", "tilt", "velocity", "angular_velocity"):
            _require_at_least(f"init.{name}", getattr(self.init, name), 0.0)
        for name in ("position", "velocity", "angular_velocity"):
            start, bound = getattr(self.init, name), getattr(self.termination, name)
            if start >= bound and not (name == "position" and self.termination.arm_lengths is not None):
                raise ValueError(f"init.{name} must be below termination.{name} ({bound}), got {start}")
        if not 0.0 <= self.init.origin_probability <= 1.0:
            raise ValueError(f"init.origin_probability must lie in [0, 1], got {self.init.origin_probability}")
        if not 0.0 <= self.init.rotor[0] <= self.init.rotor[1]:
            raise ValueError(f"init.rotor must be an ordered range from 0, got {tuple(self.init.rotor)}")
        _require_at_least("episode_steps", self.max_episode_length, 1)
        _require_positive("env", self, ["episode_s"])
        if self.episode_steps is None and self.episode_s < self.sim.dt:
            raise ValueError(f"episode_s must be at least one step, sim.dt={self.sim.dt} s, got {self.episode_s}")
        _require_at_least("num_envs", self.num_envs, 1)
        if not 0.0 < self.noise.delayed_share <= 1.0:
            raise ValueError(f"noise.delayed_share must lie in (0, 1], got {self.noise.delayed_share}")
        if self.noise.delay > LONGEST_DELAY:
            raise ValueError(f"noise.delay must be at most {LONGEST_DELAY:g} s, got {self.noise.delay:g}")
        if abs(self.noise.delay / self.sim.dt - self.delay_steps) > 1e-6:
            raise ValueError(
                f"noise.delay must be a multiple of the control step, {self.sim.dt:g} s, got {self.noise.delay:g}"
            )

    def needed_by(self, name: str) -> str | None:
        """Return what has to be set for a setting to have an effect; None if it has one."""
        group, _, rest = name.partition(".")
        family = rest.partition(".")[0]
        if group == "randomization" and family in FAMILIES and family != self.randomization.family:
            return f"env.randomization.family={family}"
        if name == "noise.delayed_share" and self.noise.delay == 0.0:
            return "env.noise.delay"
        return None

    def _set_states(self, name: str) -> None:
        if name not in STATES:
            raise ValueError(f"states must be one of {', '.join(STATES)}, or null, got {name!r}")
        for group, named in zip(("init", "termination"), STATES[name](), strict=True):
            own = getattr(self, group)
            if not (_same(own, named) or _same(own, type(named)())):
                given, whole = (json.loads(json.dumps(asdict(one))) for one in (own, named))
                others = ", ".join(f"{group}.{one}={given[one]}" for one in whole if given[one] != whole[one])
                raise ValueError(f"states={name} sets all of {group}, which differs in {others}; set states=null")
            setattr(self, group, named)


def teacher_env_cfg() -> PointCtrlEnvCfg:
    """Return the environment of task ``point_ctrl``."""
    return PointCtrlEnvCfg(num_envs=512)


def student_env_cfg() -> PointCtrlEnvCfg:
    """Return the environment of task ``distillation``, at reference scale."""
    return PointCtrlEnvCfg(num_envs=100)


def _same(first: Any, second: Any) -> bool:
    """Return whether two configurations have the same values; a tuple from the command line is a list."""
    return json.dumps(asdict(first)) == json.dumps(asdict(second))


def _require_positive(group: str, cfg: object, names: list[str] | tuple[str, ...]) -> None:
    for name in names:
        if getattr(cfg, name) <= 0:
            raise ValueError(f"{group}.{name} must be positive, got {getattr(cfg, name)}")


def _require_at_least(name: str, value: float, limit: float) -> None:
    if not value >= limit:
        raise ValueError(f"{name} must be at least {limit}, got {value}")
