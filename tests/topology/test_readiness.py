"""Readiness: notify datagrams, node conditions, sandbox files, role command lines. No privilege needed."""

import dataclasses
import http.server
import json
import os
import socket
import ssl
import threading
import time

import pytest
import trustme

from multinet.errors import LabError, WaitExpiredError
from topology import linux, roles
from topology.backend import LabSpec
from topology.fake_backend import FakeBackend
from topology.readiness import ReadyBoard, is_ready, wait_nodes_ready
from topology.sandboxes import read_sandboxes


def say(path, text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as handle:
        handle.connect(path)
        handle.send(text)


@pytest.fixture
def board(tmp_path):
    made = ReadyBoard(tmp_path / "notify")
    yield made
    made.close()


@pytest.fixture
def silence():
    ends = socket.socketpair()
    yield ends[0]
    for end in ends:
        end.close()


def test_ready_is_said_once_per_start(board, silence):
    path = board.open("kubelet-node1")
    say(path, b"STATUS=listing pods")
    say(path, b"STATUS=listed\nREADY=1\n")
    assert board.wait(["kubelet-node1"], 5, also=silence, check=lambda: None) == ()
    assert board.status("kubelet-node1") == "listed"
    board.open("kubelet-node1")
    assert not board.is_ready("kubelet-node1")


def test_the_missing_are_named_when_the_limit_is_reached(board, silence):
    say(board.open("a"), b"READY=1")
    say(board.open("b"), b"READY=0")
    begun = time.monotonic()
    assert board.wait(["a", "b"], 0.1, also=silence, check=lambda: None) == ("b",)
    assert time.monotonic() - begun < 30


def test_the_wait_ends_at_once_when_the_check_raises(board):
    board.open("a")
    reader, writer = socket.socketpair()
    writer.send(b"!")

    def check():
        raise LabError("a died")

    with reader, writer, pytest.raises(LabError, match="a died"):
        board.wait(["a"], 30, also=reader, check=check)


def node(name, status):
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": status, "reason": "X"}]},
    }


def test_a_node_is_ready_when_its_condition_says_true():
    assert is_ready(node("n", "True"))
    assert not is_ready(node("n", "Unknown"))
    assert not is_ready({"metadata": {"name": "n"}})


@pytest.fixture
def api(tmp_path):
    """An HTTPS server that lists two nodes and streams the watch events a test puts into ``events``."""
    authority = trustme.CA()
    events, asked = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            if "watch" in self.path:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for event in events:
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    self.wfile.flush()
                if events and events[-1] == {"type": "END"}:
                    self.wfile.write(b"0\r\n\r\n")
                self.rfile.read(1)  # until the client hangs up
            else:
                body = {
                    "metadata": {"resourceVersion": "7"},
                    "items": [node("n1", "True"), node("n2", "False")],
                }
                data = json.dumps(body).encode()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_args):
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"https://127.0.0.1:{server.server_port}"
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "multinet",
        "clusters": [
            {"name": "c", "cluster": {"server": url, "certificate-authority": str(tmp_path / "ca.pem")}}
        ],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "multinet", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    yield path, events, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_nodes_are_watched_until_all_are_ready(api):
    path, events, asked = api
    events += [
        {"type": "MODIFIED", "object": node("n2", "False")},
        {"type": "MODIFIED", "object": node("n2", "True")},
    ]
    wait_nodes_ready(path, ("n1", "n2"), 10)
    assert asked == [
        ("/api/v1/nodes", "Bearer secret"),
        ("/api/v1/nodes?watch=1&resourceVersion=7", "Bearer secret"),
    ]


def test_a_node_that_is_ready_at_once_needs_no_watch(api):
    path, _events, asked = api
    wait_nodes_ready(path, ("n1",), 10)
    assert len(asked) == 1


@pytest.mark.programs
def test_the_limit_names_the_nodes_that_are_not_ready(api):
    path, _events, _asked = api
    with pytest.raises(WaitExpiredError, match=r"waited 0\.3 s for condition Ready of n2, n3") as caught:
        wait_nodes_ready(path, ("n1", "n2", "n3"), 0.3)
    assert caught.value.why == "n2: X: None; n3: the node is not in the API"


