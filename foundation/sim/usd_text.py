"""Print a USD file, composed, as text.

Run in a process of its own: a damaged binary file can make USD loop forever or crash.
"""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import sys

MEMORY = 8 * 2**30
"""Address space of the process [bytes]: a damaged file can ask for more than the machine has."""


def main(path: str) -> None:
    """Print the file at a path."""
    from pxr import Usd

    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout.reconfigure(encoding="utf-8")  # pyright: ignore
    sys.stdout.write(Usd.Stage.Open(path).Flatten().ExportToString())


if __name__ == "__main__":
    main(sys.argv[1])
