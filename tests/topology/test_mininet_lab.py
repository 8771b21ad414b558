"""The Mininet lab with stand-ins for the roles: fabric, Mininet's own API, faults, and what errors say."""

import json

import pytest

pytestmark = pytest.mark.lab

FABRIC = """
import json, socket, subprocess
from topology import isolation
isolation.enter()
from topology import fabric, linux
net = fabric.build(("node1", "node2"), 1600)
found = {}
"""

LAB = """
import json, os, select, signal, sys
from pathlib import Path
from multinet.errors import MultinetError
from topology import isolation, roles
isolation.enter()
from topology.backend import LabSpec
from topology.mininet_backend import MininetBackend
events = []
run_dir = Path(sys.argv[1])
backend = MininetBackend(entries=dict.fromkeys(roles.ENTRIES, "stand_in:main"), nodes_ready=lambda *_: None)
def start():
    return backend.start(LabSpec(("node1", "node2"), run_dir), lambda kind, data: events.append((kind, data)))
def next_event(lab, kind):
    while True:
        for got, data in events:
            if got == kind:
                return data
        assert select.select([lab], [], [], 10)[0], "nothing happened in 10 s"
        lab.process_events()
"""


def last_json(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_nodes_reach_each_other_and_the_runner_over_the_fabric(run_script, prefix):
    found = last_json(
        run_script(
            FABRIC
            + """
def exchange(server_pid, address, client_pid):
    with linux.joined(server_pid, "net"):
        server = socket.create_server((address, 0))
    with linux.joined(client_pid, "net"):
        client = socket.create_connection(server.getsockname(), timeout=30)
    there, peer = server.accept()
    client.sendall(b"hello")
    return there.recv(5).decode(), peer[0]
import os
pid = {name: net[name].pid for name in ("cp", "node1", "node2")} | {"runner": os.getpid()}
address = {name: net[name].IP() for name in ("cp", "node1", "node2")} | {"runner": "100.64.0.1"}
for server in pid:
    for client in pid:
        if server != client:
            found[f"{client} to {server}"] = exchange(pid[server], address[server], pid[client])
print(json.dumps(found))
""",
            prefix=prefix,
        )
    )
    addresses = {"cp": "100.64.0.10", "node1": "100.64.0.11", "node2": "100.64.0.12", "runner": "100.64.0.1"}
    assert len(found) == 12
    for pair, seen in found.items():
        assert seen == ["hello", addresses[pair.split()[0]]], pair


def test_a_node_is_a_mininet_host_with_a_world_of_its_own(run_script, prefix):
    found = last_json(
        run_script(
            FABRIC
            + """
from pathlib import Path
node1, node2 = net.get("node1", "node2")
found["hostname"] = node1.cmd("hostname").strip(), socket.gethostname()
found["link"] = json.loads(node1.cmd("ip -j addr show dev eth0"))[0]
found["mac"] = node1.MAC(), node1.intf().name, str(net.linksBetween(node1, net["fabric"])[0])
node1.cmd("ip netns add inner; touch /run/multinet-agent/agent.sock")
found["netns"] = [node.cmd("ip netns list").split() for node in (node1, node2)]
found["agent"] = [node.cmd("ls /run/multinet-agent").split() for node in (node1, node2)]
found["runner"] = [path.name for path in Path("/run/netns").iterdir()]
found["popen"] = node2.popen(["hostname"]).communicate()[0].decode().strip()
netfilter = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
found["nf"] = netfilter.read_text().strip() if netfilter.exists() else "0"
found["bridge"] = json.loads(subprocess.run(["ip", "-j", "-d", "link", "show", "master", "fabric"],
    capture_output=True, text=True).stdout)
net.stop()
print(json.dumps(found))
""",
            prefix=prefix,
        )
    )
    assert found["hostname"] == ["node1", "multinet"]
    assert found["mac"] == ["02:00:64:40:00:0b", "eth0", "eth0<->fabric-eth2"]
    assert found["link"]["mtu"] == 1600
    assert found["link"]["address"] == "02:00:64:40:00:0b"
    assert [one["local"] for one in found["link"]["addr_info"] if one["family"] == "inet"] == ["100.64.0.11"]
    assert found["netns"] == [["inner"], []]
    assert found["agent"] == [["agent.sock"], []]
    assert found["runner"] == []
    assert found["popen"] == "node2"
    assert found["nf"] == "0"
    assert [one["ifname"] for one in found["bridge"]] == ["fabric-eth1", "fabric-eth2", "fabric-eth3"]
    assert {(one["num_tx_queues"], one["mtu"]) for one in found["bridge"]} == {(1, 1600)}


def test_stock_mininet_works_in_the_same_namespaces(run_script, prefix):
    """Bare Mininet semantics: its own Host and Link, whose ends are named and moved as Mininet does."""
    found = last_json(
        run_script(
            FABRIC
            + """
from mininet.link import Link
from mininet.node import Host
plain = net.addHost("h9", cls=Host, ip=None)
Link(plain, net["node1"], intfName1="h9-eth0", intfName2="extra0")
plain.cmd("ip addr add 10.9.0.1/24 dev h9-eth0; ip link set h9-eth0 up")
net["node1"].cmd("ip addr add 10.9.0.2/24 dev extra0; ip link set extra0 up")
with linux.joined(plain.pid, "net"):
    server = socket.create_server(("10.9.0.1", 0))
with linux.joined(net["node1"].pid, "net"):
    client = socket.create_connection(server.getsockname(), timeout=30)
print(json.dumps({"peer": client.getsockname()[0], "names": list(net.keys())}))
""",
            prefix=prefix,
        )
    )
    assert found == {"peer": "10.9.0.2", "names": ["cp", "node1", "node2", "h9", "fabric"]}


def test_a_lab_starts_runs_commands_suffers_faults_and_stops(run_script, prefix, tmp_path):
    done = run_script(
        LAB
        + """
lab = start()
found = {"order": [kind for kind, _ in events]}
found["roles"] = [(data["role"], data["node"]) for kind, data in events if kind == "role-ready"]
found["exec"] = lab.exec("node2", ["sh", "-c", "hostname; cat; exit 3"], stdin="given")
found["exec"] = [found["exec"].status, found["exec"].stdout]
found["netns"] = lab.node_netns("node1") == f"/proc/{lab.node_pid('node1')}/ns/net"
try:
    lab.exec("node1", ["sleep", "60"], limit_s=0.2)
except MultinetError as error:
    found["limit"] = str(error)
lab.set_link("node1", False)
found["down"] = "NO-CARRIER" in lab.exec("node1", ["ip", "link", "show", "dev", "eth0"]).stdout
lab.set_link("node1", True)
found["up"] = "NO-CARRIER" not in lab.exec("node1", ["ip", "link", "show", "dev", "eth0"]).stdout
lab.kill("kubelet", "node2", signal.SIGKILL)
found["killed"] = next_event(lab, "role-exited")
starts = [event for event in events if event[0] == "role-ready"]
events.clear()
lab.restart("kubelet", "node2")
found["restarted"] = next_event(lab, "role-ready")["role"]
(pid,) = [data["pid"] for kind, data in starts if (data["role"], data["node"]) == ("vrouter", "node1")]
os.kill(pid, signal.SIGKILL)
found["died"] = next_event(lab, "role-exited")
try:
    lab.kill("vrouter", "node7", 9)
except MultinetError as error:
    found["unknown"] = str(error)
lab.stop()
lab.stop()
found["stopped"] = events[-1]
print(json.dumps(found))
""",
        tmp_path,
        prefix=prefix,
    )
    found = last_json(done)
    assert found["order"][0] == "lab-starting"
    assert found["order"][-1] == "lab-ready"
    assert found["roles"][0] == ["apiserver", "cp"]
    assert len(found["roles"]) == 7
    assert found["exec"] == [3, "node2\ngiven"]
    assert found["netns"]
    assert "waited 0.2 s for sleep on node1" in found["limit"]
    assert (found["down"], found["up"]) == (True, True)
    assert (found["killed"]["status"], found["killed"]["expected"]) == (137, True)
    assert found["restarted"] == "kubelet"
    assert (found["died"]["role"], found["died"]["expected"]) == ("vrouter", False)
    assert "--state-dir" in found["died"]["tail"]
    assert "roles are: apiserver-cp" in found["unknown"]
    assert found["stopped"][0] == "lab-stopped"
    assert found["stopped"][1]["seconds"] < 20
    assert (tmp_path / "logs" / "apiserver-cp.log").read_text().endswith("bye\n")


def test_a_reboot_takes_away_what_a_new_kernel_does_not_have(run_script, prefix, tmp_path):
    done = run_script(
        LAB
        + """
import subprocess
lab = start()
for node in ("node1", "node2"):
    lab.exec(node, ["ip", "link", "add", "planted", "type", "veth", "peer", "name", "other"])
    lab.exec(node, ["ip", "rule", "add", "pref", "100", "table", "77"])
    lab.exec(node, ["ip", "route", "add", "blackhole", "10.7.0.0/16", "table", "77"])
    lab.exec(node, ["ip", "netns", "add", "inner"])
    lab.exec(node, ["touch", "/run/multinet-agent/agent.sock"])
kept = Path("/run/multinet/nodes/node1/kept")
kept.touch()
inside = ["nsenter", "-t", str(lab.node_pid("node1")), "-n"]
service = subprocess.Popen([*inside, "sh", "-c", "echo there; exec sleep 1000"], stdout=subprocess.PIPE)
service.stdout.readline()
before = {(data["role"], data["node"]): data["pid"] for kind, data in events if kind == "role-ready"}
events.clear()
try:
    lab.reboot("cp")
except MultinetError as error:
    found = {"refused": str(error)}
lab.reboot("node1")
found["service"] = service.wait(30)
after = {(data["role"], data["node"]): data["pid"] for kind, data in events if kind == "role-ready"}
found["again"] = sorted(after)
found["other pids"] = all(after[one] != before[one] for one in after)
found["expected"] = [data["expected"] for kind, data in events if kind == "role-exited"]
for node in ("node1", "node2"):
    found[node] = {
        "links": [one["ifname"] for one in json.loads(lab.exec(node, ["ip", "-j", "link"]).stdout)],
        "rules": [one["priority"] for one in json.loads(lab.exec(node, ["ip", "-j", "rule"]).stdout)],
        "routes": lab.exec(node, ["ip", "route", "show", "table", "77"]).stdout.strip(),
        "netns": lab.exec(node, ["ls", "/run/netns"]).stdout.split(),
        "agent": lab.exec(node, ["ls", "/run/multinet-agent"]).stdout.split(),
        "route": lab.exec(node, ["ip", "route", "get", lab.node_ip("cp")]).stdout.split()[2],
    }
found["kept"] = kept.exists()
lab.close()
print(json.dumps(found))
""",
        tmp_path,
        prefix=prefix,
    )
    found = last_json(done)
    assert "'cp' is no worker node" in found["refused"]
    assert found["service"] == -9
    assert found["again"] == [["kubelet", "node1"], ["vrouter", "node1"]]
    assert found["other pids"]
    assert found["expected"] == [True, True]
    assert found["node1"]["links"] == ["lo", "eth0"]
    assert found["node1"]["rules"] == [0, 32766, 32767]
    assert (found["node1"]["routes"], found["node1"]["netns"], found["node1"]["agent"]) == ("", [], [])
    assert sorted(found["node2"]["links"]) == ["eth0", "lo", "other", "planted"]
    assert found["node2"]["rules"] == [0, 100, 32766, 32767]
    assert found["node2"]["netns"] == ["inner"]
    assert (found["node1"]["route"], found["node2"]["route"]) == ("eth0", "eth0")
    assert found["kept"]


def test_a_late_role_does_not_hold_the_lab_back_and_is_waited_for_by_name(run_script, tmp_path):
    done = run_script(
        LAB
        + """
lab = start()
found = {"before": [data["role"] for kind, data in events if kind == "role-ready"]}
lab.wait_role("configapi", "cp", 10)
lab.wait_role("configapi", "cp", 10)
found["after"] = [(data["role"], data["pid"] > 1) for kind, data in events if kind == "role-ready"][7:]
lab.kill("configapi", "cp", signal.SIGKILL)
found["killed"] = next_event(lab, "role-exited")["role"]
lab.restart("configapi", "cp")
found["again"] = [data["role"] for kind, data in events if kind == "role-ready"][8:]
lab.stop()
print(json.dumps(found))
""",
        tmp_path,
    )
    found = last_json(done)
    assert "configapi" not in found["before"]
    assert found["after"] == [["configapi", True]]
    assert (found["killed"], found["again"]) == ("configapi", ["configapi"])
    assert (tmp_path / "logs" / "configapi-cp.log").read_text().endswith("bye\n")


def test_a_late_role_that_fails_says_so_to_whoever_waits(run_script, tmp_path):
    done = run_script(
        LAB
        + """
lab = start()
found = {}
try:
    lab.wait_role("configapi", "cp", 10)
except MultinetError as error:
    found["error"] = str(error)
found["exited"] = next_event(lab, "role-exited")["expected"]
lab.stop()
print(json.dumps(found))
""",
        tmp_path,
        env={"STAND_IN_FAILS": "0.0.0.0:8082"},
    )
    found = last_json(done)
    assert "configapi on cp: configapi ended with status 4 before it was ready" in found["error"]
    assert found["exited"] is False


def test_hosts_are_machines_of_their_own_beside_the_nodes(run_script, prefix, tmp_path):
    found = last_json(
        run_script(
            LAB
            + """
spec = LabSpec(("node1",), run_dir, hosts=("vm1", "vm2"))
lab = backend.start(spec, lambda kind, data: events.append((kind, data)))
told = json.loads(Path("/run/multinet/lab/hosts.json").read_text())
found = {"names": lab.hosts, "nodes": lab.nodes, "told": sorted(told)}
found["netns"] = all(told[name]["netns"] == lab.node_netns(name) for name in lab.hosts)
shown = lab.exec("vm1", ["sh", "-c", "hostname; ip -o link; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up"])
found["shown"] = shown.stdout.splitlines()
found["links"] = len({os.stat(lab.node_netns(name)).st_ino for name in ("cp", "node1", "vm1", "vm2")})
try:
    lab.set_link("vm1", False)
except MultinetError as error:
    found["link"] = str(error)
lab.stop()
try:
    backend.start(LabSpec(("node1",), run_dir, hosts=("node1",)), lambda *_: None)
except MultinetError as error:
    found["twice"] = str(error)
print(json.dumps(found))
""",
            tmp_path,
            prefix=prefix,
        )
    )
    assert (found["names"], found["nodes"], found["told"]) == (["vm1", "vm2"], ["node1"], ["vm1", "vm2"])
    assert found["netns"]
    assert found["links"] == 4
    hostname, loopback, up = found["shown"]
    assert (hostname, up) == ("vm1", "up")
    assert loopback.startswith("1: lo:")
    assert "has no link to the fabric" in found["link"]
    assert "must differ" in found["twice"]


@pytest.mark.parametrize(
    ("environment", "parts"),
    [
        (
            {"STAND_IN_FAILS": "node2"},
            ["on node2: ", " ended with status 4 before it was ready", "was told to fail", "-node2.log"],
        ),
        (
            {"STAND_IN_SILENT": "--pki-dir"},
            ["apiserver on cp: waited 1 s for READY from apiserver-cp", "apiserver-cp.log", "--pki-dir"],
        ),
    ],
    ids=["ends early", "never ready"],
)
def test_a_lab_that_does_not_start_says_who_where_and_why(run_script, tmp_path, environment, parts):
    done = run_script(
        LAB
        + """
from topology import mininet_backend
mininet_backend._API_LIMIT_S = 1.0
try:
    start()
except MultinetError as error:
    left = []
    for entry in [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) > 2]:
        try:
            if not select.select([os.pidfd_open(entry)], [], [], 5)[0]:
                left.append(entry)
        except ProcessLookupError:
            pass
    print(json.dumps({"error": str(error), "left": left}))
""",
        tmp_path,
        env=environment,
    )
    found = last_json(done)
    for part in parts:
        assert part in found["error"]
    assert found["left"] == [], "nothing but init and the runner is alive"


def test_a_pod_command_runs_in_the_sandbox(run_script, tmp_path):
    found = last_json(
        run_script(
            LAB
            + """
import subprocess
lab = start()
pause = subprocess.Popen(
    ["nsenter", "-t", str(lab.node_pid("node1")), "-n", "-m",
     "unshare", "--net", "--uts", "--pid", "--mount", "--ipc", "--fork", "--mount-proc",
     "sh", "-c", "hostname pod1; echo $$; exec sleep 100"],
    stdout=subprocess.PIPE, text=True)
pause.stdout.readline()
inner = int(Path(f"/proc/{pause.pid}/task/{pause.pid}/children").read_text())
folder = Path("/run/multinet/nodes/node1/kubelet/sandboxes")
folder.mkdir(parents=True)
record = {"namespace": "default", "name": "pod1", "uid": "u1", "node": "node1", "containerID": "c",
    "pid": inner, "netns": f"/proc/{inner}/ns/net"}
(folder / "u1.json").write_text(json.dumps(record))
(folder / "u2.json").write_text(json.dumps(record | {"name": "gone", "uid": "u2", "pid": 99999}))
seen = lab.pod_exec("default", "pod1", ["sh", "-c", "hostname; readlink /proc/1/exe"])
print_later = {"out": seen.stdout.split(), "err": seen.stderr, "pods": [one.pod for one in lab.sandboxes()]}
try:
    lab.pod_exec("default", "gone", ["true"])
except MultinetError as error:
    print_later["gone"] = str(error)
lab.stop()
pause.wait(timeout=30)
print_later["end"] = Path(f"/proc/{inner}").exists()
print(json.dumps(print_later))
""",
            tmp_path,
        )
    )
    assert found["out"][0] == "pod1"
    assert found["out"][-1].endswith("sleep")
    assert found["pods"] == ["pod1"]
    assert found["gone"] == "default/gone: this pod has no sandbox: sandboxes: default/pod1"
    assert found["end"] is False
