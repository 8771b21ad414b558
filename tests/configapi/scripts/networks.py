"""Virtual networks with the unmodified client of the original: create, read, list, update, delete, 409."""

import json
import sys
from urllib.parse import urlsplit

try:
    from vnc_api import vnc_api
    from vnc_api.exceptions import BadRequest, NoIdError, PermissionDenied, RefsExistError
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


def subnet(prefix, length, **more):
    return vnc_api.IpamSubnetType(subnet=vnc_api.SubnetType(prefix, length), **more)


project = client.project_read(fq_name=["default-domain", "k8s-default"])
seen["project"] = [project.uuid, project.parent_type]
ipam = client.network_ipam_read(fq_name=vnc_api.NetworkIpam().get_fq_name())
blue = vnc_api.VirtualNetwork("blue", parent_obj=project)
blue.add_network_ipam(ipam, vnc_api.VnSubnetsType([subnet("10.9.1.0", 24)]))
blue.set_virtual_network_properties(vnc_api.VirtualNetworkType(forwarding_mode="l2_l3"))
seen["uuid"] = client.virtual_network_create(blue)
seen["again"] = refused(
    RefsExistError, client.virtual_network_create, vnc_api.VirtualNetwork("blue", project)
)

read = client.virtual_network_read(id=seen["uuid"])
attr = read.get_network_ipam_refs()[0]["attr"]
shown = attr.get_ipam_subnets()[0]
seen["read"] = {
    "fq_name": read.get_fq_name(),
    "parent": read.parent_uuid,
    "gateway": shown.default_gateway,
    "dns": shown.dns_server_address,
    "mode": read.get_virtual_network_properties().forwarding_mode,
    "by_name": client.virtual_network_read(fq_name_str="default-domain:k8s-default:blue").uuid,
}
seen["name"] = client.fq_name_to_id("virtual-network", blue.get_fq_name())
seen["id"] = client.id_to_fq_name_type(seen["uuid"])
seen["unknown"] = bool(refused(NoIdError, client.virtual_network_read, fq_name=["a", "b", "c"]))

named = {"display_name": "blue"}
seen["lists"] = {
    "plain": [found["fq_name"][-1] for found in client.virtual_networks_list()["virtual-networks"]],
    "parent": [
        found["uuid"] for found in client.virtual_networks_list(parent_id=project.uuid)["virtual-networks"]
    ],
    "parent_name": [
        found["uuid"]
        for found in client.virtual_networks_list(parent_fq_name=project.fq_name)["virtual-networks"]
    ],
    "detail": [found.name for found in client.virtual_networks_list(filters=named, detail=True)],
    "count": client.virtual_networks_list(count=True)["virtual-networks"]["count"],
    "bulk": len(client.virtual_networks_list(obj_uuids=[seen["uuid"]] * 30)["virtual-networks"]),
    "fields": client.virtual_networks_list(obj_uuids=[seen["uuid"]], fields=["fabric_snat"])[
        "virtual-networks"
    ],
    "none": client.virtual_networks_list(filters={"display_name": "no such"})["virtual-networks"],
}
seen["children"] = [child["to"][-1] for child in client.project_read(id=project.uuid).get_virtual_networks()]

read.set_display_name("Blau")
read.set_fabric_snat(True)
read.add_annotations(vnc_api.KeyValuePair("team", "red"))
client.virtual_network_update(read)
again = client.virtual_network_read(id=seen["uuid"])
seen["updated"] = [
    again.display_name,
    again.get_fabric_snat(),
    again.get_annotations().key_value_pair[0].value,
]
again.del_annotations(elem_position="team")
client.virtual_network_update(again)
left = client.virtual_network_read(id=seen["uuid"]).get_annotations()
seen["annotations_left"] = len(left.key_value_pair or []) if left else 0

again.set_network_ipam(ipam, vnc_api.VnSubnetsType([subnet("10.9.1.0", 24), subnet("10.9.2.0", 24)]))
client.virtual_network_update(again)
blocks = client.virtual_network_read(id=seen["uuid"]).get_network_ipam_refs()[0]["attr"].get_ipam_subnets()
seen["blocks"] = [block.subnet.ip_prefix for block in blocks]
seen["subnet_uuids"] = [block.subnet_uuid for block in blocks]

address = vnc_api.InstanceIp("held")
address.add_virtual_network(again)
address.set_instance_ip_address("10.9.2.7")
client.instance_ip_create(address)
again.set_network_ipam(ipam, vnc_api.VnSubnetsType([subnet("10.9.1.0", 24)]))
seen["block_in_use"] = refused(RefsExistError, client.virtual_network_update, again)
seen["in_use"] = refused(RefsExistError, client.virtual_network_delete, id=seen["uuid"])
client.instance_ip_delete(fq_name=["held"])

taken = client.virtual_network_ip_alloc(again, count=2, subnet=blocks[0].subnet_uuid)
seen["alloc"] = taken
seen["ip_count"] = json.loads(client.virtual_network_subnet_ip_count(again, [blocks[0].subnet_uuid]))
client.virtual_network_ip_free(again, taken)
seen["ip_count_after"] = json.loads(client.virtual_network_subnet_ip_count(again, [blocks[0].subnet_uuid]))

pools = vnc_api.VirtualNetwork("pools", parent_obj=project)
pool = subnet("10.9.3.0", 24, allocation_pools=[vnc_api.AllocationPoolType("10.9.3.5", "10.9.3.9")])
pools.add_network_ipam(ipam, vnc_api.VnSubnetsType([pool]))
seen["unsupported"] = refused(BadRequest, client.virtual_network_create, pools)
seen["fixed"] = refused(PermissionDenied, client.project_delete, id=project.uuid)

client.kv_store("key", "value")
seen["kv"] = [client.kv_retrieve("key"), client.kv_retrieve()]
client.kv_delete("key")
seen["kv_gone"] = bool(refused(NoIdError, client.kv_retrieve, "key"))

client.virtual_network_delete(id=seen["uuid"])
seen["deleted"] = bool(refused(NoIdError, client.virtual_network_read, id=seen["uuid"]))
chosen = vnc_api.VirtualNetwork("chosen", parent_obj=project)
chosen.uuid = "11111111-2222-3333-4444-555555555555"
seen["chosen"] = client.virtual_network_create(chosen)
print(json.dumps(seen))
