"""Colours of the viewer, of Okabe and Ito's palette, which colour-blind readers can tell apart."""

from __future__ import annotations

BLUE, VERMILION, GREEN, PURPLE = (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)
ORANGE, SKY, DARK, GREY = (230, 159, 0), (86, 180, 233), (26, 26, 26), (107, 107, 107)
ROLES = {"teacher": BLUE, "student": VERMILION}
"""Colour of the vehicles that a policy flies, by its role."""
LIT = {"teacher": (0, 84, 190), "student": (225, 40, 0)}
"""The same for surfaces: lights and tone mapping of the browser turn these into those."""
ROTORS = (ORANGE, PURPLE, GREEN, SKY)
"""Colours of the rotors' curves: front-right, back-right, back-left, front-left."""
FRONT, BACK = ORANGE, GREY
"""Colours of the rotor discs, which tell where a vehicle's nose is."""
THRUST = SKY
TARGET = GREEN


def css(colour: tuple[int, int, int]) -> str:
    """Return a colour as style sheets write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
