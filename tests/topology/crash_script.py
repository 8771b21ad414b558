"""Ten labs, each killed at some moment in some place; says what each left behind.

Runs in namespaces of its own, so that every process it sees is its own. Plants a foreign network namespace,
bridge and veth first. Arguments: seed, scratch directory. The last line of output is a JSON object.
"""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from topology import isolation

HERE = Path(__file__).parent
ROUNDS = 10
READY_LIMIT_S = 30.0
GONE_LIMIT_S = 10.0


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def plant():
    run("ip", "netns", "add", "foreign")
    run("ip", "link", "add", "foreign-br", "type", "bridge")
    run("ip", "link", "add", "foreign-v", "type", "veth", "peer", "name", "inside", "netns", "foreign")
    run("ip", "link", "set", "foreign-v", "up", "master", "foreign-br")


def facts():
    """Everything a lab might leave or touch, as text."""
    return {
        "links": [
            [item["ifname"], item["address"], item["flags"]] for item in json.loads(run("ip", "-j", "link"))
        ],
        "foreign": [item["ifname"] for item in json.loads(run("ip", "-j", "-n", "foreign", "link"))],
        "mounts": Path("/proc/self/mountinfo").read_text().splitlines(),
        "namespaces": sorted({str(Path(f"/proc/{pid}/ns/net").readlink()) for pid in processes()}),
        "processes": sorted(processes()),
        "run": sorted(str(path) for path in Path("/run").rglob("*")),
    }


def processes():
    alive = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and " Z " not in (stat := stat_of(path.name)) and stat:
            alive.append(int(path.name))
    return alive


def stat_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def only_child(pid):
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def victim_of(front, place):
    """The process at ``place`` steps below the front, or the last one there is."""
    pid = front
    for _ in range(place):
        pid = only_child(pid) or pid
    return pid


def wait_gone(known):
    """Wait for the end of every process that was not there before; the kernel tells by pidfd."""
    deadline = time.monotonic() + GONE_LIMIT_S
    while strangers := [pid for pid in processes() if pid not in known]:
        handles = []
        for pid in strangers:
            try:
                handles.append(os.pidfd_open(pid))
            except ProcessLookupError:
                continue
        if handles and not select.select(handles, [], [], max(0, deadline - time.monotonic()))[0]:
            return strangers
        for handle in handles:
            os.close(handle)
    return []


def one_round(place, delay, scratch, *, until=""):
    """Kill after ``delay`` seconds, or as soon as the lab has told the event ``until``."""
    known = processes()
    front = subprocess.Popen(
        [sys.executable, str(HERE / "front_script.py"), str(HERE / "lab_script.py"), scratch],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # select must not miss lines that were read ahead
    )
    kinds = []
    begun = time.monotonic()
    deadline = begun + delay
    while (left := deadline - time.monotonic()) > 0 and select.select([front.stdout], [], [], left)[0]:
        line = front.stdout.readline()
        if not line:
            break
        kinds.append(json.loads(line)["kind"])
        if kinds[-1] == until:
            break
    delay = time.monotonic() - begun
    os.kill(victim_of(front.pid, place), signal.SIGKILL)
    begun = time.monotonic()
    front.wait(timeout=GONE_LIMIT_S)
    left_over = wait_gone(known)
    seconds = round(time.monotonic() - begun, 3)
    errors = front.stderr.read().decode()
    front.stdout.close()
    front.stderr.close()
    last = kinds[-1] if kinds else ""
    return {
        "place": place,
        "delay": delay,
        "last": last,
        "gone_s": seconds,
        "left": left_over,
        "errors": errors,
    }


def main():
    isolation.enter()
    chance = random.Random(int(sys.argv[1]))
    plant()
    before = facts()
    # How long a start takes here and now; then the moments are spread over that time and a bit more.
    rounds = [one_round(0, READY_LIMIT_S, sys.argv[2], until="lab-ready")]
    full = rounds[0]["delay"]
    for number in range(1, ROUNDS):
        delay = full * 1.3 * (number - 1 + chance.random()) / (ROUNDS - 1)
        rounds.append(one_round(number % 3, delay, sys.argv[2]))
    after = facts()
    changed = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
    sys.stdout.write(json.dumps({"rounds": rounds, "changed": changed}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
