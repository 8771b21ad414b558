"""The agent's decisions, with objects for a cluster and a data path that only notes what it is asked."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.cni import spec, wire
from multinet.cni.wire import Call
from multinet.kube.errors import NotFoundError
from multinet.model.conditions import Condition
from multinet.model.dialect import CONTRAIL_CLASSIC, DEFAULT, DIALECTS
from multinet.vrouter.agent import Agent
from multinet.vrouter.datapath import Attachment, DatapathError, Network, Port, Stray, Wanted
from multinet.vrouter.kernelstate import Link
from multinet.vrouter.main import parse
from multinet.vrouter.marks import alias_of, short_id, stray_of
from multinet.vrouter.reporter import KubeReporter
from multinet.vrouter.server import listening
from multinet.vrouter.states import Record, StateFiles
from multinet.vrouter.turns import Turns
from multinet.vrouter.view import ClusterView

CONFIG = {"cniVersion": "1.1.0", "name": "multinet", "type": "multinet-cni"}


class NotedDatapath:
    def __init__(self):
        self.up, self.log, self.error, self.stuck = {}, [], None, False
        self.hold = None
        self.attaching, self.detached = asyncio.Event(), asyncio.Event()

    def open(self, known, doomed):
        self.up = {each.container_id: each for each in known}
        return tuple(known)

    def strays(self):
        return ()

    def sweep(self):
        self.swept = True

    def plan(self, container_id, netns, pod, pod_uid, wanted):
        ports = tuple(Port(each, f"tap-{each.index}", 7 + each.index, 100, 1500) for each in wanted)
        return Attachment(container_id, netns, pod, pod_uid, ports)

    async def attach(self, attachment):
        self.log.append(("attach", attachment.container_id))
        self.up[attachment.container_id] = attachment
        self.attaching.set()
        if self.hold:
            await self.hold.wait()
        if self.error:
            raise self.error

    async def detach(self, attachment):
        self.log.append(("detach", attachment.container_id))
        if self.stuck:
            raise DatapathError("devices could not be deleted")
        self.up.pop(attachment.container_id, None)
        self.detached.set()

    def check(self, attachment):
        return () if attachment.container_id in self.up else ("everything is gone",)

    async def keep(self, network):
        self.log.append(("keep", network.vni))

    async def release(self, vni):
        self.log.append(("release", vni))

    async def refresh(self, vni):
        self.log.append(("refresh", vni))

    def close(self):
        self.log.append(("close",))


class Rig:
    def __init__(self, cluster, reports, directory, **more):
        self.cluster, self.reports, self.directory = cluster, reports, directory
        self.datapath = NotedDatapath()
        self.view = ClusterView("node1")
        cluster.join(self.view)
        self.agent = Agent(self.view, self.datapath, StateFiles(directory), reports, limit_s=0.05, **more)
        self.agent.open()

    async def call(self, command, container="c1", *, pod="a", uid="", config=None, **environment):
        call = Call(
            {
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": container,
                "CNI_NETNS": "/run/netns/a",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": "/opt/cni/bin",
                "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID={uid}",
                **environment,
            },
            json.dumps({**CONFIG, **(config or {})}).encode(),
        )
        reply = await self.agent.handle(call)
        return reply.code, json.loads(reply.stdout or b"{}")


@pytest.fixture
def rig(cluster, reports, tmp_path):
    return Rig(cluster, reports, tmp_path / "state")


async def test_add_waits_for_the_controller(rig):
    rig.agent._limit_s = 30.0
    adding = asyncio.create_task(rig.call("ADD"))
    await asyncio.sleep(0.01)
    assert not adding.done()
    rig.cluster.pod("node1", "a", ["default", "red"])
    code, result = await adding
    assert code == 0
    assert [item["name"] for item in result["interfaces"]] == ["eth0", "eth1"]
    assert rig.datapath.log == [("attach", "c1")]
    assert len(rig.reports.said) == 1


async def test_an_undecided_pod_is_tried_again_later(rig):
    code, error = await rig.call("ADD")
    assert (code, error["code"]) == (1, spec.TRY_AGAIN_LATER)
    assert "controller" in error["details"]


async def test_a_wait_that_expired_leaves_nothing_behind(rig):
    await rig.call("ADD", pod="nobody")
    assert rig.view._waiting == {}


async def test_a_refused_pod_gets_the_controllers_reason_at_once(rig):
    machine, _ = rig.cluster.pod("node1", "b", ["default"])
    refused = Condition("Resolved", "False", "NADNotFound", "no network default/blue")
    obj = machine.to_object()
    obj["status"] = {"conditions": [refused.to_object()]}
    rig.cluster.tell("machine", obj)
    code, error = await rig.call("ADD", pod="b", uid=machine.pod.uid)
    assert (code, error["code"]) == (1, spec.ATTACHMENT_REFUSED)
    assert "NADNotFound" in error["msg"]
    assert "no network default/blue" in error["details"]
    assert rig.datapath.log == []


async def test_another_incarnation_of_the_pod_is_not_taken(rig):
    rig.cluster.pod("node1", "a", ["default"])
    code, error = await rig.call("ADD", uid="ffffffff-0000-4000-8000-000000000000")
    assert (code, error["code"]) == (1, spec.TRY_AGAIN_LATER)


async def test_an_add_that_fails_is_undone_and_forgotten(rig):
    rig.cluster.pod("node1", "a", ["default"])
    rig.datapath.error = DatapathError("no", why="the kernel said so", next_step="ask it")
    code, error = await rig.call("ADD")
    assert (code, error["code"]) == (1, spec.DATAPATH_FAILED)
    assert error["details"] == "the kernel said so; ask it"
    assert rig.datapath.log == [("attach", "c1"), ("detach", "c1")]
    assert list(rig.directory.iterdir()) == []


async def test_cni_ifname_must_be_the_first_interface(rig):
    rig.cluster.pod("node1", "a", ["default"])
    code, error = await rig.call("ADD", CNI_IFNAME="net1")
    assert (code, error["code"]) == (1, spec.INVALID_ENVIRONMENT)
    assert "net1" in error["msg"]


async def test_chained_it_adds_to_what_the_plugins_before_it_made(rig):
    rig.cluster.pod("node1", "a", ["default"])
    before = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "lo9", "sandbox": "/run/netns/a"}],
        "ips": [{"address": "10.9.0.2/24", "interface": 0}],
        "x-vendor": 1,
    }
    code, result = await rig.call("ADD", config={"prevResult": before})
    assert code == 0
    assert [item["name"] for item in result["interfaces"]] == ["lo9", "eth0"]
    assert [item["interface"] for item in result["ips"]] == [0, 1]
    assert (result["cniVersion"], result["x-vendor"]) == ("1.1.0", 1)
    assert await rig.call("CHECK", config={"prevResult": result}) == (0, {})


async def test_what_add_cannot_act_on_is_refused_before_anything_is_made(rig):
    rig.cluster.pod("node1", "a", ["default"])
    for config, number in (
        ({"prevResult": {"ips": [{"address": "?"}]}}, spec.INVALID_CONFIG),
        ({"runtimeConfig": {"portMappings": [{"hostPort": 80}]}}, spec.INVALID_CONFIG),
        ({"runtimeConfig": {"ips": ["10.9.0.9/24"]}}, spec.UNSUPPORTED_FIELD),
    ):
        code, error = await rig.call("ADD", config=config)
        assert (code, error["code"]) == (1, number)
    assert rig.datapath.log == []


async def test_check_goes_by_prevresult(rig):
    rig.cluster.pod("node1", "a", ["default"])
    _, result = await rig.call("ADD")
    code, error = await rig.call("CHECK")
    assert (code, error["code"]) == (1, spec.INVALID_CONFIG)
    result["interfaces"].clear()
    result["ips"].clear()
    code, error = await rig.call("CHECK", config={"prevResult": result})
    assert (code, error["code"]) == (1, spec.CHECK_FAILED)
    assert "eth0: prevResult does not have it" in error["details"]


async def test_del_of_another_interface_or_container_touches_nothing(rig):
    rig.cluster.pod("node1", "a", ["default"])
    await rig.call("ADD")
    assert await rig.call("DEL", "c2") == (0, {})
    assert await rig.call("DEL", CNI_IFNAME="net1") == (0, {})
    assert "c1" in rig.datapath.up
    assert await rig.call("DEL", CNI_NETNS="", CNI_ARGS="") == (0, {})
    assert rig.datapath.up == {}


async def test_a_restart_finds_its_attachments_and_drops_those_of_gone_pods(rig):
    kept = rig.cluster.pod("node1", "a", ["default", "red"])
    gone = rig.cluster.pod("node1", "b", ["default"])
    await rig.call("ADD", "c1")
    await rig.call("ADD", "c2", pod="b")
    before = rig.agent.attachments
    rig.cluster.gone(*gone)
    again = Rig(rig.cluster, rig.reports, rig.directory)
    assert again.agent.attachments == before
    await again.agent.synced()
    assert [each.pod_uid for each in again.agent.attachments] == [kept[0].pod.uid]
    assert again.datapath.log == [("detach", "c2")]


async def test_interfaces_that_cannot_be_removed_at_start_stay_on_record(rig):
    gone = rig.cluster.pod("node1", "a", ["default"])
    await rig.call("ADD", "c1")
    rig.cluster.gone(*gone)
    again = Rig(rig.cluster, rig.reports, rig.directory)
    again.datapath.stuck = True
    await again.agent.synced()
    assert [each.container_id for each in again.agent.attachments] == ["c1"]
    again.datapath.stuck = False
    assert await again.call("DEL", "c1") == (0, {})
    assert again.agent.attachments == ()


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
async def test_who_writes_the_annotation_is_the_dialects_decision(cluster, reports, tmp_path, dialect):
    rig = Rig(cluster, reports, tmp_path / "state", dialect=dialect)
    rig.cluster.pod("node1", "a", ["default", "red"])
    assert (await rig.call("ADD"))[0] == 0
    ((_, seen, status),) = reports.said
    assert [each.interface for each in seen] == ["eth0", "eth1"]  # VirtualMachine.status, in both
    assert (status is None) == dialect.controller_writes_status


@pytest.mark.parametrize("bundles", [True, False])
@pytest.mark.parametrize("written", [None, "[]"])
async def test_without_an_annotation_only_the_virtual_machine_is_written(cluster, written, bundles):
    patched = []

    class Client:
        async def patch_together(self, patches):
            if bundles:
                patched.extend((each.resource.kind, each.subresource) for each in patches)
            return bundles

        async def patch(self, resource, name, patch, namespace, *, subresource=""):
            patched.append((resource.kind, subresource))

    machine, _ = cluster.pod("node1", "a", ["default"])
    await KubeReporter(Client()).report(machine, (), written)
    assert patched == [("VirtualMachine", "status")] + ([("Pod", "")] if written else [])


async def test_a_refused_report_has_no_write_under_way(cluster):
    written = []

    class Client:
        async def patch_together(self, patches):
            return False

        async def patch(self, resource, name, patch, namespace, *, subresource=""):
            if subresource:
                raise NotFoundError("not found", where=name)
            await asyncio.sleep(0.05)
            written.append(resource.kind)

    machine, _ = cluster.pod("node1", "a", ["default"])
    with pytest.raises(NotFoundError):
        await KubeReporter(Client()).report(machine, (), "[]")
    assert written == ["Pod"], "the ADD that failed may be undone now: nothing may be said of it later"


def test_the_command_line_has_the_dialect():
    argv = ["--kubeconfig", "k", "--node-name", "n", "--node-ip", "100.64.0.11", "--state-dir", "s"]
    assert parse(argv).dialect is DEFAULT
    assert parse([*argv, "--dialect", "contrail-classic"]).dialect is CONTRAIL_CLASSIC
    with pytest.raises(SystemExit):
        parse([*argv, "--dialect", "other"])


async def test_status_follows_the_default_network(rig):
    code, error = await rig.call("STATUS")
    assert (code, error["code"]) == (1, spec.NOT_AVAILABLE)
    await rig.agent.reconcile(1)
    assert (await rig.call("STATUS"))[0] == 0
    assert rig.datapath.log == [("keep", 1), ("refresh", 1)]


async def test_routed_networks_are_kept_as_long_as_they_exist(rig, networks_known):
    await rig.agent.reconcile(0x44)
    rig.cluster.tell("network", None, networks_known["iso"].to_object())
    await rig.agent.reconcile(0x44)
    await rig.agent.reconcile(0x22)
    said = [entry for entry in rig.datapath.log if entry[0] != "refresh"]
    assert said == [("keep", 0x44), ("release", 0x44), ("release", 0x22)]


async def test_operations_on_one_container_do_not_overlap(rig):
    rig.cluster.pod("node1", "a", ["default"])
    rig.cluster.pod("node1", "b", ["default"])
    rig.datapath.hold = asyncio.Event()
    first = asyncio.create_task(rig.call("ADD"))
    await asyncio.sleep(0)
    delete = asyncio.create_task(rig.call("DEL"))
    other = asyncio.create_task(rig.call("ADD", "c2", pod="b"))
    await asyncio.sleep(0.01)
    assert rig.datapath.log == [("attach", "c1"), ("attach", "c2")]
    rig.datapath.hold.set()
    await asyncio.gather(first, delete, other)
    assert rig.datapath.log == [("attach", "c1"), ("attach", "c2"), ("detach", "c1")]


async def test_a_plugin_that_is_killed_takes_its_add_with_it(rig, tmp_path_factory):
    rig.cluster.pod("node1", "a", ["default"])
    rig.datapath.hold = asyncio.Event()
    path = tmp_path_factory.mktemp("s") / "agent.sock"
    async with listening(path, rig.agent.handle):
        _, writer = await asyncio.open_unix_connection(path)
        environment = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": "/x",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=a",
        }
        writer.write(wire.encode_call(Call(environment, json.dumps(CONFIG).encode())))
        await writer.drain()
        await asyncio.wait_for(rig.datapath.attaching.wait(), 30)
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(rig.datapath.detached.wait(), 30)
    assert rig.datapath.log == [("attach", "c1"), ("detach", "c1")]
    assert rig.agent.attachments == ()


async def test_the_socket_answers_and_survives_nonsense(rig, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "agent.sock"
    async with listening(path, rig.agent.handle):
        assert path.stat().st_mode & 0o777 == 0o600
        for sent in (b"GET / HTTP/1.1\r\n\r\n", struct.pack("I", 7), b""):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        # A call that is larger than what is read at once, by a caller that is not quick.
        whole = wire.encode_call(Call({"CNI_COMMAND": "VERSION"}, b'{"cniVersion":"0.4.0"}' + b" " * 400_000))
        reader, writer = await asyncio.open_unix_connection(path)
        for part in (whole[:3], whole[3:-1], whole[-1:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        reply = wire.decode_reply(await reader.read())
        writer.close()
    assert json.loads(reply.stdout)["cniVersion"] == "0.4.0"
    assert not path.exists()


async def test_calls_wait_while_the_agent_has_no_descriptor_left(rig, tmp_path_factory, monkeypatch, caplog):
    refusals = [OSError(errno.EMFILE, "Too many open files")]

    class Full(socket.socket):
        def accept(self):
            if refusals:
                raise refusals.pop()
            return super().accept()

    monkeypatch.setattr("multinet.vrouter.server.socket.socket", Full)
    path = tmp_path_factory.mktemp("s") / "agent.sock"
    async with listening(path, rig.agent.handle):
        monkeypatch.undo()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(wire.encode_call(Call({"CNI_COMMAND": "VERSION"}, b"{}")))
        reply = wire.decode_reply(await asyncio.wait_for(reader.read(), 30))
        writer.close()
    assert (reply.code, refusals) == (0, [])
    assert "Too many open files" in caplog.text


def test_a_damaged_state_file_is_set_aside_until_it_is_settled(tmp_path):
    files = StateFiles(tmp_path)
    files.store(Record(Attachment("c" * 300, "/x", "a/b", "u", (), "multinet"), "multinet", "eth0"))
    damage = {"cut": b'{"version": 1', "empty": b"", "zeroed": bytes(40), "other": b'{"version": "x"}'}
    for name, content in damage.items():
        (tmp_path / f"{name}.json").write_bytes(content)
    loaded = files.load()
    assert [record.attachment.container_id for record in loaded.records] == ["c" * 300]
    said = "\n".join(loaded.damaged)
    assert all(part in said for part in ("cut.json", "it is empty", "it is all zeros", "unknown version 'x'"))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".damaged"] * 4 + [".json"]
    files.tidy()
    files.remove("c" * 300)
    assert list(tmp_path.iterdir()) == []


def test_a_state_file_says_whether_the_attachment_stands(tmp_path):
    files = StateFiles(tmp_path / "state")
    record = Record(Attachment("c1", "/x", "a/b", "u", ()), "multinet", "eth0")
    (tmp_path / "state").rmdir()  # somebody cleaned up
    files.begin(record)
    assert (files.load().records, files.load().partial) == ((), {"c1"})
    files.commit(record)
    assert (len(files.load().records), files.load().partial) == (1, frozenset())
    files.doom("c1")
    files.doom("c1")
    assert (files.load().records, files.load().partial) == ((), {"c1"})


def test_the_mark_of_a_device_says_whose_it_is(tmp_path):
    def mark(container_id, pod, netns="/run/netns/cni-1"):
        wanted = Wanted(0, "eth0", "02:00:00:00:00:01", (), (), 0, Network(1, "l3"))
        port = Port(wanted, "tap1-0", 7, 100, 1500)
        alias = alias_of(Attachment(container_id, netns, pod, "u", (port,), "multinet"), port)
        assert len(alias.encode()) <= 255
        return stray_of(Link(7, "tap1-0", "", 1400, True, 0, 0, alias))

    assert mark("c1", "default/a") == Stray(7, "tap1-0", 1400, "c1", "multinet", "/run/netns/cni-1")
    assert mark("c" * 300, "n" * 63 + "/" + "ü" * 253).container == short_id("c" * 300)
    assert mark("c1", "default/a", "/x" * 120) is None  # no room: the state file has to do
    assert stray_of(Link(7, "x", "", 1400, True, 0, 0, "multinet network VNI 7; a b c")) is None


async def test_remotes_are_members_on_other_nodes_whose_address_is_known(cluster):
    view = ClusterView("node1")
    cluster.join(view)
    heard = []
    view.on_network(heard.append)
    cluster.pod("node1", "a", ["default", "red"])
    _, interfaces = cluster.pod("node2", "b", ["default", "red"])
    assert view.remotes(0x22) == frozenset()
    node = {
        "metadata": {"name": "node2"},
        "status": {"addresses": [{"type": "InternalIP", "address": "100.64.0.12"}]},
    }
    cluster.tell("node", node)
    (remote,) = view.remotes(0x22)
    assert (remote.mac, remote.node_ip) == (interfaces[1].mac, "100.64.0.12")
    assert remote.addresses == (interfaces[1].addresses[0].address,)
    heard.clear()
    cluster.tell("interface", None, interfaces[1].to_object())
    assert view.remotes(0x22) == frozenset()
    assert heard == [0x22]


async def test_turns_leave_nothing_behind():
    turns = Turns()
    async with turns.hold("a"), turns.hold("b"):
        assert set(turns._locks) == {"a", "b"}
    assert turns._locks == {}


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    environment=st.dictionaries(
        st.sampled_from(["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]),
        TEXT | st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "eth0"]),
    ),
    stdin=st.binary(max_size=60) | st.just(json.dumps(CONFIG).encode()),
)
def test_every_call_has_an_answer(tmp_path_factory, environment, stdin):
    async def run():
        agent = Agent(
            ClusterView("n"), NotedDatapath(), StateFiles(tmp_path_factory.mktemp("s")), None, limit_s=0.0
        )
        return await agent.handle(Call(environment, stdin))

    reply = asyncio.run(run())
    assert reply.code in (0, 1)
    if reply.code:
        error = json.loads(reply.stdout)
        assert error["code"] != spec.INTERNAL
        assert error["msg"]
