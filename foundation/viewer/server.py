"""The web server of the viewer: its address, its port, and no sharing with the outside."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import ipaddress
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foundation.viewer.errors import ViewerError

if TYPE_CHECKING:
    import viser

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
PORTS_TRIED = 50
"""Number of ports tried, from the default one on, if none is given."""
_PORT_IN_USE = (errno.EADDRINUSE, errno.EACCES)
INSTALL = "pip install 'foundation-distill[viewer]'"


def require(package: str, flag: str) -> None:
    """Raise if an optional package is missing, without importing it.

    Args:
        package: Name under which it is imported.
        flag: The flag that needs it.

    Raises:
        ViewerError: Names the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise ViewerError(f"{flag} needs {package}; install it with: {INSTALL}")


def free_port(host: str, port: int | None) -> int:
    """Return the port to listen on.

    Args:
        host: Name or address of this machine.
        port: The requested port, 0 for any; None for the first free one from the default one on.

    Raises:
        ViewerError: If nothing can listen there.
    """
    if port is not None and not 0 <= port <= 65535:
        raise ViewerError(f"--port must lie in 0 ... 65535, got {port}")
    candidates = range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED) if port is None else [port]
    for candidate in candidates:
        reason = _refusal(host, candidate)
        if reason is None:
            return candidate
        if not isinstance(reason, OSError) or reason.errno not in _PORT_IN_USE:
            raise ViewerError(f"--host {host} cannot be listened on: {reason}; use --host {DEFAULT_HOST}")
    if port is None:
        raise ViewerError(
            f"no port from {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TRIED - 1} is free; give --port 0"
        )
    raise ViewerError(f"--port {port} is taken or not allowed; give another one, or 0 for any that is free")


def address(host: str, port: int) -> str:
    """Return the URL of a server."""
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_private(host: str) -> bool:
    """Return whether a server that listens on ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def serving(host: str, port: int, title: str) -> Iterator[viser.ViserServer]:
    """Run a server with an empty scene until the context ends.

    Raises:
        ViewerError: If another process has taken the port in the meantime.
    """
    import viser

    class Server(viser.ViserServer):
        def request_share_url(self, verbose: bool = True) -> None:
            """Do nothing: a page must not open a tunnel to the outside."""

    with _silent():
        server = Server(host=host, port=port, label=title, verbose=False)
    try:
        if port not in (0, server.get_port()):
            # viser silently falls back to another port.
            raise ViewerError(f"--port {port} has been taken by another process; give another one, or 0")
        server.gui.configure_theme(show_logo=False, show_share_button=False, brand_color=(0, 114, 178))
        server.gui.main_panel.dock_right()
        yield server
    finally:
        with _silent():
            server.stop()


def _refusal(host: str, port: int) -> Exception | None:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a socket in TIME_WAIT does not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except (OSError, UnicodeError) as error:
        return error
    return None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress viser's own messages on the terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
