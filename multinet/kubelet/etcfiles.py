"""A pod's own ``/etc/hostname``, ``/etc/hosts`` and ``/etc/resolv.conf``, instead of the node's.

The files lie in the pod's directory and are bound over those in ``/etc`` when the sandbox is made (see
``pause.c``). The bind mount holds the file, not its name: so a file is changed in place, never replaced,
and the address, known only after ADD, appears in ``hosts`` without another mount.

Where no name server is named, the resolver asks 127.0.0.1, which refuses at once. A pod may run a server of
its own there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multinet.kubelet.podspec import hostname_of
from multinet.kubelet.resolver import Resolver
from multinet.model.objects import Obj, section

# No container can have this name, so it is free among the containers' directories.
DIRECTORY = "_etc"
_HOSTS = """\
# Written by the kubelet of this pod's node.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
"""


def write(pod_directory: Path, pod: Obj, resolver: Resolver) -> Path:
    """Write the files of a pod whose addresses are not known yet; return their directory."""
    directory = _directory(pod_directory)
    (directory / "hostname").write_text(f"{hostname_of(pod)}\n", encoding="utf-8")
    aliases = section(pod, "spec").get("hostAliases") or ()
    lines = [f"{each['ip']}\t{' '.join(each.get('hostnames') or ())}\n" for each in aliases]
    (directory / "hosts").write_text(_HOSTS + "".join(lines), encoding="utf-8")
    (directory / "resolv.conf").write_text(resolver.text(pod), encoding="utf-8")
    return directory


def write_resolver(pod_directory: Path, pod: Obj, resolver: Resolver) -> Path | None:
    """Of a pod in the node's network: all but the resolver's file are the node's, or all of them (None)."""
    policy = section(pod, "spec").get("dnsPolicy")
    if not resolver.serves(pod) and policy != "None":
        return None
    directory = _directory(pod_directory)
    (directory / "resolv.conf").write_text(resolver.text(pod), encoding="utf-8")
    return directory


def add_addresses(directory: Path, pod: Obj, addresses: Sequence[str], resolver: Resolver) -> None:
    """Tell the pod its addresses by its names."""
    host, domain = hostname_of(pod), resolver.domain_of(pod)
    names = f"{host}.{domain}\t{host}" if domain else host
    with (directory / "hosts").open("a", encoding="utf-8") as hosts:
        hosts.writelines(f"{address}\t{names}\n" for address in addresses)


def _directory(pod_directory: Path) -> Path:
    directory = pod_directory / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    return directory
