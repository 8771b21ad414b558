"""A workload without Kubernetes, through the config API alone: what ``no-kubernetes.yaml`` runs on cp.

``setup``: two virtual networks, and an interface in each for the plain host vm1, attached by node1's agent;
``delete-interfaces`` and ``delete-networks``: all of it gone again. Plain REST with the standard library; the
calls are described in ``docs/configapi.md``.
"""

import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

LAB = Path("/run/multinet/lab")
API = "http://127.0.0.1:8082"
PROJECT = ["default-domain", "default-project"]
IPAM = [*PROJECT, "default-network-ipam"]
NODE, HOST = "node1", "vm1"
NETWORKS = {"red": "10.11.1", "green": "10.11.2"}


def token() -> str:
    """The token in the lab's kubeconfig."""
    found = re.search(r"token\"?:\s*\"?([^\s\",]+)", (LAB / "kubeconfig").read_text())
    if found is None:
        sys.exit("the lab's kubeconfig has no token")
    return found.group(1)


def call(method: str, path: str, body: object = None) -> Any:
    """One request; the answer's JSON, None where it has none."""
    headers = {"X-Auth-Token": token(), "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")
    return json.loads(text) if text.strip() else None


def create(kind: str, fq_name: list[str], **fields: object) -> str:
    """Create an object; its UUID."""
    if len(fq_name) > 1:
        fields["parent_type"] = "project"
    return str(call("POST", f"/{kind}s", {kind: {"fq_name": fq_name, **fields}})[kind]["uuid"])


def delete(kind: str, *fq_name: str) -> None:
    """Delete an object by name."""
    call("DELETE", f"/{kind}/{uuid_of(kind, fq_name)}")


def uuid_of(kind: str, fq_name: object) -> str:
    """A UUID by name."""
    return str(call("POST", "/fqname-to-id", {"type": kind, "fq_name": fq_name})["uuid"])


def make_network(name: str, start: str) -> None:
    """A virtual network with one subnet."""
    subnets = {"ipam_subnets": [{"subnet": {"ip_prefix": f"{start}.0", "ip_prefix_len": 24}}]}
    ipam = {"to": IPAM, "uuid": uuid_of("network-ipam", IPAM), "attr": subnets}
    create("virtual-network", [*PROJECT, name], network_ipam_refs=[ipam])


def make_interface(name: str, address: str, netns: str) -> None:
    """An interface of the host in a network, with an address."""
    port = [*PROJECT, f"{HOST}-{name}"]
    said = {"host_id": NODE, "netns": netns, "vif_name": name}
    pairs = [{"key": key, "value": value} for key, value in said.items()]
    create(
        "virtual-machine-interface",
        port,
        virtual_network_refs=[{"to": [*PROJECT, name]}],
        virtual_machine_refs=[{"to": [HOST]}],
        virtual_machine_interface_bindings={"key_value_pair": pairs},
    )
    create(
        "instance-ip",
        [f"{HOST}-{name}"],
        instance_ip_address=address,
        virtual_network_refs=[{"to": [*PROJECT, name]}],
        virtual_machine_interface_refs=[{"to": port}],
    )


def main(verb: str) -> None:
    """Do one of the three."""
    if verb == "setup":
        netns = json.loads((LAB / "hosts.json").read_text())[HOST]["netns"]
        create("virtual-machine", [HOST])
        for name, start in NETWORKS.items():
            make_network(name, start)
            make_interface(name, f"{start}.20", netns)
    elif verb == "delete-interfaces":
        for name in NETWORKS:
            delete("instance-ip", f"{HOST}-{name}")
            delete("virtual-machine-interface", *PROJECT, f"{HOST}-{name}")
        delete("virtual-machine", HOST)
    elif verb == "delete-networks":
        for name in NETWORKS:
            delete("virtual-network", *PROJECT, name)
    else:
        sys.exit(f"{verb!r} is none of setup, delete-interfaces, delete-networks")
    sys.stdout.write(f"{verb}: done\n")


if __name__ == "__main__":
    main(sys.argv[1])
