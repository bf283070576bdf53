"""The fused environment step: action, physics, reward, termination, masked reset, observations.

One launch advances every environment. Randomness comes from one 32-bit generator state per environment,
so that an environment's future depends on nothing but its own past.
"""

from __future__ import annotations

import warp as wp

from foundation.sim import kernels as sim

wp.set_module_options({"enable_backward": False})

STUDENT_DIM = wp.constant(22)
NUM_DESCRIPTORS = wp.constant(8)


@wp.struct
class TaskCfg:
    """Scalars of :class:`foundation.tasks.point_ctrl.point_ctrl_env_cfg.PointCtrlEnvCfg`."""

    max_length: wp.int64
    window_steps: wp.int64
    settle_radius: wp.float32
    num_vehicles: wp.int32
    init_origin_probability: wp.float32
    init_position: wp.float32
    init_tilt: wp.float32
    init_velocity: wp.float32
    init_angular_velocity: wp.float32
    init_rotor_low: wp.float32
    init_rotor_high: wp.float32
    max_position: wp.float32
    max_velocity: wp.float32
    max_angular_velocity: wp.float32
    reward_scale: wp.float32
    reward_alive: wp.float32
    reward_position: wp.float32
    reward_attitude: wp.float32
    reward_action_rate: wp.float32
    reward_termination: wp.float32
    noise_position: wp.float32
    noise_attitude: wp.float32
    noise_velocity: wp.float32
    noise_angular_velocity: wp.float32


@wp.struct
class TaskArrays:
    """What the task remembers of N environments, and what it reports."""

    rng: wp.array(dtype=wp.uint32)
    previous_action: wp.array(dtype=wp.vec4)
    length: wp.array(dtype=wp.int64)
    # Running episode.
    episode_return: wp.array(dtype=wp.float32)
    window_error_sq: wp.array(dtype=wp.float32)
    last_outside: wp.array(dtype=wp.int64)
    # Last finished episode.
    done_return: wp.array(dtype=wp.float32)
    done_length: wp.array(dtype=wp.int64)
    done_survived: wp.array(dtype=wp.bool)
    done_rmse: wp.array(dtype=wp.float32)
    done_settle_step: wp.array(dtype=wp.int64)
    # This step.
    reward: wp.array(dtype=wp.float32)
    done: wp.array(dtype=wp.int64)
    time_out: wp.array(dtype=wp.bool)
    student_obs: wp.array2d(dtype=wp.float32)
    teacher_obs: wp.array2d(dtype=wp.float32)


@wp.struct
class VehicleTraits:
    """What the task needs to know of V vehicles besides their dynamics."""

    hover_speed: wp.array(dtype=wp.float32)
    descriptors: wp.array2d(dtype=wp.float32)


@wp.func
def out_of_bounds(v: wp.vec3, bound: wp.float32) -> wp.bool:
    # Written so that NaN is out of bounds.
    return not (wp.abs(v[0]) <= bound and wp.abs(v[1]) <= bound and wp.abs(v[2]) <= bound)


@wp.func
def step_reward(s: sim.State, action: wp.vec4, previous_action: wp.vec4, cfg: TaskCfg) -> wp.float32:
    """Return the reward of a step that does not fail, before scaling."""
    heading = 2.0 * wp.acos(wp.clamp(1.0 - wp.abs(s.quat_wb[2]), -1.0, 1.0))
    return (
        cfg.reward_alive
        - cfg.reward_position * wp.length(s.pos_w)
        - cfg.reward_attitude * heading
        - cfg.reward_action_rate * wp.length_sq(action - previous_action)
    )


# Warp passes a generator's state to a function by value: each of these returns the state to go on with.
@wp.func
def uniform_vec3(rng: wp.uint32, half_width: wp.float32):
    draw = wp.vec3(wp.randf(rng), wp.randf(rng), wp.randf(rng))
    return (2.0 * draw - wp.vec3(1.0, 1.0, 1.0)) * half_width, rng


