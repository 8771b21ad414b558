"""A node's own addresses as its roles are told them: ``--node-ip 100.64.0.11`` or ``100.64.0.11,fd00::11``.

As with the kubelet of Kubernetes, a second address is of the other family. IPv4 comes first, being what
tunnels are made of.
"""

from __future__ import annotations

import argparse
from ipaddress import ip_address


def parse(text: str) -> tuple[str, str]:
    """The node's IPv4 and IPv6 address, the latter empty for none; argparse tells what is wrong."""
    listed = text.split(",")
    try:
        versions = [ip_address(each).version for each in listed]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if versions not in ([4], [4, 6]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an IPv4 address, with an IPv6 one after a comma or not"
        )
    return listed[0], listed[1] if len(listed) > 1 else ""
