"""A workload without Kubernetes, made with the original's client alone: one machine in two networks."""

import json
import sys
from urllib.parse import urlsplit

try:
    from vnc_api import vnc_api
    from vnc_api.exceptions import BadRequest, NoIdError, RefsExistError
except ImportError as error:
    sys.exit(f"contrail-api-client is missing (it is in the dev dependencies): {error}")

url, token = urlsplit(sys.argv[1]), sys.argv[2]
client = vnc_api.VncApi(
    api_server_host=url.hostname, api_server_port=url.port, auth_type="noauth", auth_token=token
)
seen = {}


def refused(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as error:
        return str(error)
    return None


def bindings(**pairs):
    listed = [vnc_api.KeyValuePair(key, value) for key, value in pairs.items()]
    return vnc_api.KeyValuePairs(listed)


client.project_create(vnc_api.Project("lab", parent_obj=client.domain_read(fq_name=["default-domain"])))
project = client.project_read(fq_name_str="default-domain:lab")
ipam = vnc_api.NetworkIpam("lab-ipam", parent_obj=project)
client.network_ipam_create(ipam)
networks = []
for name, prefix in (("red", "10.7.1.0"), ("green", "10.7.2.0")):
    network = vnc_api.VirtualNetwork(name, parent_obj=project)
    block = vnc_api.IpamSubnetType(subnet=vnc_api.SubnetType(prefix, 24))
    network.add_network_ipam(ipam, vnc_api.VnSubnetsType([block]))
    client.virtual_network_create(network)
    networks.append(network)

machine = vnc_api.VirtualMachine("Plain Host")
client.virtual_machine_create(machine)
router = client.virtual_router_read(fq_name=["default-global-system-config", "node1"])
seen["router"] = router.virtual_router_ip_address
group = client.security_group_read(fq_name=["default-domain", "lab", "lab-default-sg"])
seen["rules"] = len(group.get_security_group_entries().policy_rule)

interfaces = []
for number, network in enumerate(networks, start=1):
    interface = vnc_api.VirtualMachineInterface(f"port-{number}", parent_obj=project)
    interface.add_virtual_network(network)
    interface.add_virtual_machine(machine)
    interface.add_security_group(group)
    interface.set_virtual_machine_interface_bindings(
        bindings(netns="/run/netns/plain", vif_name=f"net{number}")
    )
    client.virtual_machine_interface_create(interface)
    address = vnc_api.InstanceIp(f"address-{number}")
    address.add_virtual_network(network)
    address.add_virtual_machine_interface(interface)
    client.instance_ip_create(address)
    interfaces.append(
        client.virtual_machine_interface_read(id=interface.uuid, fields=["instance_ip_back_refs"])
    )

router.add_virtual_machine(machine)
client.virtual_router_update(router)
read = [client.virtual_machine_interface_read(id=found.uuid) for found in interfaces]
seen["macs"] = [found.get_virtual_machine_interface_mac_addresses().mac_address[0] for found in read]
seen["uuids"] = [found.uuid for found in read]
seen["bindings"] = [
    {pair.key: pair.value for pair in found.get_virtual_machine_interface_bindings().key_value_pair}
    for found in read
]
seen["addresses"] = [
    client.instance_ip_read(fq_name=[f"address-{number}"]).get_instance_ip_address() for number in (1, 2)
]
seen["back_refs"] = [found.get_instance_ip_back_refs()[0]["to"] for found in interfaces]
seen["of_network"] = [
    found["uuid"]
    for found in client.virtual_machine_interfaces_list(back_ref_id=[networks[0].uuid])[
        "virtual-machine-interfaces"
    ]
]
held = client.virtual_machine_read(id=machine.uuid, fields=["virtual_machine_interface_back_refs"])
seen["of_machine"] = sorted(ref["to"][-1] for ref in held.get_virtual_machine_interface_back_refs())

fixed = vnc_api.InstanceIp("fixed")
fixed.add_virtual_network(networks[0])
fixed.set_instance_ip_address(seen["addresses"][0])
seen["taken"] = refused(RefsExistError, client.instance_ip_create, fixed)
outside = vnc_api.InstanceIp("outside")
outside.add_virtual_network(networks[0])
outside.set_instance_ip_address("192.0.2.1")
seen["outside"] = refused(BadRequest, client.instance_ip_create, outside)
second = vnc_api.InstanceIp("second")
second.add_virtual_network(networks[0])
second.add_virtual_machine_interface(read[0])
seen["second"] = client.instance_ip_create(second)
client.instance_ip_delete(id=seen["second"])

seen["refused"] = {
    "network": refused(RefsExistError, client.virtual_network_delete, id=networks[0].uuid),
    "machine": refused(RefsExistError, client.virtual_machine_delete, id=machine.uuid),
    "interface": refused(RefsExistError, client.virtual_machine_interface_delete, id=read[0].uuid),
    "project": refused(RefsExistError, client.project_delete, id=project.uuid),
    "ipam": refused(RefsExistError, client.network_ipam_delete, fq_name=ipam.fq_name),
}
if "keep" not in sys.argv:
    for number in (1, 2):
        client.instance_ip_delete(fq_name=[f"address-{number}"])
    for found in read:
        client.virtual_machine_interface_delete(id=found.uuid)
    client.ref_update("virtual-router", router.uuid, "virtual-machine", machine.uuid, None, "DELETE")
    client.virtual_machine_delete(id=machine.uuid)
    for network in networks:
        client.virtual_network_delete(id=network.uuid)
    client.network_ipam_delete(fq_name=ipam.fq_name)
    client.project_delete(id=project.uuid)
    seen["gone"] = bool(refused(NoIdError, client.project_read, id=project.uuid))
print(json.dumps(seen))
