"""Arithmetic on several environments at once, one per lane of a vector register, and random numbers for them.

Warp runs a CPU kernel as a serial loop over scalar threads. Here one CPU thread advances ``CPU_LANES``
environments: every quantity of a block of environments is one vector, and ``+``, ``-`` and ``*`` act lane by
lane. On CUDA, where each thread is a lane already, the same functions work on vectors of length one.
"""

from typing import Any

import warp as wp

# A machine without CUDA is a supported machine: Warp's start-up banner and warning say nothing new.
wp.config.log_level = wp.LOG_ERROR
wp.init()

CPU_LANES = 16
"""Environments per CPU thread: single precision numbers of one 512-bit register, or several shorter ones."""

# Warp's vectors are loops over an array, of which Clang keeps little in registers. These overloads of the same
# operations use its vector types instead: the same results, computed five times faster.
_CPU_REGISTERS = f"""
namespace wp {{
#define LANES(scalar, lanes_t, simd_t) \\
typedef scalar simd_t __attribute__((ext_vector_type({CPU_LANES}))); \\
typedef vec_t<{CPU_LANES}, scalar> lanes_t; \\
inline simd_t simd(const lanes_t& a) {{ simd_t out; __builtin_memcpy(&out, a.c, sizeof(out)); return out; }} \\
inline lanes_t lanes(simd_t a) {{ lanes_t out; __builtin_memcpy(out.c, &a, sizeof(a)); return out; }} \\
inline lanes_t add(lanes_t a, lanes_t b) {{ return lanes(simd(a) + simd(b)); }} \\
inline lanes_t sub(lanes_t a, lanes_t b) {{ return lanes(simd(a) - simd(b)); }} \\
inline lanes_t mul(lanes_t a, scalar b) {{ return lanes(simd(a) * b); }} \\
inline lanes_t mul(scalar a, lanes_t b) {{ return lanes(a * simd(b)); }} \\
inline lanes_t cw_mul(lanes_t a, lanes_t b) {{ return lanes(simd(a) * simd(b)); }} \\
inline lanes_t cw_div(lanes_t a, lanes_t b) {{ return lanes(simd(a) / simd(b)); }} \\
inline lanes_t min(lanes_t a, lanes_t b) {{ return lanes(simd(a) < simd(b) ? simd(a) : simd(b)); }} \\
inline lanes_t max(lanes_t a, lanes_t b) {{ return lanes(simd(a) > simd(b) ? simd(a) : simd(b)); }}
LANES(float32, float_lanes_t, float_simd_t)
LANES(uint32, uint_lanes_t, uint_simd_t)
#undef LANES
inline float_lanes_t neg(float_lanes_t a) {{ return lanes(-simd(a)); }}
inline float_lanes_t abs(float_lanes_t a) {{ return lanes(__builtin_elementwise_abs(simd(a))); }}
inline uint_lanes_t bit_and(uint_lanes_t a, uint_lanes_t b) {{ return lanes(simd(a) & simd(b)); }}
inline uint_lanes_t bit_xor(uint_lanes_t a, uint_lanes_t b) {{ return lanes(simd(a) ^ simd(b)); }}
inline uint_lanes_t rshift(uint_lanes_t a, uint_lanes_t b) {{ return lanes(simd(a) >> simd(b)); }}
}}
"""

MODULE_OPTIONS = {
    "enable_backward": False,
    # Loops over the columns of a vehicle are unrolled too, so that compilers see constant indices.
    "max_unroll": 64,
    # Fused multiplication and addition, as on CUDA. Nothing that changes the meaning of NaN.
    "cpu_compiler_flags": f"{wp.config.cpu_compiler_flags or '-march=native'} -ffp-contract=fast",
    "extra_build_options": wp.ModuleBuildOptions(extra_cpu_preamble=_CPU_REGISTERS),
}
"""Options of every Warp module that computes with lanes."""

wp.set_module_options(MODULE_OPTIONS)


def lane_module(name: str, lanes: int) -> str:
    """Return the Warp module for the kernels of ``name`` that work on ``lanes`` lanes, with its options set."""
    module = f"{name}.lanes{lanes}"
    wp.set_module_options(MODULE_OPTIONS, module=wp.get_module(module))
    return module


_FLOATS = wp.types.vector(length=Any, dtype=wp.float32)


@wp.func
def mul(a: _FLOATS, b: _FLOATS):
    """Give ``*`` a meaning between vectors, lane by lane, in modules that import this name."""
    return wp.cw_mul(a, b)


@wp.func
def root(x: _FLOATS):
    out = type(x)()
    for lane in range(len(x)):
        out[lane] = wp.sqrt(x[lane])
    return out


@wp.func
def root(x: wp.float32):  # noqa: F811
    return wp.sqrt(x)


@wp.func
def clamped(x: Any, low: float, high: float):
    return wp.min(wp.max(x, type(x)(low)), type(x)(high))
