"""The position-control task as an rsl_rl VecEnv."""

# VecEnv annotates its attributes more widely, and has no properties.
# pyright: reportIncompatibleVariableOverride=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.control.expert import LqrExpert
from foundation.sim.launch import RecordedLaunch
from foundation.sim.layout import STATE
from foundation.sim.simulator import Simulator
from foundation.tasks.point_ctrl.episode_log import DeferredEpisodeLog, episode_metrics
from foundation.tasks.point_ctrl.expert_actions import ExpertActions
from foundation.tasks.point_ctrl.layout import EPISODE, FINISHED, STUDENT, STUDENT_DIM, TEACHER_DIM, Reset
from foundation.tasks.point_ctrl.paths_cfg import draw_paths
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg
from foundation.tasks.point_ctrl.recorded_kernels import record_kernels
from foundation.tasks.point_ctrl.references import CurrentReference, ReferenceTable
from foundation.tasks.point_ctrl.sensor_delay import SensorDelay
from foundation.tasks.point_ctrl.vehicles import nominal_vehicle, require_resolved, sample_vehicles


class PointCtrlEnv(VecEnv):
    """Quadrotors that fly to the origin and stay there, or follow paths.

    Actions are rotor commands in [-1, 1] (clipped), shape (N, 4), in the order front-right, back-right,
    back-left, front-left. Observation groups: ``student`` (N, 22) with sensor noise, ``teacher`` (N, 37),
    privileged, and, where ``cfg.expert`` is set, ``expert`` (N, 4), the actions of an :class:`LqrExpert`. Returned
    tensors are new ones; the environment never writes into them again.
    """

    num_actions = 4
    cfg: PointCtrlEnvCfg
    device: torch.device
    on_step: Callable[[torch.Tensor], None] | None = None
    """Called after each step with its dones, shape (N,); it may read the environment and must not change it."""

    def __init__(self, cfg: PointCtrlEnvCfg, device: str = "cpu", seed: int = 0) -> None:
        """Sample the vehicles and reset every environment.

        Args:
            cfg: The task's configuration.
            device: Torch device, ``cpu`` or ``cuda[:i]``.
            seed: Seed of everything random in the environment.

        Raises:
            UsdVehicleError: If the USD file does not describe a quadrotor.
            ValueError: If a family holds vehicles that cannot fly.
        """
        self.cfg = cfg
        self.num_envs = cfg.num_envs
        self._batch_size = torch.Size([cfg.num_envs])
        self.max_episode_length = cfg.max_episode_length
        self.nominal = nominal_vehicle(cfg.robot)
        vehicles = sample_vehicles(cfg, self.nominal, np.random.default_rng(seed))
        require_resolved(cfg, vehicles)
        self.sim = Simulator(vehicles, cfg.num_envs, device, cfg.sim.dt, cfg.sim.substeps)
        self.device = self.sim.device
        self.expert: ExpertActions | None = None
        if cfg.expert is not None:
            self.use_expert(LqrExpert(vehicles, cfg.expert, cfg.sim.dt, self.device))
        late = torch.arange(self.num_envs, device=self.device) < round(cfg.noise.delayed_share * self.num_envs)
        self.sensor_delay = SensorDelay(cfg.delay_steps, late) if cfg.delay_steps else None
        self._paths: ReferenceTable | None = None
        self._allocate(seed)
        self._observe_all, self._env_step = record_kernels(
            cfg, self.sim, self.nominal, self._rows, self._lanes, self._padded_actions
        )
        if cfg.paths is None:
            self.reset()
        else:
            rng = np.random.default_rng([seed, 1])
            paths = draw_paths(cfg.paths, rng)
            self.follow(ReferenceTable.of(paths, self.max_episode_length, cfg.sim.dt, rng, self.device))

    @property
    def capturable(self) -> bool:
        """Whether steps can be captured in a CUDA graph: on a GPU, without an ``on_step`` callback."""
        return self.device.type == "cuda" and self.on_step is None

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps since the reset of each episode, int64, shape (N,)."""
        return self._task["length"]

    @episode_length_buf.setter
    def episode_length_buf(self, value: torch.Tensor) -> None:
        # rsl_rl assigns a new tensor, but the kernels hold the address of the old one.
        self._task["length"].copy_(value)

    @property
    def reference(self) -> CurrentReference | None:
        """What each environment follows in this step; None if the target is the origin."""
        return None if self._paths is None else self._paths.ahead(self._task["row"], 0)

    @property
    def path(self) -> torch.Tensor | None:
        """Which of the paths each environment follows, from 0, int32, shape (N,); None without paths."""
        return None if self._paths is None else self._task["row"] // self._paths.steps

    def use_expert(self, expert: LqrExpert) -> None:
        """Let an expert for the vehicles of ``sim.params`` give the observation group ``expert``."""
        self.expert = ExpertActions(expert, self.sim.params, self.cfg.sim.dt, self.device)

    def follow(self, paths: ReferenceTable | None) -> TensorDict:
        """Reset every environment onto one of some paths, drawn anew with each episode.

        Observations, rewards and bounds are relative to the reference from now on: position and velocity are those
        of the vehicle less the reference's, in axes that are turned by the reference's heading, and so is the
        rotation. The teacher's force is less the reference's acceleration over gravity.

        Args:
            paths: The paths, with a sample for every step of an episode; None is the origin again.

        Returns:
            The first observations.

        Raises:
            ValueError: If the paths are shorter than an episode, or on another device.
        """
        if paths is not None and paths.samples.device != self.device:
            raise ValueError(f"paths must be on {self.device}, got {paths.samples.device}")
        if paths is not None and paths.steps <= self.max_episode_length:
            raise ValueError(
                f"paths must have a sample for each of an episode's {self.max_episode_length} steps and the first "
                f"state, got {paths.steps}; sample {self.max_episode_length + 1}"
            )
        self._paths = paths
        for kernel in (self._observe_all, self._env_step):
            kernel.set("samples", 0 if paths is None else paths.samples.data_ptr())
            kernel.set("num_paths", 0 if paths is None else paths.paths)
            kernel.set("path_steps", 1 if paths is None else paths.steps)
        return self.reset()[0]

    @property
    def paths(self) -> ReferenceTable | None:
        """The paths that are followed; None if the target is the origin."""
        return self._paths

    def references_around(self, before: int, after: int, every: int) -> torch.Tensor | None:
        """Return the paths around what is followed now, (K, N, 3), as :meth:`ReferenceTable.around` does."""
        return None if self._paths is None else self._paths.around(self._task["row"], before, after, every)

    def reset(self) -> tuple[TensorDict, dict]:
        """Reset every environment and return the first observations."""
        return self._delayed(self._observe(Reset.ALL), advance=True), {}

    def reset_finished(self) -> TensorDict:
        """Reset the environments that finished in the last step; for those that ``autoreset=False`` left so.

        Returns:
            The observations after it, those of the other environments as ``step`` returned them.
        """
        obs = self._observe(Reset.FINISHED)
        if self.sensor_delay is not None:
            obs["student"] = self.sensor_delay.begin(obs["student"], self._task["done"] > 0)
        return obs

    def get_observations(self) -> TensorDict:
        """Return the current observations without drawing new noise."""
        return self._delayed(self._observe(Reset.NONE), advance=False)

    def step(
        self, actions: torch.Tensor, autoreset: bool = True
    ) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        """Advance by one control step; finished environments return the first observation of a new episode.

        Args:
            actions: Rotor commands in [-1, 1], shape (N, 4).
            autoreset: Whether to reset finished environments. Otherwise they return the last observation of their
                episode; call :meth:`reset_finished` before the next step.

        Returns:
            Observations, rewards (N,), dones (N,) int64, and extras: ``time_outs`` (N,) bool, and ``log``
            with the metrics of the episodes that ended in this step.
        """
        self._actions.copy_(actions)
        self._env_step.set("reset", Reset.FINISHED if autoreset else Reset.NONE)
        obs, done = self._delayed(self._launch(self._env_step), advance=True), self._task["done"].clone()
        extras = {"time_outs": self._task["time_out"].clone(), "log": self._episode_log(done)}
        if self.on_step is not None:
            self.on_step(done)
        return obs, self._task["reward"].clone(), done, extras

    def last_episode(self) -> dict[str, torch.Tensor]:
        """Return the metrics of each environment's last finished episode, each of shape (N,).

        ``return``, ``length`` [steps], ``survived``, ``position_rmse`` [m] over the last window of an
        episode that survived, ``settled``, ``settle_time`` [s], meaningful where settled, and ``command_rate``,
        the mean change of an action per step.
        """
        last = dict(zip(FINISHED, self._task["finished"].clone().unbind(dim=1), strict=True))
        return last | {
            "length": last["length"].long(),
            "survived": last["survived"] > 0.0,
            "settled": last["settled"] > 0.0,
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return copies of everything the next step reads, and the masses that identify the table of vehicles."""
        state = {name: tensor.clone() for name, tensor in self._state_tensors().items()}
        paths = {} if self._paths is None else {"path_table": self._paths.digest}
        return state | {"table_mass": torch.as_tensor(self.sim.params.mass)} | paths

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from a state that an environment of the same size and configuration returned.

        Raises:
            ValueError: If the state belongs to another number of environments, or to other vehicles or paths.
        """
        if not torch.equal(state["table_mass"].cpu(), torch.as_tensor(self.sim.params.mass)):
            raise ValueError("environment state belongs to other vehicles: family, seed or vehicle differ")
        if self._paths is not None and not self._paths.is_that_of(state.get("path_table")):
            raise ValueError("environment state belongs to other paths: env.paths, seed or episode length differ")
        own = self._state_tensors()
        for name in ("episode", "finished"):
            if name in state:
                state = state | {name: _with_columns(state[name], own[name])}
        for name, tensor in own.items():
            if name not in state or state[name].shape != tensor.shape:
                raise ValueError(f"environment state {name!r} does not fit {self.num_envs} environments")
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def close(self) -> None:
        """Do nothing: memory is freed with the object."""

    def _observe(self, reset: int) -> TensorDict:
        self._observe_all.set("reset", reset)
        return self._launch(self._observe_all)

    def _launch(self, kernel: RecordedLaunch) -> TensorDict:
        """Run a kernel that writes observations, and return them in new tensors."""
        padded = self.sim.padded_envs
        student = torch.empty(padded, STUDENT_DIM, device=self.device)
        teacher = torch.empty(padded, TEACHER_DIM, device=self.device)
        kernel.set("student", student.data_ptr())
        kernel.set("teacher", teacher.data_ptr())
        kernel.launch()
        n = self.num_envs
        groups: dict[Any, Any] = {"student": student[:n], "teacher": teacher[:n]}
        if self.expert is not None:
            previous = self._task["episode"][:, : STUDENT["previous_action"]]
            groups["expert"] = self.expert(self.sim, previous, self._paths, self._task["row"])
        # The public constructor validates its arguments, which takes four times as long.
        return TensorDict._new_unsafe(groups, batch_size=self._batch_size, device=self.device)

    def _delayed(self, obs: TensorDict, advance: bool) -> TensorDict:
        delay = self.sensor_delay
        if delay is not None:
            student = obs["student"]
            begun = self.episode_length_buf == 0
            obs["student"] = delay.advance(student, begun) if advance else delay.due(student)
        return obs

    def _episode_log(self, done: torch.Tensor) -> Mapping[str, torch.Tensor]:
        if self.device.type != "cpu":
            return DeferredEpisodeLog(self._task["finished"].clone(), done)
        # In most steps nothing ended; NumPy finds that out ten times faster than torch.
        if not np.count_nonzero(self._host_done):
            return {}
        return episode_metrics(self._host_finished[self._host_done.nonzero()[0]])

    def _state_tensors(self) -> dict[str, torch.Tensor]:
        late = {} if self.sensor_delay is None else {"measured": self.sensor_delay.measured}
        of_paths = () if self._paths is not None else ("row", "last_row")
        task = {name: rows for name, rows in self._task.items() if name not in of_paths}
        return {name: getattr(self.sim, name) for name in (*STATE, "vehicle")} | task | late

    def _allocate(self, seed: int) -> None:
        n, padded = self.num_envs, self.sim.padded_envs

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(*shape, dtype=dtype, device=self.device)

        generator = torch.Generator().manual_seed(seed)
        rng = torch.randint(-(2**31), 2**31, (2, padded), generator=generator, dtype=torch.int64).to(torch.int32)
        self._padded_actions = zeros(padded, 4)
        self._actions = self._padded_actions[:n]
        self._lanes = {"rng": rng.to(self.device), "episode": zeros(sum(EPISODE.values()), padded)}
        self._rows = {
            "length": zeros(padded, dtype=torch.int64),
            "row": zeros(padded, dtype=torch.int32),
            "last_row": zeros(padded, dtype=torch.int32),
            "finished": zeros(padded, len(FINISHED)),
            "reward": zeros(padded),
            "done": zeros(padded, dtype=torch.int64),
            "time_out": zeros(padded, dtype=torch.bool),
        }
        self._task = {name: rows[:n] for name, rows in self._rows.items()}
        self._task |= {name: rows[:, :n].T for name, rows in self._lanes.items()}
        if self.device.type == "cpu":  # views of the same memory
            self._host_done, self._host_finished = self._task["done"].numpy(), self._task["finished"].numpy()


def _with_columns(saved: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return a state of an earlier version with the columns that it lacks, as zeros."""
    if saved.shape[0] != own.shape[0] or saved.shape[1] >= own.shape[1]:
        return saved
    return torch.cat([saved, saved.new_zeros(len(saved), own.shape[1] - saved.shape[1])], dim=1)
