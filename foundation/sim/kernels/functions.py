"""A kind of Warp function that older versions of Warp do not have."""

import inspect

import warp as wp

CAN_STAND_ALONE = "inline" in inspect.signature(wp.func).parameters
"""Warp can keep a function from being inlined (since 1.19)."""


def own_function(function):
    """Declare a function that is compiled once, so that it rounds the same in every kernel that calls it.

    Warp before 1.19 leaves that to its compiler.
    """
    return wp.func(function, inline=False) if CAN_STAND_ALONE else wp.func(function)
