"""The position-control environment in eager torch, without kernels, for comparison.

The same dynamics, integrator, reward, bounds, resets, noise and observations as
:class:`foundation.tasks.point_ctrl.point_ctrl_env.PointCtrlEnv`, batched over environments.
"""

from __future__ import annotations

from dataclasses import fields

import torch

from foundation.control.rotations import product
from foundation.sim.layout import STATE
from foundation.sim.params import GRAVITY
from foundation.sim.reference import QuadState
from foundation.tasks.point_ctrl.layout import TEACHER, Observed

INTEGRATED = [field.name for field in fields(QuadState)]
"""The state without the disturbance force, which is constant."""


def rotation_matrix(quat: torch.Tensor) -> torch.Tensor:
    x, y, z, w = torch.nn.functional.normalize(quat, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, dim=-1).view(-1, 3, 3)


class EagerEnv:
    """A copy of another environment's vehicles, state and configuration; see the module."""

    def __init__(self, env) -> None:
        """Copy the vehicles, state and configuration of ``env``."""
        self.cfg, self.num_envs, self.dt = env.cfg, env.num_envs, env.sim.dt
        for name in STATE:
            setattr(self, name, getattr(env.sim, name).clone(memory_format=torch.contiguous_format))
        self.vehicle = env.sim.vehicle.long()
        params = env.sim.params

        def tensor(values) -> torch.Tensor:
            return torch.as_tensor(values, dtype=torch.float32, device=env.device)

        x, y = params.rotor_pos_b[..., 0], params.rotor_pos_b[..., 1]
        self.table = {
            "mass": tensor(params.mass)[:, None],
            "inertia": tensor(params.inertia),
            "inertia_inv": torch.linalg.inv(tensor(params.inertia).double()).float(),
            "rotor_x": tensor(x),
            "rotor_y": tensor(y),
            "reaction": tensor(-params.torque_constant[:, None] * params.rotor_spin),
            "curve": tensor(params.thrust_curve),
            "tau_up": tensor(params.tau_up)[:, None],
            "tau_down": tensor(params.tau_down)[:, None],
            "drag": tensor(params.drag),
            "force_std": tensor(params.force_std)[:, None],
            "hover": tensor(params.hover_speed)[:, None],
        }
        obs = env.get_observations()["teacher"]
        self.previous_action = obs[:, Observed.PREVIOUS_ACTION : Observed.ROTOR].clone()
        self.descriptors = torch.zeros(len(params), TEACHER["descriptors"], device=env.device)
        self.descriptors[self.vehicle] = obs[:, Observed.DESCRIPTORS :]
        self.length = env.episode_length_buf.clone()
        self.total = torch.zeros(self.num_envs, device=env.device)
        self.vehicles = self.rows(self.vehicle)

    def rows(self, vehicle: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parameters of these vehicles."""
        return {name: values[vehicle] for name, values in self.table.items()}

    def derivative(self, s: tuple, command: torch.Tensor) -> tuple:
        """Return the state's time derivative; see ``foundation.sim.reference.derivative``."""
        _, quat, vel_w, ang_vel, rotor = s
        v = self.vehicles
        rotation = rotation_matrix(quat)
        c0, c1, c2 = v["curve"].split(1, dim=-1)
        thrust = c0 + rotor * (c1 + rotor * c2)
        force_b = -v["drag"] * (rotation.mT @ vel_w[..., None])[..., 0]
        force_b[:, 2] += thrust.sum(-1)
        acc_w = ((rotation @ force_b[..., None])[..., 0] + self.force_w) / v["mass"]
        acc_w[:, 2] -= GRAVITY
        torque = torch.stack(
            [(v["rotor_y"] * thrust).sum(-1), -(v["rotor_x"] * thrust).sum(-1), (v["reaction"] * thrust).sum(-1)],
            dim=-1,
        )
        gyroscopic = torch.linalg.cross(ang_vel, (v["inertia"] @ ang_vel[..., None])[..., 0])
        ang_acc = (v["inertia_inv"] @ (torque - gyroscopic)[..., None])[..., 0]
        tau = torch.where(command > rotor, v["tau_up"], v["tau_down"])
        spin = torch.nn.functional.pad(0.5 * ang_vel, (0, 1))
        return vel_w, product(quat, spin), acc_w, ang_acc, (command - rotor) / tau

    def rk4(self, s: tuple, command: torch.Tensor, dt: float) -> tuple:
        """Return the state ``dt`` seconds later."""

        def plus(rate: tuple, step: float) -> tuple:
            return tuple(torch.add(value, change, alpha=step) for value, change in zip(s, rate, strict=True))

        k1 = self.derivative(s, command)
        k2 = self.derivative(plus(k1, dt / 2), command)
        k3 = self.derivative(plus(k2, dt / 2), command)
        k4 = self.derivative(plus(k3, dt), command)
        mean = tuple(a + 2 * (b + c) + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        pos, quat, vel, ang_vel, rotor = plus(mean, dt / 6)
        return pos, torch.nn.functional.normalize(quat, dim=-1), vel, ang_vel, rotor

    def step(self, actions: torch.Tensor) -> tuple:
        """Advance by one control step; see ``PointCtrlEnv.step``."""
        cfg, reward_cfg, bound = self.cfg, self.cfg.reward, self.cfg.termination
        action = actions.clamp(-1.0, 1.0)
        s = tuple(getattr(self, name) for name in INTEGRATED)
        for _ in range(cfg.sim.substeps):
            s = self.rk4(s, 0.5 * action + 0.5, self.dt / cfg.sim.substeps)
        self.pos_w, self.quat_wb, self.vel_w, self.ang_vel_b, self.rotor = s
        self.length = self.length + 1

        heading = 2.0 * torch.acos((1.0 - self.quat_wb[:, 2].abs()).clamp(-1.0, 1.0))
        reward = reward_cfg.scale * (
            reward_cfg.alive
            - reward_cfg.position * self.pos_w.norm(dim=-1)
            - reward_cfg.attitude * heading
            - reward_cfg.action_rate * (action - self.previous_action).square().sum(-1)
        )
        inside = (
            (self.pos_w.abs() <= bound.position).all(-1)
            & (self.vel_w.abs() <= bound.velocity).all(-1)
            & (self.ang_vel_b.abs() <= bound.angular_velocity).all(-1)
        )
        time_out = inside & (self.length >= cfg.max_episode_length)
        done = ~inside | time_out
        reward = torch.where(inside, reward, reward_cfg.scale * reward_cfg.termination)
        self.total = self.total + reward
        self.previous_action = action
        ended = done.nonzero()[:, 0]
        log = {}
        if len(ended):
            log = {"Episode/return": self.total[ended], "Episode/survival": time_out[ended].float()}
            self.reset(ended)
        return self.observations(), reward, done.long(), {"time_outs": time_out, "log": log}

    def reset(self, i: torch.Tensor) -> None:
        """Reset the environments ``i``."""
        n, init, device = len(i), self.cfg.init, self.pos_w.device

        def symmetric(width: int) -> torch.Tensor:
            return 2.0 * torch.rand(n, width, device=device) - 1.0

        away = (torch.rand(n, 1, device=device) >= init.origin_probability).float()
        self.vehicle[i] = torch.randint(len(self.descriptors), (n,), device=device)
        fresh = self.rows(self.vehicle[i])
        for name, values in fresh.items():
            self.vehicles[name][i] = values
        angle = 0.5 * init.tilt * away * torch.rand(n, 1, device=device)
        axis = torch.nn.functional.normalize(torch.randn(n, 3, device=device), dim=-1)
        self.pos_w[i] = init.position * away * symmetric(3)
        self.quat_wb[i] = torch.cat([axis * angle.sin(), angle.cos()], dim=-1)
        self.vel_w[i] = init.velocity * away * symmetric(3)
        self.ang_vel_b[i] = init.angular_velocity * away * symmetric(3)
        low, high = init.rotor
        rotor = (fresh["hover"] * (low + (high - low) * torch.rand(n, 4, device=device))).clamp(max=1.0)
        self.rotor[i] = rotor
        self.previous_action = self.previous_action.index_copy(0, i, 2.0 * rotor - 1.0)
        self.force_w[i] = fresh["force_std"] * torch.randn(n, 3, device=device)
        self.length[i] = 0
        self.total[i] = 0.0

    def observations(self) -> dict[str, torch.Tensor]:
        """Return the observations of both groups, with new noise."""
        noise = self.cfg.noise
        matrix = rotation_matrix(self.quat_wb).view(-1, 9)
        exact = torch.cat([self.pos_w, matrix, self.vel_w, self.ang_vel_b, self.previous_action], dim=-1)
        force = self.force_w / (self.vehicles["mass"] * GRAVITY)
        teacher = torch.cat([exact, self.rotor, force, self.descriptors[self.vehicle]], dim=-1)
        p, a, v, w = torch.randn(4, self.num_envs, 3, device=self.pos_w.device)
        turn = torch.nn.functional.pad(0.5 * noise.attitude * a, (0, 1), value=1.0)
        student = torch.cat(
            [
                self.pos_w + noise.position * p,
                rotation_matrix(product(self.quat_wb, turn)).view(-1, 9),
                self.vel_w + noise.velocity * v,
                self.ang_vel_b + noise.angular_velocity * w,
                self.previous_action,
            ],
            dim=-1,
        )
        return {"student": student, "teacher": teacher}
