"""The fused environment step: action, physics, reward, termination, masked reset, observations.

One launch advances every environment. Each has a random generator of its own, a key and a counter, so that its
future depends on nothing but its own past. Environments are advanced in blocks; see :mod:`foundation.sim.lanes`.
Only a reset, which is rare, works on one environment at a time.
"""

import functools
from types import SimpleNamespace
from typing import Any

import warp as wp

from foundation.sim import kernels as sim
from foundation.sim.lanes import (  # mul is the operator *
    MODULE_OPTIONS,
    gaussian_pair,
    lane_module,
    mul,  # noqa: F401
    random_bits,
    root,
    unit_uniform,
)

wp.set_module_options(MODULE_OPTIONS)

STUDENT_DIM = wp.constant(22)
TEACHER_DIM = wp.constant(37)
NUM_DESCRIPTORS = wp.constant(8)

# Rows of the running episodes' array.
PREVIOUS_ACTION = wp.constant(0)
RETURN = wp.constant(4)
WINDOW_ERROR_SQ = wp.constant(5)
LAST_OUTSIDE = wp.constant(6)  # last step outside the settle radius
EPISODE_ROWS = 7

# Columns of the finished episodes' array.
FINISHED_RETURN = wp.constant(0)
FINISHED_SURVIVED = wp.constant(1)
FINISHED_SETTLED = wp.constant(2)
FINISHED_RMSE = wp.constant(3)
FINISHED_SETTLE_TIME = wp.constant(4)
FINISHED_LENGTH = wp.constant(5)
FINISHED_COLUMNS = 6

# Rows of the generators' array.
KEY = wp.constant(0)
COUNTER = wp.constant(1)

OBSERVATION_DRAWS = wp.constant(wp.uint32(12))
RESET_DRAWS = wp.constant(wp.uint32(22))


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
class VehicleTraits:
    """What the task needs to know of V vehicles besides their dynamics."""

    hover_speed: wp.array(dtype=wp.float32)
    descriptors: wp.array2d(dtype=wp.float32)


@functools.cache
def types(lanes: int) -> SimpleNamespace:
    """Return the arrays of blocks of ``lanes`` environments, and the kernels that work on them."""
    block_types = sim.types(lanes)
    lane = block_types.lane
    integer_lane = wp.types.vector(length=lanes, dtype=wp.uint32)

    @wp.struct
    class TaskArrays:
        """What the task remembers of all environments, and what it reports."""

        rng: wp.array2d(dtype=integer_lane)  # (2, number of blocks)
        rng_scalars: wp.array2d(dtype=wp.uint32)  # the same memory, (2, number of lanes)
        # Running episode.
        episode: wp.array2d(dtype=lane)  # (EPISODE_ROWS, number of blocks)
        episode_scalars: wp.array2d(dtype=wp.float32)  # the same memory, (EPISODE_ROWS, number of lanes)
        length: wp.array(dtype=wp.int64)
        finished: wp.array2d(dtype=wp.float32)  # last finished episodes, (number of lanes, FINISHED_COLUMNS)
        # This step.
        reward: wp.array(dtype=wp.float32)
        done: wp.array(dtype=wp.int64)
        time_out: wp.array(dtype=wp.bool)

    @wp.kernel(module=lane_module(__name__, lanes))
    def observe_all(
        arrays: block_types.StateArrays,
        traits: VehicleTraits,
        task: TaskArrays,
        cfg: TaskCfg,
        anew: wp.bool,
        student: wp.uint64,
        teacher: wp.uint64,
        first_block: int,
    ):
        """Observe a block of environments as they are, or ``anew``: each at the beginning of an episode."""
        block = first_block + wp.tid()
        if anew:
            next_noise(block, task)
            for i in range(block * wp.static(lanes), (block + 1) * wp.static(lanes)):
                reset_env(i, arrays, traits, task, cfg)
        observe(block, arrays, traits, task, cfg, student, teacher, block_types.State())

    @wp.kernel(module=lane_module(__name__, lanes))
    def env_step(
        arrays: block_types.StateArrays,
        traits: VehicleTraits,
        task: TaskArrays,
        actions: wp.array2d(dtype=wp.float32),
        cfg: TaskCfg,
        integrator: sim.Integrator,
        student: wp.uint64,
        teacher: wp.uint64,
        first_block: int,
    ):
        """Advance a block of environments by one control step; finished ones begin anew.

        ``student`` and ``teacher`` are the addresses of new observations, (number of lanes, 22) and
        (number of lanes, 37): the step's largest results are written once, where the caller will find them.
        """
        block = first_block + wp.tid()
        next_noise(block, task)
        before = sim.load_state(arrays, block, block_types.State())
        vehicle = sim.load_vehicle(arrays, block, block_types.Vehicle())
        action = sim.clamped4(sim.load_vec4(actions, block, before.rotor), -1.0, 1.0)
        s = sim.advance(before, rotor_command(action), vehicle, integrator)
        sim.store_state(arrays, block, s)
        judge(block, s, action, task, cfg)
        for i in range(block * wp.static(lanes), (block + 1) * wp.static(lanes)):
            if task.done[i] != wp.int64(0):
                finish_episode(i, task, cfg, integrator.dt)
                reset_env(i, arrays, traits, task, cfg)
        observe(block, arrays, traits, task, cfg, student, teacher, s)

    return SimpleNamespace(**locals())


