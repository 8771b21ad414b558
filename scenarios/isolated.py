"""``python -m scenarios.isolated COMMAND...``: run a command in throw-away namespaces, as (mapped) root.

What `./lab test` runs the lab tests with: they may make links, namespaces and processes as they please, and
the end of the command takes everything with it. The status is the command's.
"""

from __future__ import annotations

import os
import sys

from multinet.errors import EnvironmentLackError
from topology import isolation


def main(argv: list[str]) -> int:
    """Become ``argv`` in new namespaces; 3 when this system forbids them, 127 when there is no command."""
    try:
        isolation.enter()
        os.execvp(argv[0], argv)
    except EnvironmentLackError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
