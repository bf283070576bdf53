"""When the host waits for a GPU: on one that is pretended, so that this needs none."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from foundation.distill import DaggerRunner
from foundation.distill.fast.deferred_rollout import DeferredCollector
from foundation.distill.history.aggregated_buffer import AggregatedBuffer
from foundation.tasks.point_ctrl.episode_log import DeferredEpisodeLog
from tests.support.pretend_gpu import GPU, PretendGpu
from tests.support.toy import RNN, TimedEnv, runner_cfg

ITERATIONS = 8  # of 60 transitions each: the history is full after four of them
OPTIONS = {
    "phase1_iterations": 2,
    "max_buffer_size": 270,
    "mini_batch_size": 16,
    "max_updates_per_iteration": 5,
    "gradient_length": 5,
}
GRU = {**RNN, "rnn_type": "gru"}
AT_THE_END = {"aten._to_copy": 1}


class DeviceEnv(TimedEnv):
    """A point that moves by its action, on a device that it never waits for."""

    num_actions = 2
    max_episode_length = 12
    capturable = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(num_envs=6, seed=0)
        self.device = device
        self.episode_length_buf = self.episode_length_buf.to(device)
        self.place = torch.randn(self.num_envs, 2, device=device)

    def get_observations(self) -> TensorDict:
        distractor = torch.full((self.num_envs, 1), 3.0, device=self.device)
        obs = {"student": torch.cat([self.place, distractor], -1), "teacher": self.place.clone()}
        return TensorDict(obs, batch_size=[self.num_envs], device=self.device)

    def step(self, actions):
        self.place.add_(0.1 * actions)
        self.episode_length_buf += 1
        done = self.episode_length_buf >= self.max_episode_length
        self.episode_length_buf.masked_fill_(done, 0)
        reward = -self.place.norm(dim=-1)
        fresh = torch.randn(self.num_envs, 2, device=self.device)
        self.place.copy_(torch.where(done[:, None], fresh, self.place))
        return self.get_observations(), reward, done.long(), {"time_outs": done}


class Iterations:
    """A run's iterations as the runner makes them, on some device."""

    def __init__(
        self, device: torch.device, env: type[DeviceEnv] = DeviceEnv, cuda_graph: bool = False, **cfg
    ) -> None:
        torch.manual_seed(0)
        cfg = runner_cfg(**(OPTIONS | cfg)) | {"cuda_graph": cuda_graph}
        self.runner = DaggerRunner(env(device), cfg, None, str(device))
        self.runner.alg.teacher_loaded = True
        self._obs = self.runner.env.get_observations()
        self._collector = DeferredCollector(
            self.runner.env, self.runner.alg, self.runner.logger, str(device), True, cuda_graph
        )

    def collect(self) -> None:
        self._obs = self._collector.collect(self._obs)

    def update(self) -> float:
        return self.runner.alg.update()["behavior"]


@pytest.mark.parametrize("student", [{}, GRU], ids=["feed-forward", "GRU"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampling": "uniform"},
        {"sampling": "recency", "recency_half_life": 2.0},
        {"sampling": "loss"},
        {"loss_type": "huber", "store_teacher_obs": True, "max_updates_per_iteration": None},
    ],
    ids=lambda options: " ".join(options) or "defaults",
)
def test_an_iteration_waits_for_the_gpu_once_when_it_ends(student, options):
    with PretendGpu() as gpu:
        run = Iterations(GPU, student=student, **options)
        for _ in range(ITERATIONS):
            gpu.waits.clear()
            run.collect()
            assert gpu.waits == {}
            run.update()
            assert gpu.waits == AT_THE_END
        assert run.runner.alg.buffer_size > 0.9 * OPTIONS["max_buffer_size"]


def test_looking_at_every_gradient_step_would_be_noticed():
    with PretendGpu() as gpu:
        run = Iterations(GPU, on_nan="skip")
        run.collect()
        gpu.waits.clear()
        run.update()
    assert gpu.waits["aten._local_scalar_dense"] >= OPTIONS["max_updates_per_iteration"]


@pytest.mark.parametrize("student", [{}, GRU], ids=["feed-forward", "GRU"])
def test_a_run_on_the_gpu_computes_what_one_on_the_cpu_does(student):
    # Passes draw in another order there; that they visit every row is for the test below.
    options = {"student": student, "sampling": "uniform"}
    on_cpu = Iterations(torch.device("cpu"), **options)
    expected = [(on_cpu.collect(), on_cpu.update())[1] for _ in range(ITERATIONS)]
    with PretendGpu():
        on_gpu = Iterations(GPU, **options)
        got = [(on_gpu.collect(), on_gpu.update())[1] for _ in range(ITERATIONS)]
        weights = {name: value.cpu() for name, value in on_gpu.runner.alg.student.state_dict().items()}
    assert got == pytest.approx(expected, rel=1e-5)
    for name, value in on_cpu.runner.alg.student.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("asked", ["in time", "never", "too early"])