def test_an_api_that_hangs_up_is_an_error_of_the_lab(api):
    path, events, _asked = api
    events.append({"type": "END"})
    with pytest.raises(LabError, match="ended the watch of nodes"):
        wait_nodes_ready(path, ("n1", "n2"), 10)


def test_sandbox_files_of_all_nodes_are_read_and_dead_ones_left_out(tmp_path):
    for name, where, pid in (
        ("b", "node1", os.getpid()),
        ("a", "node2", os.getpid()),
        ("dead", "node1", 2**22 - 1),
    ):
        folder = tmp_path / where / "kubelet" / "sandboxes"
        folder.mkdir(parents=True, exist_ok=True)
        record = {"namespace": "default", "name": name, "uid": f"uid-{name}", "pid": pid, "node": where}
        record |= {"netns": f"/proc/{pid}/ns/net", "containerID": "c"}
        (folder / f"uid-{name}.json").write_text(json.dumps(record))
    found = read_sandboxes(tmp_path)
    assert [(one.pod, one.node, one.netns) for one in found] == [
        ("a", "node2", f"/proc/{os.getpid()}/ns/net"),
        ("b", "node1", f"/proc/{os.getpid()}/ns/net"),
    ]
    assert read_sandboxes(tmp_path / "nowhere") == ()


def test_role_command_lines_are_what_the_roles_expect(tmp_path):
    spec = LabSpec(("node1",), tmp_path, dialect="contrail-classic")
    paths = roles.Paths(tmp_path)
    api, controller, _scheduler = roles.control_plane(spec, paths, "100.64.0.10", roles.ENTRIES)
    assert api.entry == "multinet.apiserver.main:main"
    assert " ".join(api.argv) == (
        "--listen 0.0.0.0:6443 --advertise https://100.64.0.10:6443 "
        "--pki-dir /run/multinet/lab/pki --kubeconfig /run/multinet/lab/kubeconfig"
    )
    assert controller.argv[-2:] == ("--dialect", "contrail-classic")
    strict = dataclasses.replace(spec, controller=("--namespace-isolation",))
    assert roles.control_plane(strict, paths, "100.64.0.10", roles.ENTRIES)[1].argv == (
        *controller.argv,
        "--namespace-isolation",
    )
    vrouter, kubelet = roles.worker(spec, "node1", paths, "100.64.0.11", roles.ENTRIES)
    assert (vrouter.id, kubelet.id) == ("vrouter-node1", "kubelet-node1")
    assert vrouter.argv[-2:] == ("--state-dir", "/run/multinet/nodes/node1/agent")
    assert " ".join(kubelet.argv) == (
        "--kubeconfig /run/multinet/lab/kubeconfig --node-name node1 --node-ip 100.64.0.11 "
        "--root-dir /run/multinet/nodes/node1 --cluster-dns 10.96.0.10"
    )
    assert roles.preload(roles.ENTRIES)[0] == "multinet.apiserver.main"
    config_api, workloads, names = roles.late(paths, "100.64.0.10", roles.ENTRIES)
    assert (config_api.id, config_api.entry) == ("configapi-cp", "multinet.configapi.main:main")
    assert " ".join(workloads.argv) == "--kubeconfig /run/multinet/lab/kubeconfig"
    assert " ".join(names.argv) == "--kubeconfig /run/multinet/lab/kubeconfig --listen 100.64.0.10"
    assert " ".join(config_api.argv) == "--kubeconfig /run/multinet/lab/kubeconfig --listen 0.0.0.0:8082"
    assert "multinet.configapi.main" not in roles.preload(roles.ENTRIES)


def test_the_tail_of_a_log_is_its_last_lines(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)))
    assert linux.tail(log, 2) == "line 4998\nline 4999"
    assert linux.tail(tmp_path / "none.log") == ""


def test_the_fake_backend_behaves_like_one(tmp_path):
    events = []
    lab = FakeBackend().start(LabSpec(("node1",), tmp_path), lambda kind, _data: events.append(kind))
    lab.set_link("node1", False)
    lab.exec("node1", ["true"])
    with pytest.raises(LabError):
        lab.pod_exec("default", "a", ["true"])
    lab.stop()
    assert events == ["lab-starting", "lab-ready"]
    assert [call[0] for call in lab.calls] == ["set_link", "exec", "stop"]
