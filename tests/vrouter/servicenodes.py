"""Servers and clients in network namespaces, and services on the nodes of a test lab."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from multinet.vrouter import netns
from multinet.vrouter.services import ServiceProxy
from multinet.waits import wait_for


@contextlib.contextmanager
def within(name):
    with Path(f"/run/netns/{name}").open() as handle, netns.entered(handle.fileno()):
        yield


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextlib.asynccontextmanager
async def serving(name, port, *, text=None, kind=socket.SOCK_STREAM, device="", family=socket.AF_INET):
    """Answer everyone with ``text`` (default: the namespace's name) and the address it saw."""
    with within(name):
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.bind(("", port))
        made.setblocking(False)

    def said(peer):
        return f"{text or name} {peer[0]}".encode()

    if kind == socket.SOCK_STREAM:

        async def answer(_reader, writer):
            writer.write(said(writer.get_extra_info("peername")))
            writer.close()

        server = await asyncio.start_server(answer, sock=made)
        try:
            yield
        finally:
            server.close()
        return

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, _data, peer):
            self.transport.sendto(said(peer), peer)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, sock=made)
    try:
        yield
    finally:
        transport.close()


async def ask(name, address, port, *, kind=socket.SOCK_STREAM, limit_s=20.0):
    """What a server says to a client in a namespace: (its text, the address it saw)."""
    loop = asyncio.get_running_loop()
    with within(name):
        client = socket.socket(family_of(address), kind)
    client.setblocking(False)

    async def talk():
        await loop.sock_connect(client, (address, port))
        if kind == socket.SOCK_DGRAM:
            await loop.sock_sendall(client, b"?")
        return await loop.sock_recv(client, 100)

    try:
        said = await wait_for(f"{address}:{port} to answer {name}", talk(), limit_s)
    finally:
        client.close()
    return tuple(said.decode().split())


@contextlib.asynccontextmanager
async def talking(name, address, port):
    """A UDP client in a namespace that keeps its socket: a function that asks once more."""
    loop = asyncio.get_running_loop()
    with within(name):
        client = socket.socket(family_of(address), socket.SOCK_DGRAM)
    client.setblocking(False)

    async def again():
        await loop.sock_sendall(client, b"?")
        said = await wait_for(f"{address}:{port} to answer {name}", loop.sock_recv(client, 100), 20)
        return tuple(said.decode().split())

    with contextlib.closing(client):
        await loop.sock_connect(client, (address, port))
        yield again


class Services:
    """The services of all nodes of a lab."""

    def __init__(self, lab):
        self.lab = lab
        self.proxies = {}
        self.descriptors = []
        self.told = []

    def start(self, node):
        """A node's proxy, as a new agent makes it."""
        descriptor = os.open(f"/run/netns/{node.name}", os.O_RDONLY)
        self.descriptors.append(descriptor)
        with within(node.name):
            proxy = ServiceProxy(node.ip, node.view, node_ip6=node.ip6, inside=descriptor)
            proxy.open()
        for what, obj in self.told:
            getattr(proxy, what)(None, obj)
        self.proxies[node.name] = proxy
        return proxy

    async def tell(self, what, obj, old=None):
        if obj is not None:
            self.told.append((what, obj))
        for proxy in self.proxies.values():
            getattr(proxy, what)(old, obj)
            await proxy.apply()

    async def service(self, name, address, pods, *, port=80, target=8080, namespace="default", protocol="TCP",
                      node_port=0, affinity_s=0, **spec):  # fmt: skip
        """A service with the given pods (namespace, name, address, node) behind it.

        ``address`` may be several, with commas.
        """
        ports = [{"port": port, "targetPort": target, "protocol": protocol}]
        if node_port:
            ports[0]["nodePort"] = node_port
            spec.setdefault("type", "NodePort")
        if affinity_s:
            spec["sessionAffinity"] = "ClientIP"
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": affinity_s}}
        metadata = {"namespace": namespace, "name": name}
        await self.tell(
            "service_changed",
            {"metadata": metadata, "spec": {"clusterIPs": address.split(","), "ports": ports, **spec}},
        )
        return await self.endpoints(name, pods, target=target, namespace=namespace, protocol=protocol)

    async def endpoints(self, name, pods, *, target=8080, namespace="default", protocol="TCP", old=None):
        six = bool(pods) and ":" in pods[0][1]
        endpoint_slice = {
            "metadata": {
                "namespace": namespace,
                "name": f"{name}-{6 if six else 1}",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv6" if six else "IPv4",
            "ports": [{"name": "", "port": target, "protocol": protocol}],
            "endpoints": [
                {
                    "addresses": [address],
                    "nodeName": node,
                    "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
                }
                for pod, address, node in pods
            ],
        }
        await self.tell("slice_changed", endpoint_slice, old)
        return endpoint_slice

    def close(self):
        for descriptor in self.descriptors:
            os.close(descriptor)
