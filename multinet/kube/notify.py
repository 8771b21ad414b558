"""Readiness by the systemd notify protocol (sd_notify(3)): a datagram to the socket in NOTIFY_SOCKET.

Without the variable nothing is sent, so a role runs unchanged outside a lab. A send that fails is logged:
whoever waits for the message has a limit of its own.
"""

from __future__ import annotations

import logging
import os
import socket

_log = logging.getLogger(__name__)


def ready() -> None:
    """Say that this process serves now."""
    _send("READY=1")


def status(text: str) -> None:
    """Describe in one line what this process is doing."""
    _send("STATUS=" + text.replace("\n", " "))


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A leading @ stands for the NUL byte of an abstract socket's name.
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(message.encode(), target)
    except OSError as error:
        _log.warning("could not notify %s with %r: %s", address, message, error)
