"""Strategies that an option chooses by name or import path: samplers, evictions, mixings, losses and others.

An option such as ``sampling`` takes the name of a built-in strategy, or ``module:Class`` for a class of yours. A
class declares the other options that belong to it, so that an option that could not take effect is refused. A new
built-in strategy is a class and one line in its registry.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar


class Strategy:
    """Base class of all strategies."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Options that have to be set for this strategy."""
    takes: ClassVar[tuple[str, ...]] = ()
    """Options that may be set for it, and have a default."""

    @classmethod
    def check(cls, options: Any) -> None:
        """Check the options that belong to this strategy.

        Args:
            options: The :class:`~foundation.distill.DaggerOptions`.

        Raises:
            ValueError: If one cannot work.
        """


class Registry:
    """The strategies that one option chooses from."""

    def __init__(self, option: str, base: type[Strategy], members: Mapping[str, type[Strategy]]) -> None:
        """Collect the strategies of an option.

        Args:
            option: The option's name, such as ``sampling``.
            base: Class that every strategy of this kind extends.
            members: Built-in strategies by name.
        """
        self.option, self.base, self.members = option, base, dict(members)

    def find(self, choice: str) -> Any:
        """Return the class that a name or ``module:Class`` stands for.

        Raises:
            ValueError: If there is none, or it is not of this kind; the message lists the names.
        """
        if isinstance(choice, str) and choice in self.members:
            return self.members[choice]
        names = ", ".join(self.members)
        if not isinstance(choice, str) or ":" not in choice:
            raise ValueError(
                f"{self.option} must be one of {names}, got {choice!r}; or name a class of yours as module:Class"
            )
        found = import_object(self.option, choice)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise ValueError(f"{self.option}={choice} must be a class that extends {base}")
        return found

    def name_of(self, strategy: Strategy) -> str:
        """Return the name, or ``module:Class``, with which an option chooses this strategy."""
        names = {member: name for name, member in self.members.items()}
        kind = type(strategy)
        # A subclass in distill/fast goes by the name of the class that it stands for.
        return next(
            (names[base] for base in kind.__mro__ if base in names), f"{kind.__module__}:{kind.__qualname__}"
        )

    def check(self, options: Any) -> None:
        """Check that the chosen strategy exists and has its options, and that no option of another one is set.

        Raises:
            ValueError: If not.
        """
        choice = getattr(options, self.option)
        chosen = self.find(choice)
        for name in (*chosen.needs, *chosen.takes):
            if not hasattr(options, name):
                raise ValueError(f"{self.option}={choice} declares the option {name}, which does not exist")
        for name in chosen.needs:
            if getattr(options, name) is None:
                raise ValueError(f"{self.option}={choice} needs {name}")
        for other, strategy in self.members.items():
            for name in (*strategy.needs, *strategy.takes):
                if getattr(options, name) is not None and name not in (*chosen.needs, *chosen.takes):
                    raise ValueError(
                        f"{name}={getattr(options, name)} has no effect with {self.option}={choice}; "
                        f"set {self.option}={other}"
                    )
        chosen.check(options)


def import_object(option: str, path: str) -> Any:
    """Import and return the object named ``module:name``; the module has to be importable.

    Raises:
        ValueError: If it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{option}={path} cannot be imported: {error}") from error