@wp.func
def rotor_command(action: Any):
    """Return rotor speeds in [0, 1] for actions in [-1, 1]."""
    half = type(action.x)(0.5)
    return type(action)(action.x * 0.5 + half, action.y * 0.5 + half, action.z * 0.5 + half, action.w * 0.5 + half)


@wp.func
def within(v: Any, lane: int, bound: wp.float32):
    # False for NaN.
    return wp.abs(v.x[lane]) <= bound and wp.abs(v.y[lane]) <= bound and wp.abs(v.z[lane]) <= bound


@wp.func
def heading_error(quat_wb: Any):
    """Return 2 acos(1 - |q_z|) [rad].

    acos(x) = sqrt(1 - x) times a polynomial, exact to 2e-8: Abramowitz and Stegun, 4.4.46.
    """
    z = wp.abs(quat_wb.z)
    x = type(z)(1.0) - z
    p = x * -0.0012624911 + type(z)(0.0066700901)
    p = p * x - type(z)(0.0170881256)
    p = p * x + type(z)(0.0308918810)
    p = p * x - type(z)(0.0501743046)
    p = p * x + type(z)(0.0889789874)
    p = p * x - type(z)(0.2145988016)
    p = p * x + type(z)(1.5707963050)
    return root(z) * p * 2.0


@wp.func
def step_reward(s: Any, distance: Any, action: Any, previous_action: Any, cfg: TaskCfg):
    """Return the reward of a step that does not fail."""
    change = sim.plus4(action, previous_action, -1.0)
    return (
        type(distance)(cfg.reward_alive)
        - distance * cfg.reward_position
        - heading_error(s.quat_wb) * cfg.reward_attitude
        - sim.dot4(change, change) * cfg.reward_action_rate
    ) * cfg.reward_scale


@wp.func
def load_previous_action(task: Any, block: int, like: Any):
    return type(like)(
        task.episode[PREVIOUS_ACTION, block],
        task.episode[PREVIOUS_ACTION + 1, block],
        task.episode[PREVIOUS_ACTION + 2, block],
        task.episode[PREVIOUS_ACTION + 3, block],
    )


@wp.func
def judge(block: int, s: Any, action: Any, task: Any, cfg: TaskCfg):
    """Write reward, done and time-out of a step, and carry the running episodes on."""
    distance = root(sim.dot3(s.pos_w, s.pos_w))
    reward = step_reward(s, distance, action, load_previous_action(task, block, action), cfg)
    last_outside = task.episode[LAST_OUTSIDE, block]
    in_window = type(distance)()
    first = block * len(distance)
    for lane in range(len(distance)):
        i = first + lane
        length = task.length[i] + wp.int64(1)
        failed = not (
            within(s.pos_w, lane, cfg.max_position)
            and within(s.vel_w, lane, cfg.max_velocity)
            and within(s.ang_vel_b, lane, cfg.max_angular_velocity)
        )
        time_out = (not failed) and length >= cfg.max_length
        reward[lane] = wp.where(failed, cfg.reward_scale * cfg.reward_termination, reward[lane])
        last_outside[lane] = wp.where(distance[lane] > cfg.settle_radius, float(length), last_outside[lane])
        in_window[lane] = wp.where(length > cfg.max_length - cfg.window_steps, 1.0, 0.0)
        task.length[i] = length
        task.reward[i] = reward[lane]
        task.time_out[i] = time_out
        task.done[i] = wp.where(failed or time_out, wp.int64(1), wp.int64(0))

    task.episode[PREVIOUS_ACTION, block] = action.x
    task.episode[PREVIOUS_ACTION + 1, block] = action.y
    task.episode[PREVIOUS_ACTION + 2, block] = action.z
    task.episode[PREVIOUS_ACTION + 3, block] = action.w
    task.episode[RETURN, block] = task.episode[RETURN, block] + reward
    task.episode[WINDOW_ERROR_SQ, block] = task.episode[WINDOW_ERROR_SQ, block] + distance * distance * in_window
    task.episode[LAST_OUTSIDE, block] = last_outside


