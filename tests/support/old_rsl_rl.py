"""Write checkpoints with an earlier version of rsl_rl, and what its policies do.

Run with that version on the path, from the root of the repository::

    PYTHONPATH=.venv-rsl-rl/old/3.0.1 python -m tests.support.old_rsl_rl FOLDER

Each checkpoint ``<case>.pt`` is one that the version's own runner has trained and saved; ``<case>.expected`` has
observations, the actions of its policies for them, and the settings of the same network in rsl_rl 5.
"""

from __future__ import annotations

import copy
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rsl_rl
import torch
from rsl_rl.runners import OnPolicyRunner
from torch.distributions import Normal

_set_default_validate_args = Normal.set_default_validate_args
VERSION = Path(rsl_rl.__file__).parents[1].name
MAJOR = int(VERSION.split(".")[0])
ENVS, STEPS, ACTIONS, TEACHER_OBS, STUDENT_OBS = 6, 8, 2, 2, 3
GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 0.3}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"class_name": "MLPModel", "hidden_dims": [8, 7]},
    "gru": {
        "class_name": "RNNModel", "hidden_dims": [8], "rnn_type": "gru", "rnn_hidden_dim": 5, "rnn_num_layers": 2,
    },
    "lstm": {
        "class_name": "RNNModel", "hidden_dims": [8], "rnn_type": "lstm", "rnn_hidden_dim": 5, "rnn_num_layers": 1,
    },
}  # fmt: skip


class Env:
    """Observations that are noise; the shape of an environment is all that counts here."""

    num_envs, num_actions, max_episode_length, device = ENVS, ACTIONS, 5, "cpu"
    num_obs, num_privileged_obs = TEACHER_OBS, TEACHER_OBS

    def __init__(self, policy_obs: int) -> None:
        self.policy_obs, self.cfg, self.unwrapped = policy_obs, {}, self
        self.episode_length_buf = torch.zeros(ENVS, dtype=torch.long)

    def _groups(self) -> dict[str, torch.Tensor]:
        sizes = {"policy": self.policy_obs, "critic": TEACHER_OBS, "teacher": TEACHER_OBS}
        return {name: 2.0 * torch.randn(ENVS, size) + 1.0 for name, size in sizes.items()}

    def get_observations(self) -> Any:
        groups = self._groups()
        if MAJOR < 3:
            return groups["policy"], {"observations": groups}
        from tensordict import TensorDict

        return TensorDict(groups, batch_size=[ENVS])

    def reset(self) -> Any:
        return self.get_observations()

    def step(self, actions: torch.Tensor) -> Any:
        self.episode_length_buf += 1
        dones = (self.episode_length_buf >= self.max_episode_length).long()
        self.episode_length_buf[dones == 1] = 0
        rewards, obs = -actions.square().sum(-1), self.get_observations()
        if MAJOR < 3:
            return obs[0], rewards, dones, obs[1] | {"time_outs": dones}
        return obs, rewards, dones, {"time_outs": dones}


