"""A pod's own ``/etc/hostname``, ``/etc/hosts`` and ``/etc/resolv.conf``, instead of the node's.

The files lie in the pod's directory and are bound over those in ``/etc`` when the sandbox is made (see
``pause.c``). The bind mount holds the file, not its name: so a file is changed in place, never replaced,
and the address, known only after ADD, appears in ``hosts`` without another mount.

No name server is named, since a lab has none. The resolver then asks 127.0.0.1, which refuses at once,
where the node's server would be waited for in vain. A pod may run a server of its own there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multinet.kubelet.podspec import hostname_of
from multinet.model.objects import Obj

# No container can have this name, so it is free among the containers' directories.
DIRECTORY = "_etc"
_HOSTS = """\
# Written by the kubelet of this pod's node.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
"""
_RESOLV = """\
# The lab has no name server.
options timeout:1 attempts:1
"""


def write(pod_directory: Path, pod: Obj) -> Path:
    """Write the files of a pod whose addresses are not known yet; return their directory."""
    directory = pod_directory / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hostname").write_text(f"{hostname_of(pod)}\n", encoding="utf-8")
    (directory / "hosts").write_text(_HOSTS, encoding="utf-8")
    (directory / "resolv.conf").write_text(_RESOLV, encoding="utf-8")
    return directory


def add_addresses(directory: Path, pod: Obj, addresses: Sequence[str]) -> None:
    """Tell the pod its addresses by its name."""
    with (directory / "hosts").open("a", encoding="utf-8") as hosts:
        hosts.writelines(f"{address}\t{hostname_of(pod)}\n" for address in addresses)