@wp.func
def finish_episode(i: int, task: Any, cfg: TaskCfg, dt: wp.float32):
    """Keep the metrics of an episode that ended in this step."""
    last_outside = task.episode_scalars[LAST_OUTSIDE, i]
    length = float(task.length[i])
    task.finished[i, FINISHED_RETURN] = task.episode_scalars[RETURN, i]
    survived = task.time_out[i]
    task.finished[i, FINISHED_SURVIVED] = wp.where(survived, 1.0, 0.0)
    task.finished[i, FINISHED_SETTLED] = wp.where(survived and last_outside != length, 1.0, 0.0)
    task.finished[i, FINISHED_RMSE] = wp.sqrt(task.episode_scalars[WINDOW_ERROR_SQ, i] / float(cfg.window_steps))
    task.finished[i, FINISHED_SETTLE_TIME] = last_outside * dt
    task.finished[i, FINISHED_LENGTH] = length


@wp.func(inline=False)
def reset_env(i: int, arrays: Any, traits: VehicleTraits, task: Any, cfg: TaskCfg):
    """Draw a vehicle, a disturbance force and a first state, and forget the finished episode."""
    key = task.rng_scalars[KEY, i]
    counter = task.rng_scalars[COUNTER, i]
    vehicle = wp.min(int(uniform(key, counter, 0) * float(cfg.num_vehicles)), cfg.num_vehicles - 1)
    off_origin = wp.where(uniform(key, counter, 1) < cfg.init_origin_probability, 0.0, 1.0)
    force_x, force_y = gaussian_pair(key, counter, 2, 0.0)
    force_z, _unused = gaussian_pair(key, counter, 4, 0.0)
    force_std = arrays.table[vehicle, sim.FORCE_STD]
    force_w = wp.vec3(force_x, force_y, force_z) * force_std
    attitude = wp.quat_from_axis_angle(
        random_axis(uniform(key, counter, 6), uniform(key, counter, 7)),
        uniform(key, counter, 8) * cfg.init_tilt * off_origin,
    )
    for k in range(3):
        arrays.scalars[sim.POS_W + k, i] = (
            cfg.init_position * off_origin * (2.0 * uniform(key, counter, 9 + k) - 1.0)
        )
        arrays.scalars[sim.VEL_W + k, i] = (
            cfg.init_velocity * off_origin * (2.0 * uniform(key, counter, 12 + k) - 1.0)
        )
        arrays.scalars[sim.ANG_VEL_B + k, i] = (
            cfg.init_angular_velocity * off_origin * (2.0 * uniform(key, counter, 15 + k) - 1.0)
        )
        arrays.scalars[sim.FORCE_W + k, i] = force_w[k]
    for k in range(4):
        share = cfg.init_rotor_low + (cfg.init_rotor_high - cfg.init_rotor_low) * uniform(key, counter, 18 + k)
        rotor = wp.min(traits.hover_speed[vehicle] * share, 1.0)
        arrays.scalars[sim.QUAT_WB + k, i] = attitude[k]
        arrays.scalars[sim.ROTOR + k, i] = rotor
        # The command that would have kept the rotors at their speeds.
        task.episode_scalars[PREVIOUS_ACTION + k, i] = 2.0 * rotor - 1.0
    arrays.vehicle[i] = vehicle
    task.length[i] = wp.int64(0)
    task.episode_scalars[RETURN, i] = 0.0
    task.episode_scalars[WINDOW_ERROR_SQ, i] = 0.0
    task.episode_scalars[LAST_OUTSIDE, i] = 0.0
    task.rng_scalars[COUNTER, i] = counter + RESET_DRAWS


@wp.func
def uniform(key: wp.uint32, counter: wp.uint32, index: int):
    return unit_uniform(random_bits(key, counter, index), 0.0)


@wp.func
def random_axis(first: wp.float32, second: wp.float32):
    """Return a unit vector, uniform on the sphere for two uniform numbers in [0, 1): Archimedes' cylinder."""
    z = 2.0 * first - 1.0
    angle = 6.283185307179586 * second
    radius = wp.sqrt(wp.max(1.0 - z * z, 0.0))
    return wp.vec3(radius * wp.cos(angle), radius * wp.sin(angle), z)


@wp.func
def put(rows: wp.array2d(dtype=wp.float32), block: int, k: int, values: Any):
    """Write one number per lane into column ``k`` of a block's rows."""
    first = block * len(values)
    for lane in range(len(values)):
        rows[first + lane, k] = values[lane]


@wp.func
def put3(rows: wp.array2d(dtype=wp.float32), block: int, k: int, v: Any):
    put(rows, block, k, v.x)
    put(rows, block, k + 1, v.y)
    put(rows, block, k + 2, v.z)


