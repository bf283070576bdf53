"""Vectors and quaternions."""

from typing import Any

import warp as wp

from foundation.sim.kernels.lanes import clamped, mul, root  # noqa: F401 (mul is the operator *)


@wp.func
def plus3(a: Any, b: Any, factor: wp.float32):
    """Return a + b times factor."""
    return type(a)(a.x + b.x * factor, a.y + b.y * factor, a.z + b.z * factor)


@wp.func
def plus4(a: Any, b: Any, factor: wp.float32):
    return type(a)(a.x + b.x * factor, a.y + b.y * factor, a.z + b.z * factor, a.w + b.w * factor)


@wp.func
def scaled3(a: Any, factor: Any):
    return type(a)(a.x * factor, a.y * factor, a.z * factor)


@wp.func
def scaled4(a: Any, factor: Any):
    return type(a)(a.x * factor, a.y * factor, a.z * factor, a.w * factor)


@wp.func
def dot3(a: Any, b: Any):
    return a.x * b.x + a.y * b.y + a.z * b.z


@wp.func
def dot4(a: Any, b: Any):
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w


@wp.func
def cross(a: Any, b: Any):
    return type(a)(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x)


@wp.func
def rotated(axis: Any, w: Any, v: Any):
    """Return v rotated by the quaternion (axis, w) of any norm: v + 2 (w (a x v) + a x (a x v)) / norm^2."""
    turn = scaled3(cross(axis, v), wp.cw_div(type(w)(2.0), dot3(axis, axis) + w * w))
    return plus3(plus3(v, scaled3(turn, w), 1.0), cross(axis, turn), 1.0)


@wp.func
def quaternion_product(a: Any, b: Any):
    return type(a)(
        a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
        a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
        a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w,
        a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
    )


@wp.func
def unit_quaternion(q: Any):
    return scaled4(q, wp.cw_div(type(q.w)(1.0), root(dot4(q, q))))


@wp.func
def clamped4(a: Any, low: wp.float32, high: wp.float32):
    return type(a)(
        clamped(a.x, low, high), clamped(a.y, low, high), clamped(a.z, low, high), clamped(a.w, low, high)
    )
