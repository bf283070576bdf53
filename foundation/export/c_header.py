"""Write a policy as one C99 header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

import foundation
from foundation.export.c_functions import ACTIVATIONS, DENSE, GRU, LSTM, SIGMOID
from foundation.export.network import Array, Dense, Network

TEMPLATES = Path(__file__).parent / "templates"
VALUES_PER_LINE = 8


@dataclass(frozen=True)
class Origin:
    """Origin of a policy, written into the file."""

    source: str
    """Run and checkpoint."""
    rate: float
    """Steps per second [Hz]."""


def comment(words: str) -> str:
    """Return text that is safe in a C comment: on one line, without ``*/``."""
    return " ".join(words.replace("*/", "* /").split())


class CHeader:
    """A header with the functions ``policy_reset`` and ``policy_step``."""

    def __init__(self, network: Network) -> None:
        """Generate the parts that depend on the network.

        Args:
            network: The policy.
        """
        self.network = network
        self._arrays: list[str] = []
        self._functions: list[str] = []
        self._maths: set[str] = set()
        self._buffers: dict[str, int] = {}
        self._lines: list[str] = []
        self._need(DENSE)
        normalised = self._normalise()
        joined = self._keep_for_skip(normalised)
        source = self._recur(self._dense("encoder", network.encoder, normalised))
        source = self._join(source, joined) if joined else source
        self._dense("dense", network.dense, source, target="actions")

    def text(self, origin: Origin) -> str:
        """Return the file."""
        network = self.network
        fields = {
            "version": foundation.__version__,
            "source": comment(origin.source),
            "rate": f"{origin.rate:g}",
            "structure": self.structure,
            "num_weights": network.num_weights,
            "weight_bytes": 4 * network.num_weights,
            "num_multiplies": network.num_multiplies,
            "state_bytes": self.state_bytes,
            "maths": ", ".join(sorted(self._maths)) or "nothing",
            "include": "\n#include <math.h>\n" if self._maths else "",
            "num_obs": network.num_obs,
            "num_actions": network.num_actions,
            "definitions": self._definitions(),
            "state": self._state(),
            "reset": self._reset(),
            "weights": "\n".join(self._arrays),
            "functions": "\n".join(self._functions),
            "step": self._step(),
        }
        return Template((TEMPLATES / "policy.h").read_text()).substitute(fields)

    @property
    def structure(self) -> str:
        """The layers in words, for example ``22 - GRU 32 - 4``."""
        network = self.network
        recurrent = [f"{str(network.cell).upper()} {network.hidden_dim}" for _ in network.recurrent]
        if network.skip_connection:
            recurrent[-1] += f" + {network.num_obs} observations"
        encoder, dense = (
            [
                f"{len(layer.bias)}" + ("" if layer.activation.name == "identity" else f" {layer.activation.name}")
                for layer in layers
            ]
            for layers in (network.encoder, network.dense)
        )
        normaliser = [] if network.mean is None else ["normaliser"]
        return " - ".join([str(network.num_obs), *normaliser, *encoder, *recurrent, *dense])

    @property
    def state_bytes(self) -> int:
        """Size of ``policy_state_t``."""
        kept = len(self._kept_fields) * len(self.network.recurrent) * self.network.hidden_dim
        return 4 * max(1, kept + sum(self._buffers.values()))

    def _definitions(self) -> str:
        if not self.network.recurrent:
            return ""
        return f"#define POLICY_LAYERS {len(self.network.recurrent)}\n" + (
            f"#define POLICY_HIDDEN_DIM {self.network.hidden_dim}\n"
        )

    def _state(self) -> str:
        memories = [f"float {name}[POLICY_LAYERS][POLICY_HIDDEN_DIM];" for name in self._kept_fields]
        scratch = [f"float {name}[{size}];" for name, size in self._buffers.items()]
        scratch = scratch if scratch or memories else ["float unused;"]
        return "\n".join(f"    {line}" for line in [*memories, *scratch])

    def _reset(self) -> str:
        if not self.network.recurrent:
            return "    (void)state; /* a feed-forward policy keeps no state */"
        body = "".join(f"            state->{name}[layer][i] = 0.0f;\n" for name in self._kept_fields)
        return (
            "    for (int layer = 0; layer < POLICY_LAYERS; ++layer) {\n"
            "        for (int i = 0; i < POLICY_HIDDEN_DIM; ++i) {\n"
            f"{body}        }}\n    }}"
        )

    def _step(self) -> str:
        # A feed-forward network of one layer does not use the state.
        return "\n".join(f"    {line}" for line in ["(void)state;", *self._lines])

    @property
    def _kept_fields(self) -> tuple[str, ...]:
        """Fields of the state that are kept between steps."""
        return {"gru": ("hidden",), "lstm": ("hidden", "cell")}.get(str(self.network.cell), ())

    def _need(self, function: str) -> None:
        if function not in self._functions:
            self._functions.append(function)

    def _array(self, name: str, values: Array) -> str:
        self._arrays.append(_array(f"policy_{name}", values))
        return f"policy_{name}"

    def _buffer(self, name: str, size: int) -> str:
        self._buffers[name] = max(size, self._buffers.get(name, 0))
        return f"state->{name}"

    def _normalise(self) -> str:
        if self.network.mean is None or self.network.scale is None:
            return "obs"
        mean = self._array("mean", self.network.mean)
        inverse = self._array("inverse_scale", 1.0 / self.network.scale)
        buffer = self._buffer("a", self.network.num_obs)
        self._loop("POLICY_OBS_DIM", f"{buffer}[i] = (obs[i] - {mean}[i]) * {inverse}[i];")
        return buffer

    def _keep_for_skip(self, source: str) -> str | None:
        """Copy the normalised observations to where the layers behind the memory read them."""
        if not self.network.skip_connection:
            return None
        joined = self._buffer("joined", self.network.hidden_dim + self.network.num_obs)
        self._loop("POLICY_OBS_DIM", f"{joined}[POLICY_HIDDEN_DIM + i] = {source}[i];")
        return joined

    def _join(self, memory: str, joined: str) -> str:
        self._loop("POLICY_HIDDEN_DIM", f"{joined}[i] = {memory}[i];")
        return joined

    def _recur(self, source: str) -> str:
        for index, layer in enumerate(self.network.recurrent):
            size = layer.weight_input.shape[1]
            self._need(SIGMOID)
            self._need(GRU if self.network.cell == "gru" else LSTM)
            self._maths.add("tanhf")
            arrays = ", ".join(self._array(f"rnn{index}_{name}", values) for name, values in vars(layer).items())
            states = [f"state->hidden[{index}]", self._buffer("next", self.network.hidden_dim)]
            states += [f"state->cell[{index}]"] if self.network.cell == "lstm" else []
            self._lines.append(f"policy_{self.network.cell}_({arrays}, {source}, {size}, {', '.join(states)});")
            source = states[0]
        return source

    def _dense(self, name: str, layers: list[Dense], source: str, target: str | None = None) -> str:
        """Add dense layers, of which the last one writes to ``target``, and return where their output is."""
        last = target
        for index, layer in enumerate(layers):
            outputs, inputs = layer.weight.shape
            weight = self._array(f"{name}{index}_weight", layer.weight)
            bias = self._array(f"{name}{index}_bias", layer.bias)
            buffer = "b" if source == "state->a" else "a"
            target = last if last and index == len(layers) - 1 else self._buffer(buffer, outputs)
            self._lines.append(f"policy_dense_({weight}, {bias}, {source}, {inputs}, {target}, {outputs});")
            if layer.activation.name != "identity":
                expression, functions, maths = ACTIVATIONS[layer.activation.name]
                for function in functions:
                    self._need(function)
                self._maths |= maths
                value = expression.format(slope=c_literal(layer.activation.slope))
                self._loop(str(outputs), f"const float x = {target}[i];", f"{target}[i] = {value};")
            source = target
        return source

    def _loop(self, count: str, *body: str) -> None:
        inside = "\n".join(f"        {line}" for line in body)
        self._lines.append(f"for (int i = 0; i < {count}; ++i) {{\n{inside}\n    }}")


def _array(name: str, values: Array) -> str:
    numbers = [c_literal(value) for value in np.asarray(values, dtype=np.float32).ravel().tolist()]
    rows = [
        "    " + ", ".join(numbers[start : start + VALUES_PER_LINE])
        for start in range(0, len(numbers), VALUES_PER_LINE)
    ]
    return f"static const float {name}[{len(numbers)}] = {{\n" + ",\n".join(rows) + "\n};\n"


def c_literal(value: float) -> str:
    """Return a float32 as a C constant that reads back to the same bits."""
    text = f"{np.float32(value):.9g}"
    return text + ("f" if any(c in text for c in ".en") else ".0f")