@wp.func
def gaussian_pair(rng: wp.uint32):
    """Draw two standard normal numbers by Box and Muller's transform, at the cost of one ``wp.randn``."""
    radius = wp.sqrt(-2.0 * wp.log(1.0 - wp.randf(rng)))
    angle = 6.283185307179586 * wp.randf(rng)
    return wp.vec2(radius * wp.cos(angle), radius * wp.sin(angle)), rng


@wp.func
def gaussian_vec3_pair(rng: wp.uint32):
    first, rng1 = gaussian_pair(rng)
    second, rng2 = gaussian_pair(rng1)
    third, rng3 = gaussian_pair(rng2)
    return wp.vec3(first[0], first[1], second[0]), wp.vec3(second[1], third[0], third[1]), rng3


@wp.func
def reset_env(
    i: wp.int32,
    arrays: sim.StateArrays,
    table: sim.VehicleTable,
    traits: VehicleTraits,
    task: TaskArrays,
    cfg: TaskCfg,
):
    """Draw a vehicle, a disturbance force and a first state, and forget the finished episode."""
    rng = task.rng[i]
    vehicle = wp.min(int(wp.randf(rng) * float(cfg.num_vehicles)), cfg.num_vehicles - 1)
    direction, _unused, rng = gaussian_vec3_pair(rng)
    off_origin = wp.where(wp.randf(rng) < cfg.init_origin_probability, 0.0, 1.0)

    axis = wp.sample_unit_sphere_surface(rng)
    angle = wp.randf(rng) * cfg.init_tilt * off_origin
    hover = traits.hover_speed[vehicle]
    rotor = wp.vec4()
    command = wp.vec4()
    for k in range(4):
        rotor[k] = wp.min(hover * wp.randf(rng, cfg.init_rotor_low, cfg.init_rotor_high), 1.0)
        command[k] = 2.0 * rotor[k] - 1.0
    s = sim.State()
    pos_w, rng = uniform_vec3(rng, cfg.init_position * off_origin)
    vel_w, rng = uniform_vec3(rng, cfg.init_velocity * off_origin)
    ang_vel_b, rng = uniform_vec3(rng, cfg.init_angular_velocity * off_origin)
    s.pos_w = pos_w
    s.quat_wb = wp.quat_from_axis_angle(axis, angle)
    s.vel_w = vel_w
    s.ang_vel_b = ang_vel_b
    s.rotor = rotor

    sim.store_state(arrays, i, s)
    arrays.vehicle[i] = vehicle
    arrays.force_w[i] = direction * table.force_std[vehicle]
    # The command that would have kept the rotors at their speeds.
    task.previous_action[i] = command
    task.length[i] = wp.int64(0)
    task.episode_return[i] = 0.0
    task.window_error_sq[i] = 0.0
    task.last_outside[i] = wp.int64(0)
    task.rng[i] = rng


@wp.func
def write_motion(obs: wp.array2d(dtype=wp.float32), i: wp.int32, s: sim.State, previous_action: wp.vec4):
    """Write position error, rotation matrix, velocity, angular velocity and previous action: 22 numbers."""
    rotation = wp.quat_to_matrix(s.quat_wb)
    for k in range(3):
        obs[i, k] = s.pos_w[k]
        obs[i, 3 + 3 * k] = rotation[k, 0]
        obs[i, 4 + 3 * k] = rotation[k, 1]
        obs[i, 5 + 3 * k] = rotation[k, 2]
        obs[i, 12 + k] = s.vel_w[k]
        obs[i, 15 + k] = s.ang_vel_b[k]
    for k in range(4):
        obs[i, 18 + k] = previous_action[k]


