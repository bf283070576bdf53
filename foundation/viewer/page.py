"""A recorded flight as one interactive, self-contained HTML file."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.evaluation.page import write_whole
from foundation.viewer import palette
from foundation.viewer.fleet import SPACING, Fleet, frames, segments
from foundation.viewer.scene import WORLD, FleetScene, overview
from foundation.viewer.server import DEFAULT_HOST, serving

if TYPE_CHECKING:
    from foundation.evaluation.recording import Recording

FPS = 25.0


def write_page(path: Path, flight: Recording, vehicle: np.ndarray, fleet: Fleet, role: str, title: str) -> None:
    """Write a flight to ``path``; a failed write leaves the old file.

    Args:
        path: HTML file.
        flight: The flight.
        vehicle: Row of the vehicle table that each flies, shape (N,).
        fleet: The fleet.
        role: Role of the policy that flew.
        title: Title of the page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page(flight, vehicle, fleet, role, title))


def page(flight: Recording, vehicle: np.ndarray, fleet: Fleet, role: str, title: str) -> str:
    """Return a flight as HTML; see :func:`write_page`."""
    shown = [moment for _, moment in frames(flight, vehicle, FPS)]
    # viser serialises the messages of a server; no browser connects to this one.
    with serving(DEFAULT_HOST, 0, title) as server:
        scene = FleetScene(server, fleet, shown[0], role)
        server.scene.add_line_segments(
            f"{WORLD}/paths",
            paths(flight.pos_w, flight.dt, fleet),
            palette.ROLES[role],
            thickness=1.0,
            thickness_units="screen",
        )
        server.initial_camera.position, server.initial_camera.look_at = overview(fleet)
        above = (fleet.extent + SPACING, 0.0, 2.0 * fleet.height)
        server.scene.add_label(f"{WORLD}/title", title, position=above, anchor="bottom-center")
        recorder = server.get_scene_serializer()
        if flight.target_w is not None:
            scene.draw(shown[0], references=paths(flight.target_w, flight.dt, fleet))
        for moment in shown:
            scene.draw(moment)
            recorder.insert_sleep(1.0 / FPS)
        text = recorder.as_html()
    return text.replace("<title>Viser</title>", f"<title>{html.escape(title)}</title>", 1)


def paths(pos_w: np.ndarray, dt: float, fleet: Fleet, interval: float = 0.04) -> np.ndarray:
    """Return paths relative to the places on the grid, (T, N, 3), as segments, world frame [m], (S, 2, 3)."""
    return segments(pos_w[:: max(1, round(interval / dt))] + fleet.targets)