@wp.func
def put4(rows: wp.array2d(dtype=wp.float32), block: int, k: int, v: Any):
    put(rows, block, k, v.x)
    put(rows, block, k + 1, v.y)
    put(rows, block, k + 2, v.z)
    put(rows, block, k + 3, v.w)


@wp.func
def put_motion(rows: wp.array2d(dtype=wp.float32), block: int, s: Any, previous_action: Any):
    """Write position error, rotation matrix, velocity, angular velocity and previous action: 22 numbers."""
    q = s.quat_wb
    one = type(q.x)(1.0)
    put3(rows, block, 0, s.pos_w)
    put(rows, block, 3, one - (q.y * q.y + q.z * q.z) * 2.0)
    put(rows, block, 4, (q.x * q.y - q.w * q.z) * 2.0)
    put(rows, block, 5, (q.x * q.z + q.w * q.y) * 2.0)
    put(rows, block, 6, (q.x * q.y + q.w * q.z) * 2.0)
    put(rows, block, 7, one - (q.x * q.x + q.z * q.z) * 2.0)
    put(rows, block, 8, (q.y * q.z - q.w * q.x) * 2.0)
    put(rows, block, 9, (q.x * q.z - q.w * q.y) * 2.0)
    put(rows, block, 10, (q.y * q.z + q.w * q.x) * 2.0)
    put(rows, block, 11, one - (q.x * q.x + q.y * q.y) * 2.0)
    put3(rows, block, 12, s.vel_w)
    put3(rows, block, 15, s.ang_vel_b)
    put4(rows, block, 18, previous_action)


@wp.func
def next_noise(block: int, task: Any):
    """Leave behind the random numbers that the last observation took."""
    counter = task.rng[COUNTER, block]
    task.rng[COUNTER, block] = counter + type(counter)(OBSERVATION_DRAWS)


# Out of line: both kernels are to round alike, so that one repeats what the other observed.
@wp.func(inline=False)
def observe(
    block: int,
    arrays: Any,
    traits: VehicleTraits,
    task: Any,
    cfg: TaskCfg,
    student: wp.uint64,
    teacher: wp.uint64,
    like: Any,
):
    """Write both observations of a block; a function of the environments' state alone, noise included."""
    s = sim.load_state(arrays, block, like)
    previous_action = load_previous_action(task, block, s.rotor)
    count = arrays.vehicle.shape[0]

    rows = wp.array(ptr=teacher, shape=(count, TEACHER_DIM), dtype=wp.float32)
    put_motion(rows, block, s, previous_action)
    put4(rows, block, STUDENT_DIM, s.rotor)
    per_weight = sim.parameter(arrays, block, sim.MASS_INV, s.pos_w.x) * (1.0 / sim.GRAVITY)
    force_w = sim.state3(arrays, sim.FORCE_W, block, s.pos_w)
    put3(rows, block, STUDENT_DIM + 4, sim.scaled3(force_w, per_weight))
    for i in range(block * len(per_weight), (block + 1) * len(per_weight)):
        for k in range(NUM_DESCRIPTORS):
            rows[i, STUDENT_DIM + 7 + k] = traits.descriptors[arrays.vehicle[i], k]

    noisy = sensed(s, task.rng[KEY, block], task.rng[COUNTER, block], cfg)
    put_motion(wp.array(ptr=student, shape=(count, STUDENT_DIM), dtype=wp.float32), block, noisy, previous_action)


@wp.func
def sensed(s: Any, key: Any, counter: Any, cfg: TaskCfg):
    """Return the state with the sensors' noise."""
    like = s.pos_w.x
    p0, p1 = gaussian_pair(key, counter, 0, like)
    p2, a0 = gaussian_pair(key, counter, 2, like)
    a1, a2 = gaussian_pair(key, counter, 4, like)
    v0, v1 = gaussian_pair(key, counter, 6, like)
    v2, w0 = gaussian_pair(key, counter, 8, like)
    w1, w2 = gaussian_pair(key, counter, 10, like)
    half = 0.5 * cfg.noise_attitude
    turn = type(s.quat_wb)(a0 * half, a1 * half, a2 * half, type(like)(1.0))
    out = s
    out.pos_w = sim.plus3(s.pos_w, type(s.pos_w)(p0, p1, p2), cfg.noise_position)
    out.quat_wb = sim.unit_quaternion(sim.quaternion_product(s.quat_wb, turn))
    out.vel_w = sim.plus3(s.vel_w, type(s.pos_w)(v0, v1, v2), cfg.noise_velocity)
    out.ang_vel_b = sim.plus3(s.ang_vel_b, type(s.pos_w)(w0, w1, w2), cfg.noise_angular_velocity)
    return out