@wp.func
def observe(
    i: wp.int32,
    arrays: sim.StateArrays,
    table: sim.VehicleTable,
    traits: VehicleTraits,
    task: TaskArrays,
    cfg: TaskCfg,
):
    s = sim.load_state(arrays, i)
    vehicle = arrays.vehicle[i]
    previous_action = task.previous_action[i]

    write_motion(task.teacher_obs, i, s, previous_action)
    force = arrays.force_w[i] / (table.mass[vehicle] * sim.GRAVITY)
    for k in range(4):
        task.teacher_obs[i, STUDENT_DIM + k] = s.rotor[k]
    for k in range(3):
        task.teacher_obs[i, STUDENT_DIM + 4 + k] = force[k]
    for k in range(NUM_DESCRIPTORS):
        task.teacher_obs[i, STUDENT_DIM + 7 + k] = traits.descriptors[vehicle, k]

    rng = task.rng[i]
    pos_noise, rotation_noise, rng = gaussian_vec3_pair(rng)
    vel_noise, ang_vel_noise, rng = gaussian_vec3_pair(rng)
    task.rng[i] = rng
    sensed = sim.State()
    sensed.pos_w = s.pos_w + pos_noise * cfg.noise_position
    sensed.quat_wb = wp.normalize(s.quat_wb * wp.quat(rotation_noise * (0.5 * cfg.noise_attitude), 1.0))
    sensed.vel_w = s.vel_w + vel_noise * cfg.noise_velocity
    sensed.ang_vel_b = s.ang_vel_b + ang_vel_noise * cfg.noise_angular_velocity
    write_motion(task.student_obs, i, sensed, previous_action)


@wp.kernel
def reset_all(
    arrays: sim.StateArrays,
    table: sim.VehicleTable,
    traits: VehicleTraits,
    task: TaskArrays,
    cfg: TaskCfg,
):
    """Begin a new episode in every environment."""
    i = wp.tid()
    reset_env(i, arrays, table, traits, task, cfg)
    observe(i, arrays, table, traits, task, cfg)


@wp.kernel
def env_step(
    arrays: sim.StateArrays,
    table: sim.VehicleTable,
    traits: VehicleTraits,
    task: TaskArrays,
    actions: wp.array(dtype=wp.vec4),
    cfg: TaskCfg,
    integrator: sim.Integrator,
):
    """Advance every environment by one control step; finished ones begin anew."""
    i = wp.tid()
    action = wp.vec4()
    command = wp.vec4()
    for k in range(4):
        action[k] = wp.clamp(actions[i][k], -1.0, 1.0)
        command[k] = 0.5 * action[k] + 0.5
    vehicle = sim.load_vehicle(table, arrays.vehicle[i])
    s = sim.advance(sim.load_state(arrays, i), command, vehicle, arrays.force_w[i], integrator)

    length = task.length[i] + wp.int64(1)
    failed = (
        out_of_bounds(s.pos_w, cfg.max_position)
        or out_of_bounds(s.vel_w, cfg.max_velocity)
        or out_of_bounds(s.ang_vel_b, cfg.max_angular_velocity)
    )
    time_out = (not failed) and length >= cfg.max_length
    reward = cfg.reward_scale * step_reward(s, action, task.previous_action[i], cfg)
    if failed:
        reward = cfg.reward_scale * cfg.reward_termination
    task.reward[i] = reward
    task.time_out[i] = time_out

    error = wp.length(s.pos_w)
    episode_return = task.episode_return[i] + reward
    window_error_sq = task.window_error_sq[i]
    if length > cfg.max_length - cfg.window_steps:
        window_error_sq = window_error_sq + error * error
    last_outside = task.last_outside[i]
    if error > cfg.settle_radius:
        last_outside = length

    if failed or time_out:
        task.done[i] = wp.int64(1)
        task.done_return[i] = episode_return
        task.done_length[i] = length
        task.done_survived[i] = time_out
        task.done_rmse[i] = wp.sqrt(window_error_sq / float(cfg.window_steps))
        # -1: the episode ended outside the settle radius.
        task.done_settle_step[i] = wp.where(last_outside == length, wp.int64(-1), last_outside)
        reset_env(i, arrays, table, traits, task, cfg)
    else:
        task.done[i] = wp.int64(0)
        sim.store_state(arrays, i, s)
        task.previous_action[i] = action
        task.length[i] = length
        task.episode_return[i] = episode_return
        task.window_error_sq[i] = window_error_sq
        task.last_outside[i] = last_outside
    observe(i, arrays, table, traits, task, cfg)
