"""Print a USD file, composed, as text.

Run in a process of its own: a damaged binary file can make USD loop forever or crash.
"""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pxr import Usd

MEMORY = 8 * 2**30
"""Address space of the process [bytes]: a damaged file can ask for more than the machine has."""
INCOMPLETE = 3
"""Exit code where a sublayer, a reference or a payload names a file that USD cannot open."""


def unopened_files(stage: Usd.Stage) -> str:
    """Return the files of sublayers, references and payloads that could not be opened, or an empty string."""
    from pxr import Pcp

    kinds = (Pcp.ErrorInvalidAssetPath, Pcp.ErrorInvalidSublayerPath)
    words = (str(error) for error in stage.GetCompositionErrors() if isinstance(error, kinds))
    # The classes have no attribute for the name: it is the first one between @ in the text.
    names = (found[1] for found in (re.search(r"@([^@]+)@", text) for text in words) if found)
    return ", ".join(sorted(set(names)))


def main(path: str) -> None:
    """Print the file at a path; if files that it refers to cannot be opened, print their names and exit."""
    from pxr import Usd

    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout.reconfigure(encoding="utf-8")  # pyright: ignore
    stage = Usd.Stage.Open(path)
    if names := unopened_files(stage):
        sys.stdout.write(names)
        sys.stdout.flush()
        sys.exit(INCOMPLETE)
    sys.stdout.write(stage.Flatten().ExportToString())


if __name__ == "__main__":
    main(sys.argv[1])
