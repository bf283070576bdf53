"""Colours of the viewer: Okabe and Ito's palette, made for colour-blind readers."""

from __future__ import annotations

BLUE, VERMILION, GREEN, PURPLE = (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)
ORANGE, SKY, DARK, GREY = (230, 159, 0), (86, 180, 233), (26, 26, 26), (107, 107, 107)
ROLES = {"teacher": BLUE, "student": VERMILION}
"""Colour of the vehicles by the role of their policy."""
LIT = {"teacher": (0, 84, 190), "student": (225, 40, 0)}
"""The same for lit surfaces: lights and tone mapping of the browser turn these into ``ROLES``."""
ROTORS = (ORANGE, PURPLE, GREEN, SKY)
"""Colours of the rotors' curves: front-right, back-right, back-left, front-left."""
FRONT, BACK = ORANGE, GREY
"""Colours of the rotor discs, which show where the front of a vehicle is."""
THRUST = SKY
TARGET = GREEN
REFERENCE = (143, 211, 189)
"""Colour of the paths that targets move on: theirs, lighter."""


def css(colour: tuple[int, int, int]) -> str:
    """Return a colour in hexadecimal notation."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
