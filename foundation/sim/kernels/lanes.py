"""Arithmetic on blocks of environments, one per lane of a vector register; see :mod:`foundation.sim.kernels`."""

import ctypes.util
import os
from typing import Any

import warp as wp


def _init_warp() -> None:
    """Initialise Warp without its banner, and without its warning where there is no CUDA, which is supported."""
    wp.config.log_level = wp.LOG_ERROR
    if ctypes.util.find_library("cuda") is not None:
        wp.init()
        return
    # The warning is printed by native code, which knows no log level.
    try:
        stderr = os.dup(2)
    except OSError:  # there is none
        wp.init()
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            wp.init()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


_init_warp()

CPU_LANES = 16
"""Environments per CPU thread: as many as a 512-bit register holds in float32, or several shorter registers."""

# Warp's own vector operations are loops over an array, and Clang keeps little of those in registers. These
# overloads of the operations use Clang's vector types instead: the same results, five times faster.
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
    # Above the number of columns of the vehicle table: the loop that loads them has to be unrolled.
    "max_unroll": 64,
    # Contracted to fused multiply-add, as on CUDA. No -ffast-math: terminations rely on NaN.
    # No warning about vectors wider than the registers of a processor without AVX-512: nothing passes them on.
    "cpu_compiler_flags": f"{wp.config.cpu_compiler_flags or '-march=native'} -ffp-contract=fast -Wno-psabi",
    "extra_build_options": wp.ModuleBuildOptions(extra_cpu_preamble=_CPU_REGISTERS),
}
"""Options of every Warp module that computes with lanes."""


def lane_module(name: str, lanes: int) -> str:
    """Return the Warp module for the kernels of ``name`` that work on ``lanes`` lanes, with its options set."""
    module = f"{name}.lanes{lanes}"
    wp.set_module_options(MODULE_OPTIONS, module=wp.get_module(module))
    return module


_FLOATS = wp.types.vector(length=Any, dtype=wp.float32)


@wp.func
def mul(a: _FLOATS, b: _FLOATS):
    """Return the product lane by lane. Modules that import this name can write it ``*``."""
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
