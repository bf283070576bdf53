"""Counter-based random numbers: each is a function of a key and a counter.

A usual generator has a state that every draw changes, so that a number depends on how many were drawn before it.
Here an environment has a key, drawn once from the seed, and a counter, and its draw number ``k`` is
``mixed(key ^ mixed(counter + k))``. See Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011).

- Draws have no order: all lanes of a block draw at once, and a draw that is not needed costs nothing.
- An environment's numbers depend on its own key and counter alone, so that a flight is the same bit for bit next
  to any number of others and on any number of threads.
- Two integers per environment are all that a checkpoint saves.
- Drawing does not move the counter; the kernels do, at the beginning of a step and at the end of a reset, past the
  numbers used. Until the next step the same observation can therefore be drawn again, with the same noise.
"""

from typing import Any

import warp as wp

from foundation.sim.kernels.lanes import mul, root  # noqa: F401 (mul is the operator *)

_MIX1 = wp.constant(wp.uint32(0x21F0AAAD))
_MIX2 = wp.constant(wp.uint32(0xD35A2D97))


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
    """Return 32 random bits: draw ``counter + index`` of the generator with this key."""
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
    """Return two independent standard normal numbers from draws ``index`` and ``index + 1`` (Box and Muller)."""
    first = random_bits(key, counter, index)
    u = type(like)(1.0) - unit_uniform(first, like)
    radius = root(natural_log(u, first) * -2.0)
    # The angle in turns, in [-1/2, 1/2), and arguments in [-1/4, 1/4] with the same cosine and sine.
    turns = unit_uniform(random_bits(key, counter, index + 1), like) - type(like)(0.5)
    cosine = sine_of_turns(type(like)(0.25) - wp.abs(turns))
    folded = wp.max(wp.min(turns, type(like)(0.5) - turns), type(like)(-0.5) - turns)
    return radius * cosine, radius * sine_of_turns(folded)
