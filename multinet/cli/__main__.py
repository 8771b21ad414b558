"""``python -m multinet.cli``: the same as the command ``multinet``."""

from __future__ import annotations

from multinet.cli.main import main

if __name__ == "__main__":
    main()
