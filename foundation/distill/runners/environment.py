"""The part of a resumable run that is the environment's."""

from __future__ import annotations

from typing import Any

from rsl_rl.env import VecEnv

from foundation.distill.checkpoint.files import is_plain
from foundation.distill.env_state import COUNTER, set_training_state, state_of, training_state_of
from foundation.distill.log import logger
from foundation.distill.tensors import moved


class ResumableEnvironment:
    """Saves and restores an environment: its whole state if it can, and what training has changed in it."""

    def __init__(self, env: VecEnv) -> None:
        """Take an environment whose episodes are new."""
        self._env = env
        self.is_restored = False
        """Whether its episodes are those of the run that is continued."""
        self._refused: set[str] = set()

    def state(self) -> Any:
        """Return its ``state_dict`` on the CPU; None if it has none."""
        return self._plain("state_dict", state_of(self._env), "begins with new episodes")

    def training_state(self) -> dict[str, Any]:
        """Return what outlives its episodes, such as counters, on the CPU; empty if it tells nothing."""
        parts = training_state_of(self._env).items()
        kept = {name: self._plain(name, value, "does without it") for name, value in parts}
        return {name: value for name, value in kept.items() if value is not None}

    def restore(self, state: Any, training: dict[str, Any]) -> None:
        """Restore both as far as possible, and say what is not restored.

        Args:
            state: What :meth:`state` returned.
            training: What :meth:`training_state` returned.
        """
        reason = self._restore_episodes(state)
        self.is_restored = reason is None
        kept = self.restore_training(training)
        if reason is not None:
            logger.warning(f"[Resume] {reason}{kept}")

    def restore_training(self, training: dict[str, Any]) -> str:
        """Restore what :meth:`training_state` returned; return the end of a sentence that says so."""
        kept = [name for name, value in training.items() if self._restore_part(name, value)]
        named = " and ".join(f"{name} ({training[name]})" if name == COUNTER else name for name in kept)
        return f"; {named} continues from the checkpoint" if kept else ""

    def _restore_episodes(self, state: Any) -> str | None:
        """Restore the whole state; return why not."""
        if state is None or not hasattr(self._env, "load_state_dict"):
            return "the environment keeps no state: its episodes start afresh"
        try:
            self._env.load_state_dict(state)  # pyright: ignore
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            return f"the environment's episodes start afresh: {error}"
        return None

    def _restore_part(self, name: str, value: Any) -> bool:
        try:
            set_training_state(self._env, name, value)
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            logger.warning(f"[Resume] {name} of the earlier run is not restored: {error}")
            return False
        return True

    def _plain(self, name: str, state: Any, consequence: str) -> Any:
        if is_plain(state):
            return moved(state, "cpu")
        if name not in self._refused:
            logger.warning(
                f"[Checkpoint] the environment's {name} holds more than tensors and plain values, which alone are "
                f"ever loaded: a continued run {consequence}",
            )
        self._refused.add(name)
        return None
