"""When the host waits for a GPU: on one that is pretended, so that this needs none."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from foundation.distill import DaggerRunner
from foundation.distill.buffer import SLOT, AggregatedBuffer
from foundation.distill.collector import Collector
from tests.distill.toy import RNN, TimedEnv, runner_cfg
from tests.pretend_gpu import GPU, PretendGpu

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
        self.place = self.place + 0.1 * actions
        self.episode_length_buf += 1
        done = self.episode_length_buf >= self.max_episode_length
        self.episode_length_buf.masked_fill_(done, 0)
        reward = -self.place.norm(dim=-1)
        self.place = torch.where(done[:, None], torch.randn(self.num_envs, 2, device=self.device), self.place)
        return self.get_observations(), reward, done.long(), {"time_outs": done}


class Iterations:
    """A run's iterations as the runner makes them, on some device."""

    def __init__(self, device: torch.device, **cfg) -> None:
        torch.manual_seed(0)
        self.runner = DaggerRunner(DeviceEnv(device), runner_cfg(**(OPTIONS | cfg)), None, str(device))
        self.runner.alg.teacher_loaded = True
        self._obs = self.runner.env.get_observations()
        self._collector = Collector(self.runner.env, self.runner.alg, self.runner.logger, str(device), True)

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


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_pass_on_the_gpu_is_one_over_the_set_of_rows_not_visited_yet(foreseen):
    size, rollout, turns = 100, 30, 40

    def rows() -> TensorDict:
        return TensorDict({"x": torch.zeros(rollout, 1, device=GPU)}, batch_size=[rollout], device=GPU)

    with PretendGpu() as gpu:
        buffer = AggregatedBuffer(rows(), size, GPU)
        not_visited: set[int] = set()
        for turn in range(turns):
            numbers = {name: float(number) for name, number in buffer.upcoming(rollout).items()}
            if foreseen:
                buffer.foresee(numbers)
            gpu.waits.clear()
            buffer.append(rows())
            not_visited |= {slot % size for slot in range(rollout * turn, rollout * (turn + 1))}
            for batch in buffer.mini_batches(10, 3, with_slots=True):
                assert gpu.waits == {} or not foreseen
                slots = batch[SLOT].cpu().tolist()
                gpu.waits.clear()
                assert len(set(slots)) == len(slots)
                assert set(slots) <= not_visited
                not_visited -= set(slots)
                if not not_visited:
                    not_visited = set(range(len(buffer)))
            assert buffer.sampler._num_waiting == len(not_visited)
