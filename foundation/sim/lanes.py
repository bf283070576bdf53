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


_MIX1 = wp.constant(wp.uint32(0x21F0AAAD))
_MIX2 = wp.constant(wp.uint32(0xD35A2D97))
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


@wp.func
def mixed(x: Any):
    """Return an integer hash in which every bit depends on every bit of ``x``.

    Shifts and factors: hash-prospector (Wellons, public domain), the best found with two multiplications.
    """
    h = (x ^ (x >> type(x)(wp.uint32(16)))) * _MIX1
    h = (h ^ (h >> type(x)(wp.uint32(15)))) * _MIX2
    return h ^ (h >> type(x)(wp.uint32(15)))


@wp.func
def random_bits(key: Any, counter: Any, index: int):
    """Return 32 random bits of draw ``counter + index`` of the generator that ``key`` names.

    A generator is a function of its counter, so that draws need no order and leave no trace; see Salmon et
    al., Parallel random numbers: as easy as 1, 2, 3 (2011).
    """
    return mixed(key ^ mixed(counter + type(counter)(wp.uint32(index))))


@wp.func
def unit_uniform(bits: Any, like: Any):
    """Return uniform numbers in [0, 1), multiples of 2^-24, in the type of ``like``."""
    return type(like)(bits >> type(bits)(wp.uint32(8))) * 5.9604644775390625e-8


@wp.func
def natural_log(x: Any, bits: Any):
    """Return ln(x) for normal positive x to 1e-7; ``bits`` gives the type of integer lanes.

    x = 2^e m with m in [sqrt(1/2), sqrt(2)) from the bits of x, then Cephes' polynomial (Moshier, logf.c).
    """
    shifted = wp.cast(x, type(bits)) + type(bits)(wp.uint32(0x3F800000 - 0x3F3504F3))
    exponent = type(x)(shifted >> type(bits)(wp.uint32(23))) - type(x)(127.0)
    fraction = shifted & type(bits)(wp.uint32(0x007FFFFF))
    f = wp.cast(fraction + type(bits)(wp.uint32(0x3F3504F3)), type(x)) - type(x)(1.0)
    p = f * 7.0376836292e-2 - type(x)(1.1514610310e-1)
    p = p * f + type(x)(1.1676998740e-1)
    p = p * f - type(x)(1.2420140846e-1)
    p = p * f + type(x)(1.4249322787e-1)
    p = p * f - type(x)(1.6668057665e-1)
    p = p * f + type(x)(2.0000714765e-1)
    p = p * f - type(x)(2.4999993993e-1)
    p = p * f + type(x)(3.3333331174e-1)
    return exponent * 0.6931471805599453 + (f + f * f * (p * f - type(x)(0.5)))


@wp.func
def sine_of_turns(x: Any):
    """Return sin(2 pi x) for |x| <= 1/4 by Taylor's series to the 11th power, exact to 6e-8."""
    y = x * 6.283185307179586
    z = y * y
    p = z * (-1.0 / 39916800.0) + type(x)(1.0 / 362880.0)
    p = p * z - type(x)(1.0 / 5040.0)
    p = p * z + type(x)(1.0 / 120.0)
    p = p * z - type(x)(1.0 / 6.0)
    return y + y * z * p


@wp.func
def gaussian_pair(key: Any, counter: Any, index: int, like: Any):
    """Return two independent standard normal numbers from draws ``index`` and ``index + 1``: Box and Muller."""
    first = random_bits(key, counter, index)
    u = type(like)(1.0) - unit_uniform(first, like)
    radius = root(natural_log(u, first) * -2.0)
    # The angle in turns, in [-1/2, 1/2), and arguments in [-1/4, 1/4] with the same cosine and sine.
    turns = unit_uniform(random_bits(key, counter, index + 1), like) - type(like)(0.5)
    cosine = sine_of_turns(type(like)(0.25) - wp.abs(turns))
    folded = wp.max(wp.min(turns, type(like)(0.5) - turns), type(like)(-0.5) - turns)
    return radius * cosine, radius * sine_of_turns(folded)
