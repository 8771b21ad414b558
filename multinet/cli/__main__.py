"""``python -m multinet.cli``: the same as the command ``multinet``.

``./lab`` starts this with SIGINT ignored, since the interpreter's own start answers it with a traceback.
"""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from multinet.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("multinet: interrupted\n")
        sys.exit(3)
    finally:
        # All is said; one more must not make the interpreter's end noisy.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
