"""The host vm1 in two networks, by the original's client, unmodified. Runs on cp: set-up or removal."""

import json
import re
import sys
from pathlib import Path

try:
    from vnc_api import vnc_api
except ImportError as error:
    sys.exit(f"contrail-api-client is missing (it is in the dev dependencies): {error}")

LAB = Path("/run/multinet/lab")
PORTS = {"red": "10.12.1.0", "green": "10.12.2.0"}
token = re.search(r"token\"?:\s*\"?([^\s\",]+)", (LAB / "kubeconfig").read_text()).group(1)
client = vnc_api.VncApi(
    api_server_host="127.0.0.1", api_server_port=8082, auth_type="noauth", auth_token=token
)
project = client.project_read(fq_name=["default-domain", "default-project"])
router = client.virtual_router_read(fq_name=["default-global-system-config", "node1"])


def set_up():
    netns = json.loads((LAB / "hosts.json").read_text())["vm1"]["netns"]
    ipam = client.network_ipam_read(fq_name=[*project.fq_name, "default-network-ipam"])
    machine = vnc_api.VirtualMachine("vm1")
    client.virtual_machine_create(machine)
    router.add_virtual_machine(machine)
    client.virtual_router_update(router)
    for name, prefix in PORTS.items():
        network = vnc_api.VirtualNetwork(name, parent_obj=project)
        block = vnc_api.IpamSubnetType(subnet=vnc_api.SubnetType(prefix, 24))
        network.add_network_ipam(ipam, vnc_api.VnSubnetsType([block]))
        client.virtual_network_create(network)
        port = vnc_api.VirtualMachineInterface(f"vm1-{name}", parent_obj=project)
        port.add_virtual_network(network)
        port.add_virtual_machine(machine)
        pairs = [vnc_api.KeyValuePair("netns", netns), vnc_api.KeyValuePair("vif_name", name)]
        port.set_virtual_machine_interface_bindings(vnc_api.KeyValuePairs(pairs))
        client.virtual_machine_interface_create(port)
        address = vnc_api.InstanceIp(f"vm1-{name}")
        address.add_virtual_network(network)
        address.add_virtual_machine_interface(port)
        client.instance_ip_create(address)
        print(name, client.instance_ip_read(id=address.uuid).get_instance_ip_address())


def remove():
    machine = client.virtual_machine_read(fq_name=["vm1"])
    for name in PORTS:
        client.instance_ip_delete(fq_name=[f"vm1-{name}"])
        client.virtual_machine_interface_delete(fq_name=[*project.fq_name, f"vm1-{name}"])
    client.ref_update("virtual-router", router.uuid, "virtual-machine", machine.uuid, None, "DELETE")
    client.virtual_machine_delete(id=machine.uuid)
    for name in PORTS:
        client.virtual_network_delete(fq_name=[*project.fq_name, name])
    print("removed")


{"set-up": set_up, "remove": remove}[sys.argv[1]]()