def old_cfg(model: dict[str, Any], distils: bool, student: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a runner's configuration of the version, for models as rsl_rl 5 configures them."""
    algorithm = {"class_name": "Distillation" if distils else "PPO", "num_learning_epochs": 1}
    cfg: dict[str, Any] = {
        "num_steps_per_env": STEPS,
        "save_interval": 100,
        "algorithm": algorithm,
        "logger": "tensorboard",
    }
    algorithm |= {"gradient_length": 4} if distils else {"num_mini_batches": 2, "rnd_cfg": None}
    if MAJOR >= 4:
        first, second = ("student", "teacher") if distils else ("actor", "critic")
        cfg[first], cfg[second] = _of_4(student or model), _of_4(model)
        if not distils:
            cfg[second]["stochastic"] = cfg[second]["state_dependent_std"] = False
        groups = {first: ["policy"], second: ["teacher"]}
        return cfg | {"obs_groups": groups}
    roles = {"student": student or model, "teacher": model} if distils else {"actor": model, "critic": model}
    normalizes = model["obs_normalization"]
    recurrent = "rnn_type" in roles[next(iter(roles))]
    noise, name = model["distribution_cfg"], "StudentTeacher" if distils else "ActorCritic"
    policy: dict[str, Any] = {"class_name": name + ("Recurrent" if recurrent else ""), "activation": "elu"}
    policy |= {f"{role}_hidden_dims": cfg_["hidden_dims"] for role, cfg_ in roles.items()}
    policy |= {"init_noise_std": noise["init_std"]}
    if noise.get("std_type") == "log":
        policy["noise_std_type"] = "log"
    if noise["class_name"].startswith("Hetero"):
        policy["state_dependent_std"] = True
    policy |= {key: value for key, value in roles[next(iter(roles))].items() if key.startswith("rnn_")}
    if distils and recurrent:
        policy["teacher_recurrent"] = "rnn_type" in model
    if MAJOR < 3:
        cfg["empirical_normalization"] = normalizes
    else:
        policy |= {f"{role}_obs_normalization": normalizes for role in roles}
        cfg["obs_groups"] = {"policy": ["policy"], "critic": ["critic"], "teacher": ["teacher"]}
    return cfg | {"policy": policy}


def _of_4(model: dict[str, Any]) -> dict[str, Any]:
    noise = model["distribution_cfg"]
    kept = {key: value for key, value in model.items() if key != "distribution_cfg"}
    return kept | {
        "stochastic": True,
        "init_noise_std": noise["init_std"],
        "noise_std_type": noise.get("std_type", "scalar"),
        "state_dependent_std": noise["class_name"].startswith("Hetero"),
    }


def train(cfg: dict[str, Any], policy_obs: int, folder: Path, teacher: Path | None = None) -> Any:
    """Train one iteration, as a user of the version does."""
    torch.manual_seed(3)
    # 2.x overwrites this method by False.
    Normal.set_default_validate_args = staticmethod(_set_default_validate_args)
    runner_class = OnPolicyRunner
    if teacher is not None and MAJOR >= 3:
        from rsl_rl.runners import DistillationRunner

        runner_class = DistillationRunner
    runner = runner_class(Env(policy_obs), copy.deepcopy(cfg), str(folder / "log"), "cpu")
    if teacher is not None:
        runner.load(str(teacher))
    runner.learn(2)
    return runner


def acts(policy: Any, obs: torch.Tensor, group: str) -> torch.Tensor:
    """Return a policy's actions (T, N, A) for observations (T, N, O) of one group, step after step."""
    if MAJOR < 3:
        return torch.stack([policy(step) for step in obs])
    from tensordict import TensorDict

    return torch.stack([policy(TensorDict({group: step}, batch_size=[ENVS])) for step in obs])


def write_teacher(folder: Path, name: str, model: dict[str, Any]) -> Path:
    """Train a PPO run, and write its checkpoint and the actor's actions."""
    runner = train(old_cfg(model, distils=False), TEACHER_OBS, folder)
    path = folder / f"{name}.pt"
    runner.save(str(path))
    obs = torch.randn(5, ENVS, TEACHER_OBS)
    with torch.inference_mode():
        policy = runner.get_inference_policy()
        _forget(runner)
        actions = acts(policy, obs, "policy")
    torch.save({"teacher": model, "obs": obs, "actions": actions.clone()}, path.with_suffix(".expected"))
    return path


def write_student(folder: Path, name: str, model: dict[str, Any], student: dict[str, Any], teacher: Path) -> None:
    """Train a distillation run, and write its checkpoint, the teacher's and the student's actions."""
    runner = train(old_cfg(model, distils=True, student=student), STUDENT_OBS, folder, teacher)
    path = folder / f"{name}.pt"
    runner.save(str(path))
    obs, student_obs = torch.randn(5, ENVS, TEACHER_OBS), torch.randn(5, ENVS, STUDENT_OBS)
    with torch.inference_mode():
        policy = runner.get_inference_policy()
        _forget(runner)
        students = acts(policy, student_obs, "policy")
        _forget(runner)
        if MAJOR < 3:
            teachers = torch.stack(
                [runner.alg.policy.evaluate(runner.privileged_obs_normalizer(step)) for step in obs]
            )
        else:
            evaluate = runner.alg.policy.evaluate if MAJOR == 3 else runner.alg.teacher
            teachers = acts(evaluate, obs, "teacher")
    expected = {"teacher": model, "obs": obs, "actions": teachers.clone()}
    expected |= {"student": student, "student_obs": student_obs, "student_actions": students.clone()}
    torch.save(expected, path.with_suffix(".expected"))


def _forget(runner: Any) -> None:
    """Zero all hidden states."""
    models = (
        [runner.alg.policy]
        if MAJOR < 4
        else [getattr(runner.alg, name, None) for name in ("actor", "student", "teacher")]
    )
    for model in models:
        if model is not None:
            for module in model.modules():
                for name in ("hidden_states", "hidden_state"):
                    if hasattr(module, name):
                        setattr(module, name, None)


def main() -> None:
    """Write all cases that the version has."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"scalar": {"std_type": "scalar"}, "log": {"std_type": "log"}}
    if VERSION >= "3.1":
        kinds["hetero"] = {"class_name": "HeteroscedasticGaussianDistribution"}
    for kind, noise in kinds.items():
        for normalizes in (False, True):
            for network, model in MODELS.items():
                if kind == "log" and network != "mlp" and MAJOR < 3:
                    continue  # ActorCriticRecurrent of 2.x ignores noise_std_type
                cfg = model | {
                    "activation": "elu",
                    "obs_normalization": normalizes,
                    "distribution_cfg": GAUSSIAN | noise,
                }
                path = write_teacher(folder, f"{network}_{kind}_{'normalised' if normalizes else 'plain'}", cfg)
                # Recurrent teachers cannot be distilled in 2.x, and not with a normaliser in 3.0.
                if kind != "scalar" or (network != "mlp" and (MAJOR < 3 or (VERSION < "3.1" and normalizes))):
                    continue
                student = {**cfg, **(model if network != "mlp" else {"hidden_dims": [9]})}
                write_student(folder, f"student_of_{path.stem}", cfg, student, path)
    print(f"rsl-rl-lib {VERSION}, torch {version('torch')}: {len(list(folder.glob('*.expected')))} checkpoints")


if __name__ == "__main__":
    main()
