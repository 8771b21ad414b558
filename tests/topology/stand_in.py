"""A role that does nothing but say it is ready, and end when told to; behaviour is chosen by environment."""

import os
import signal
import socket
import sys
from pathlib import Path


def say(text):
    sys.stderr.write(text + "\n")


def main(argv):
    say(f"{socket.gethostname()} {' '.join(argv)}")
    if "--pki-dir" in argv:
        Path(argv[argv.index("--kubeconfig") + 1]).write_text("{}")
    if os.environ.get("STAND_IN_FAILS", "-") in argv:
        say("the stand-in was told to fail")
        return 4
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if os.environ.get("STAND_IN_SILENT", "-") not in argv:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as handle:
            handle.connect(os.environ["NOTIFY_SOCKET"])
            handle.send(b"STATUS=standing in\nREADY=1")
    signal.sigwait({signal.SIGTERM})
    say("bye")
    return 0
