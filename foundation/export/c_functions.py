"""The C functions of an exported policy."""

from __future__ import annotations

DENSE = """\
static inline float policy_dot_(const float *a, const float *b, int n) {
    float sum = 0.0f;
    for (int i = 0; i < n; ++i) {
        sum += a[i] * b[i];
    }
    return sum;
}

static inline void policy_dense_(
    const float *weight, const float *bias, const float *input, int inputs, float *output, int outputs
) {
    for (int i = 0; i < outputs; ++i) {
        output[i] = bias[i] + policy_dot_(weight + i * inputs, input, inputs);
    }
}
"""

SIGMOID = """\
static inline float policy_sigmoid_(float x) {
    return 0.5f + 0.5f * tanhf(0.5f * x);
}
"""

SOFTPLUS = """\
static inline float policy_softplus_(float x) {
    return (x > 0.0f ? x : 0.0f) + log1pf(expf(x > 0.0f ? -x : x));
}
"""

GRU = """\
static inline void policy_gru_(
    const float *weight_input, const float *weight_hidden, const float *bias_input, const float *bias_hidden,
    const float *input, int inputs, float *hidden, float *next
) {
    const int n = POLICY_HIDDEN_DIM;
    for (int i = 0; i < n; ++i) {
        float from_input[3], from_hidden[3];
        for (int gate = 0; gate < 3; ++gate) {
            const int row = gate * n + i;
            from_input[gate] = bias_input[row] + policy_dot_(weight_input + row * inputs, input, inputs);
            from_hidden[gate] = bias_hidden[row] + policy_dot_(weight_hidden + row * n, hidden, n);
        }
        const float reset = policy_sigmoid_(from_input[0] + from_hidden[0]);
        const float update = policy_sigmoid_(from_input[1] + from_hidden[1]);
        const float candidate = tanhf(from_input[2] + reset * from_hidden[2]);
        next[i] = candidate + update * (hidden[i] - candidate);
    }
    for (int i = 0; i < n; ++i) {
        hidden[i] = next[i];
    }
}
"""

LSTM = """\
static inline void policy_lstm_(
    const float *weight_input, const float *weight_hidden, const float *bias_input, const float *bias_hidden,
    const float *input, int inputs, float *hidden, float *next, float *cell
) {
    const int n = POLICY_HIDDEN_DIM;
    for (int i = 0; i < n; ++i) {
        float gates[4];
        for (int gate = 0; gate < 4; ++gate) {
            const int row = gate * n + i;
            gates[gate] = bias_input[row] + policy_dot_(weight_input + row * inputs, input, inputs)
                + bias_hidden[row] + policy_dot_(weight_hidden + row * n, hidden, n);
        }
        cell[i] = policy_sigmoid_(gates[1]) * cell[i] + policy_sigmoid_(gates[0]) * tanhf(gates[2]);
        next[i] = policy_sigmoid_(gates[3]) * tanhf(cell[i]);
    }
    for (int i = 0; i < n; ++i) {
        hidden[i] = next[i];
    }
}
"""

ACTIVATIONS: dict[str, tuple[str, list[str], set[str]]] = {
    "relu": ("x > 0.0f ? x : 0.0f", [], set()),
    "leaky_relu": ("x > 0.0f ? x : {slope} * x", [], set()),
    "tanh": ("tanhf(x)", [], {"tanhf"}),
    "sigmoid": ("policy_sigmoid_(x)", [SIGMOID], {"tanhf"}),
    "elu": ("x > 0.0f ? x : {slope} * expm1f(x)", [], {"expm1f"}),
    "selu": ("1.05070099f * (x > 0.0f ? x : 1.67326324f * expm1f(x))", [], {"expm1f"}),
    "softplus": ("policy_softplus_(x)", [SOFTPLUS], {"expf", "log1pf"}),
    "silu": ("x * policy_sigmoid_(x)", [SIGMOID], {"tanhf"}),
    "mish": ("x * tanhf(policy_softplus_(x))", [SOFTPLUS], {"expf", "log1pf", "tanhf"}),
    "gelu": ("0.5f * x * (1.0f + erff(0.707106781f * x))", [], {"erff"}),
}
"""The functions between two layers: an expression of x, the C functions in it, and those of ``<math.h>``."""