def test_a_pass_on_the_gpu_is_one_over_the_set_of_rows_not_visited_yet(asked):
    size, rollout, turns = 100, 30, 40
    not_visited: set[int] = set()

    def rows() -> TensorDict:
        return TensorDict({"x": torch.zeros(rollout, 1, device=GPU)}, batch_size=[rollout], device=GPU)

    def visit(count: int) -> None:
        for _ in buffer.mini_batches(10, count):
            slots = buffer.last_slots.cpu().tolist()
            assert len(set(slots)) == len(slots)
            assert set(slots) <= not_visited
            not_visited.difference_update(slots)
            if not not_visited:
                not_visited.update(range(len(buffer)))
        assert buffer.sampler.num_pending == len(not_visited)

    with PretendGpu() as gpu:
        buffer = AggregatedBuffer(rows(), size, GPU)
        for turn in range(turns):
            counts = {name: float(count) for name, count in buffer.sampler.device_scalars().items()}
            if asked != "never":
                buffer.sampler.receive(counts)
            if asked == "too early" and turn:
                visit(3)
            gpu.waits.clear()
            buffer.append(rows())
            not_visited |= {slot % size for slot in range(rollout * turn, rollout * (turn + 1))}
            buffer.sampler.add_new_rows()
            assert (gpu.waits == {}) == (asked == "in time" or turn < size // rollout)
            visit(3)


def test_an_optimiser_whose_saved_state_was_not_fused_goes_on_fused():
    plain = DaggerRunner(DeviceEnv(torch.device("cpu")), runner_cfg(use_dagger=False, gradient_length=5), None)
    plain.alg.teacher_loaded = True
    plain.learn(1)
    run = Iterations(torch.device("cpu"))
    run.runner.alg.nan_guard.defers = True
    run.runner.alg.load(plain.alg.save(), None, True)
    assert all(group["fused"] for group in run.runner.alg.optimizer.param_groups)
    run.collect()
    assert run.update() > 0.0


class ReplacingEnv(DeviceEnv):
    """The same environment, whose state does not stay where it is."""

    def step(self, actions):
        self.place = self.place.clone()
        return super().step(actions)


def weights_and_losses(**options) -> tuple[list[float], list[torch.Tensor]]:
    with PretendGpu():
        run = Iterations(GPU, sampling="uniform", **options)
        losses = [(run.collect(), run.update())[1] for _ in range(ITERATIONS)]
        return losses, [value.cpu() for value in run.runner.alg.student.state_dict().values()]


def test_a_rollout_repeated_as_a_graph_is_the_one_that_its_steps_would_give():
    losses, weights = weights_and_losses()
    assert losses[0] != losses[-1]
    repeated_losses, repeated_weights = weights_and_losses(cuda_graph=True)
    assert repeated_losses == losses
    assert all(torch.equal(a, b) for a, b in zip(weights, repeated_weights, strict=True))


def test_an_environment_that_moves_its_state_would_be_noticed():
    losses, _ = weights_and_losses(env=ReplacingEnv)
    repeated, _ = weights_and_losses(env=ReplacingEnv, cuda_graph=True)
    assert repeated != losses


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"student": GRU}, "no plain MLPModel"),
        ({"teacher_schedule": "linear"}, "teacher_schedule is linear, not two_stage"),
        ({"disagreement_threshold": 0.5}, "disagreement_threshold is set"),
        ({"use_dagger": False}, "use_dagger is off"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(options, reason):
    with PretendGpu(), pytest.raises(ValueError, match=f"cuda_graph=True cannot take effect.*{reason}"):
        Iterations(GPU, cuda_graph=True, **options)


def test_a_graph_without_a_gpu_or_of_an_environment_that_does_not_say_it_can_be_is_refused():
    class Silent(DeviceEnv):
        capturable = False

    with pytest.raises(ValueError, match=r"the device is cpu; Silent\.capturable is missing or false"):
        Iterations(torch.device("cpu"), env=Silent, cuda_graph=True)


def test_metrics_of_a_repeated_step_are_worked_out_anew():
    finished, done = torch.zeros(3, 7), torch.tensor([0, 1, 0])
    finished[1, 0] = 5.0
    log = DeferredEpisodeLog(finished, done)
    assert log["Episode/return"].tolist() == [5.0]
    finished[1, 0] = 7.0
    assert log["Episode/return"].tolist() == [5.0]
    log.invalidate()
    assert log["Episode/return"].tolist() == [7.0]
