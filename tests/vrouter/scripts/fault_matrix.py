"""Every CNI verb under every fault, in one lab: what came of it, in words, and what was left.

Arguments: a directory, and ``matrix`` or ``crashes``. Output: one line of JSON per cell (verb, fault,
outcome, problems, seconds), or per point at which the agent was killed. Each begins and ends with the same
audit: links, addresses, routes, rules, neighbours, forwarding entries, nft, leases, files. Beside the pods
of a cell lives one that nothing may happen to.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path

from topology import isolation

CODES = {
    3: "unknown container",
    4: "not possible",
    5: "I/O failure",
    11: "try again later",
    100: "refused",
    101: "not possible",
    102: "fault found",
}
DONE = {"ADD": "attached", "DEL": "removed", "CHECK": "no fault found", "GC": "removed"}
FAULTS = (
    "agent killed before",
    "agent killed during",
    "agent killed after",
    "API down",
    "netns gone",
    "state file truncated",
    "state file zeroed",
    "state file garbage",
    "state file missing",
    "disk full",
    "the same call twice",
    "20 at once",
)
BYSTANDER = "bystander"
POINTS_AT_MOST = 100
LIMIT_S = 5.0


class Cell:
    def __init__(self, lab, verb, fault, midway):
        self.lab, self.verb, self.fault, self.midway = lab, verb, fault, midway
        self.names = [f"p{number}" for number in range(20)] if fault == "20 at once" else ["p"]
        self.problems = []

    def run(self):
        before, leases = self.lab.audit(), self.lab.leases()
        self.uids = self.lab.decide(*self.names)
        try:
            outcome = self.prepared()
        finally:
            self.clean_up()
        self.problems += self.lab.settled(before | leases, lambda: self.lab.audit() | self.lab.leases())
        return outcome

    def prepared(self):
        for name in self.names:
            self.lab.sandbox(name)
        if self.verb != "ADD":
            for name in self.names:
                self.must("ADD", name)
        self.before_call = self.lab.audit()
        outcome = self.outcome()
        self.must("CHECK", BYSTANDER)
        return outcome

    def clean_up(self):
        for name in self.names:
            self.must("DEL", name)
            self.lab.no_sandbox(name)
        self.lab.undo(self.uids)

    def must(self, verb, name):
        answer = self.lab.call(verb, name, self.uids.get(name, ""))
        if answer.code:
            self.problems.append(f"{verb} of {name}: {answer}")

    def outcome(self):
        kind = self.fault.rpartition(" ")[2]
        if self.fault.startswith("agent killed"):
            return getattr(self, f"killed_{kind}")()
        if self.fault.startswith("state file"):
            return self.damaged(kind)
        other = {
            "API down": self.api_down,
            "netns gone": self.netns_gone,
            "disk full": self.disk_full,
            "the same call twice": self.twice,
            "20 at once": self.many,
        }
        return other[self.fault]()

    # -- faults

    def killed_before(self):
        self.lab.kill_agent()
        first = self.said(self.one())
        self.lab.restart_agent()
        return f"{first}; {self.again()}"

    def killed_during(self):
        self.lab.die_at(self.midway)
        first = self.said(self.one())
        self.lab.agent_ended()
        self.lab.restart_agent()
        return f"{first}; {self.again()}"

    def killed_after(self):
        first = self.said(self.one())
        self.lab.kill_agent()
        self.lab.restart_agent()
        return f"{first}; {self.after()}"

    def api_down(self):
        self.lab.api_down()
        first = self.said(self.one())
        self.lab.api_up()
        return f"{first}; {self.again() if first != DONE[self.verb] else self.after()}"

    def netns_gone(self):
        self.lab.no_sandbox(self.names[0])
        first = self.said(self.one())
        if self.verb in ("DEL", "GC"):
            return f"{first}; {self.after()}"
        return f"{first}; {self.left()}" if self.verb == "ADD" else first

    def damaged(self, how):
        self.lab.kill_agent()
        self.lab.damage(how, self.names[0], BYSTANDER)
        self.lab.restart_agent()
        return f"{self.said(self.one())}; {self.after()}"

    def disk_full(self):
        self.lab.fill_disk()
        try:
            first = self.said(self.one())
        finally:
            self.lab.free_disk()
        return f"{first}; {self.again() if first != DONE[self.verb] else self.after()}"

    def twice(self):
        return f"{self.said(self.one())}; then {self.said(self.one())}; {self.after()}"

    def many(self):
        return f"{self.all_at_once()}; {self.after()}"

    # -- calls

    def begin(self, name):
        pod = "" if self.verb == "GC" else name
        return self.lab.start_call(self.verb, pod, self.uids[name], config=config_of(self.verb))

    def one(self):
        return self.lab.end_call(self.begin(self.names[0]))

    def all_at_once(self):
        children = [self.begin(name) for name in self.names]
        said = {self.said(self.lab.end_call(child)) for child in children}
        return "all " + " or ".join(sorted(said))

    def said(self, answer):
        if not answer.code:
            return DONE[self.verb]
        return f"{CODES.get(answer.error, answer.error)} ({answer.error})"

    # -- what is there afterwards

    def again(self):
        return f"{self.left()}; again: {self.said(self.one())}, {self.after()}"

    def left(self):
        """After a call that failed."""
        if self.verb == "ADD":
            return self.is_there(self.lab.settled(self.before_call, self.lab.audit), "nothing is left")
        if self.verb == "CHECK":
            return self.is_there(self.lab.settled(self.before_call, self.lab.audit), "nothing changed")
        return "nothing is left" if not self.devices() else "the interfaces are there"

    def after(self):
        """After a call that succeeded."""
        if self.verb in ("DEL", "GC"):
            return self.is_there(self.devices(), "nothing is left")
        if self.verb == "CHECK":
            return self.is_there(self.lab.settled(self.before_call, self.lab.audit), "nothing changed")
        codes = {self.lab.call("CHECK", name, self.uids[name]).code for name in self.names}
        return "CHECK finds no fault" if codes == {0} else "CHECK finds faults"

    def devices(self):
        prefixes = tuple(f"tap{uid[:8]}" for uid in self.uids.values())
        lines = self.lab.audit()
        return sorted(line for line in lines if any(prefix in line for prefix in prefixes))

    def is_there(self, found, words):
        self.problems += found
        return words if not found else f"{len(found)} things are different"


def config_of(verb):
    """GC is told that all but one pod is gone."""
    valid = [{"containerID": f"c-{BYSTANDER}", "ifname": "eth0"}]
    return {"cni.dev/valid-attachments": valid} if verb == "GC" else {}


def counted(lab, verb):
    """How many points a call of a verb has at which the agent can be killed."""
    uids = lab.decide("count")
    lab.sandbox("count")
    for each in dict.fromkeys(("ADD", verb, "DEL")):
        if each == verb:
            lab.die_at(0)
        pod = "" if each == "GC" else "count"
        answer = lab.call(each, pod, uids["count"], config=config_of(each))
        assert answer.code == 0, answer
    points = lab.points()
    lab.no_sandbox("count")
    lab.undo(uids)
    return points


def crash(lab, verb, point):
    """Kill the agent at one point of a call, start another, and see what stands: all of it, or nothing.

    Nobody else is on the node, so networks are made and withdrawn as well. One interface is a NIC of the node
    which the audit must see again as it was. None: the call has no such point.
    """
    before, leases = lab.audit(), lab.leases()
    uids = lab.decide("p", networks="red,blue,wire")
    lab.sandbox("p")
    problems = []
    if verb == "DEL":
        problems += wrong(lab.call("ADD", "p", uids["p"]))
    lab.die_at(point)
    answer = lab.call(verb, "p", uids["p"])
    killed = lab.agent_ends(LIMIT_S if answer.code else 0.3)
    if killed:
        lab.restart_agent()
        stands = lab.call("CHECK", "p", uids["p"])
        if stands.error == 3:
            problems += lab.settled(before, lab.audit)
            stood = "nothing"
        else:
            problems += wrong(stands)
            stood = "all of it"
        if verb == "ADD" and stood == "nothing":
            problems += wrong(lab.call("ADD", "p", uids["p"]))
    problems += wrong(lab.call("DEL", "p", uids["p"]))
    lab.no_sandbox("p")
    lab.undo(uids)
    problems += lab.settled(before | leases, lambda: lab.audit() | lab.leases())
    return {"outcome": stood, "answered": answer.code == 0, "problems": problems} if killed else None


def wrong(answer):
    return [str(answer)] if answer.code else []


def crashes(lab):
    for verb in ("ADD", "DEL"):
        for point in range(1, POINTS_AT_MOST):
            found = crash(lab, verb, point)
            if found is None:
                break
            print(json.dumps({"verb": verb, "point": point, **found}), flush=True)


def matrix(lab, only):
    uids = lab.decide(BYSTANDER, networks="red")
    lab.sandbox(BYSTANDER)
    answer = lab.call("ADD", BYSTANDER, uids[BYSTANDER])
    assert answer.code == 0, answer
    for verb in DONE:
        midway = counted(lab, verb) // 2
        for fault in FAULTS:
            if only not in f"{verb} {fault}":
                continue
            cell = Cell(lab, verb, fault, midway)
            begun = time.monotonic()
            try:
                outcome = cell.run()
            except Exception:
                outcome, cell.problems = "the test itself failed", [traceback.format_exc()]
            said = {"verb": verb, "fault": fault, "outcome": outcome, "problems": cell.problems}
            print(json.dumps(said | {"seconds": round(time.monotonic() - begun, 3)}), flush=True)


def main(directory, what, only=""):
    isolation.enter()
    from fault_lab import FaultLab

    lab = FaultLab(Path(directory))
    lab.nad("red", "10.1.1.0/24")
    lab.nad("blue", "10.1.2.0/24")
    lab.at_rest()
    if what == "crashes":
        lab.nic("nic0")
        lab.nad("wire", "10.1.3.0/24", device="nic0")
        lab.at_rest()
        crashes(lab)
    else:
        matrix(lab, only)
    lab.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
