"""What a scenario file holds. The published JSON schema (`scenarios/schema.json`) is made from these models.

Only the shape is decided here; what the parts mean together (does the pod's NAD exist, is the CIDR one?) is
judged in :mod:`scenarios.semantics`, and where it stands in the file is known to :mod:`scenarios.loader`.

Pods, NADs and the like are named ``name`` or ``namespace/name``; without a namespace it is ``default``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic import model_validator as _after

API_VERSION = "multinet.opencontrail.org/v1alpha1"
KIND = "Scenario"
ACTIONS = (
    "apply",
    "wait",
    "matrix",
    "check",
    "annotate",
    "label",
    "delete",
    "exec",
    "fault",
    "kubectl",
    "leftovers",
)
# A failed step of these kinds leaves the lab in a state that later steps didn't expect.
CHANGING = frozenset({"apply", "wait", "annotate", "label", "delete", "fault"})
Protocol = Literal["arp", "icmp", "udp", "tcp", "nd", "icmp6", "udp6", "tcp6"]
PROTOCOLS: tuple[Protocol, ...] = ("arp", "icmp", "udp", "tcp", "nd", "icmp6", "udp6", "tcp6")

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m)?\s*$")
_FACTOR = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


def seconds(value: object) -> object:
    """``"500ms"``, ``"10s"``, ``"2m"`` or a number, in seconds."""
    if isinstance(value, str):
        match = _DURATION.match(value)
        if match is None:
            raise ValueError("a duration is a number with ms, s or m, such as 500ms, 10s or 2m")
        return float(match.group(1)) * _FACTOR[match.group(2)]
    return value


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    Field(gt=0, le=3600),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m)?$"},
                {"type": "number", "exclusiveMinimum": 0},
            ],
            "description": "A duration, such as 500ms, 10s or 2m; a bare number is seconds.",
        }
    ),
]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
    Field(description="A name, or namespace/name; without a namespace it is default."),
]
Reference = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z-]+(/[^/\s]+){1,2}$"),
    Field(description="kind/name or kind/namespace/name, such as pod/web-1 or nad/extns/data-network."),
]
Pattern = Annotated[
    str,
    Field(description="[namespace/]pod[:interface]; * and ? match as in file names. Such as web-*:eth1."),
]
Argv = Annotated[list[str], Field(min_length=1, description="A command as a list of words; no shell.")]
HostName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63),
    Field(description="A name of small letters, digits and -."),
]
Interface = Annotated[str, StringConstraints(min_length=1, max_length=15)]
Pods = Literal["all"] | Annotated[list[Name], Field(min_length=1)]


NAME_WORDS = "small letters, digits, - and ., with a letter or digit at both ends"
# What a pattern allows, for error texts: nobody should have to read the expression.
ALLOWED = {
    r"^[a-z][a-z0-9]{0,14}$": "a small letter and up to 14 more small letters and digits, such as nic0",
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": "name or namespace/name, each of "
    + NAME_WORDS,
    r"^[A-Za-z-]+(/[^/\s]+){1,2}$": "kind/name or kind/namespace/name, such as pod/web-1, without blanks",
    r"^[a-z]([-a-z0-9]*[a-z0-9])?$": "small letters, digits and -, with a letter first and no - last",
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": NAME_WORDS,
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*$": "letters, digits, _, . and -, with a letter or digit first",
}


class Model(BaseModel):
    """A part of a scenario: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _exactly_one(model: BaseModel, names: tuple[str, ...], what: str) -> None:
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        found = "none is given" if not given else f"{' and '.join(given)} are given"
        raise ValueError(f"{what} has exactly one of {', '.join(names)}; {found}")


class Cni(Model):
    """CNI plugins of this machine (such as Debian's containernetworking-plugins) as the pods' network.

    It is a CNI configuration list. multinet's own controller and node agents do not run; pods have eth0 only.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=63)]
    cni_version: Literal["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] = Field("1.0.0", alias="cniVersion")
    plugins: list[dict[str, Any]] = Field(
        min_length=1,
        description="Plugin configurations, in order. $(NODE_NAME) and $(NODE_NUMBER) stand for the node.",
    )

    @_after(mode="after")
    def _types(self) -> Self:
        for position, plugin in enumerate(self.plugins):
            if not isinstance(plugin.get("type"), str) or not plugin["type"] or "/" in plugin["type"]:
                raise ValueError(f"plugins[{position}] needs a type, the name of a plugin's executable")
            if not isinstance(plugin.get("ipam", {}), dict):
                why = f"plugins[{position}].ipam is a map, such as {{type: host-local, ...}}"
                raise ValueError(why)  # noqa: TRY004 - the one that pydantic takes for a finding
        return self


class LabLink(Model):
    """A link beside the fabric: a spare NIC at either end, for NADs that hand it to a pod."""

    nodes: list[HostName] = Field(
        min_length=2, max_length=2, description="Two different nodes, or a node and one of the hosts."
    )
    device: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,14}$")] = Field(
        "nic0", description="What the NIC is called at either end."
    )


class Lab(Model):
    """The lab to build."""

    nodes: int = Field(2, ge=1, le=32, description="Number of worker nodes: node1, node2, ...")
    hosts: list[HostName] = Field(
        [],
        max_length=32,
        description="Plain machines beside the nodes, without Kubernetes, role or link. Interfaces come by "
        "the config API; where their network namespaces are is told in /run/multinet/lab/hosts.json.",
    )
    links: list[LabLink] = Field([], max_length=64, description="Links beside the fabric.")
    dialect: Literal["default", "contrail-classic"] = "default"
    ipv6: bool = Field(False, description="Nodes, and pods in the default network, have IPv6 as well.")
    cni: Cni | None = None


class Wait(Model):
    """Wait until pods, networks or roles are in a state; event-driven, never a fixed time."""

    pods: Pods | None = None
    networks: list[Name] | None = Field(None, description="NADs whose virtual network must be Ready.")
    virtual_networks: list[str] | None = Field(
        None, alias="virtualNetworks", description="VirtualNetwork objects that must be Ready."
    )
    roles: list[str] | None = Field(
        None,
        description="Roles on cp that must be ready; configapi, workloads and nameserver start late.",
    )
    until: Literal["Ready", "Running", "Scheduled", "Gone"] = Field(
        "Ready", alias="for", description="The state to wait for; networks know Ready and Gone."
    )
    timeout: Duration = 10.0

    @_after(mode="after")
    def _something(self) -> Self:
        if self.pods is None and not (self.networks or self.virtual_networks or self.roles):
            raise ValueError("wait needs pods, networks, virtualNetworks or roles")
        if self.roles and self.until != "Ready":
            raise ValueError("roles are waited for to be Ready, nothing else")
        return self


class Override(Model):
    """What is expected otherwise than the objects alone say, for the pairs that match every given key."""

    source: Pattern = Field("*", alias="from")
    to: Pattern = "*"
    both: bool = Field(True, description="Also in the other direction.")
    nodes: list[str] | None = Field(
        None, min_length=2, max_length=2, description="Only pairs whose pods are on these two nodes."
    )
    protocols: list[Protocol] | None = Field(None, min_length=1)
    reachable: bool


class Matrix(Model):
    """Probe from each interface to each other by each protocol; compare with what must be.

    With all pods, the hosts' interfaces take part; a host is called host/<name>. IPv6 is probed between
    interfaces that both have it.
    """

    pods: Pods = "all"
    protocols: list[Protocol] = Field(list(PROTOCOLS), min_length=1)
    expect: list[Override] = Field([], description="Exceptions while a fault is on.")


class Pending(Model):
    """A pod that must not come up, and the reason that its user must be told."""

    pod: Name
    reason: str | None = Field(None, description="Reason of an Event, a condition or a waiting container.")
    message: str | None = Field(None, description="Text that the message must contain.")
    timeout: Duration = 5.0


class Check(Model):
    """Compare annotation, kernel and expectation of each attachment; or that a pod stays Pending."""

    pods: Pods | None = Field(None, description="Whose attachments; all, unless only pending is given.")
    attachments: dict[Name, list[str]] | None = Field(
        None,
        description="Per pod: the NADs of its interfaces in order after eth0, as namespace/name or name.",
    )
    unchanged: bool = Field(False, description="Also the same as in the latest check before this one.")
    pending: list[Pending] | None = None


class Metadata(Model):
    """Change annotations or labels of an object; null removes one."""

    on: Reference
    values: dict[str, str | None] = Field(alias="set", min_length=1)


class Delete(Model):
    """Delete objects and wait until they are gone."""

    objects: list[Reference] = Field(min_length=1)
    grace_period: int | None = Field(None, alias="gracePeriodSeconds", ge=0)
    timeout: Duration = 10.0


class Expected(Model):
    """How a command must end."""

    exit_code: int = Field(0, alias="exitCode", ge=0, le=255)
    contains: list[str] | str | None = Field(None, description="Texts that its output must contain.")
    timeout: Duration = 10.0


class Exec(Expected):
    """Run a command in a pod's namespaces, or (in the scenario's folder) on a node, cp or a host."""

    pod: Name | None = None
    node: str | None = None
    command: Argv

    @_after(mode="after")
    def _one_place(self) -> Self:
        _exactly_one(self, ("pod", "node"), "exec")
        return self


class Kubectl(Expected):
    """Run kubectl against the lab's API."""

    argv: Argv = Field(description="Arguments, without the word kubectl.")
    stdin: str | None = None


class LinkFault(Model):
    """The link between a node and the fabric."""

    node: str
    state: Literal["down", "up"]


class KillFault(Model):
    """Send a signal to a role's process."""

    role: str
    node: str = "cp"
    signal: Literal["KILL", "TERM", "STOP", "CONT", "HUP"] = "KILL"


class RestartFault(Model):
    """Stop a role's process and start it again; returns when it is ready."""

    role: str
    node: str = "cp"


class NetnsFault(Model):
    """A command in a node's network namespace, such as deleting a route; it must succeed."""

    node: str
    command: Argv


class RebootFault(Model):
    """Reboot a worker node: its processes, namespaces and links end at once, its directories stay.

    Kubelet and agent start again; returns when the kubelet has noticed what became of the node's pods.
    """

    node: str


class Fault(Model):
    """Break something, or mend it."""

    link: LinkFault | None = None
    kill: KillFault | None = None
    restart: RestartFault | None = None
    netns: NetnsFault | None = None
    reboot: RebootFault | None = None

    @_after(mode="after")
    def _one_kind(self) -> Self:
        _exactly_one(self, ("link", "kill", "restart", "netns", "reboot"), "fault")
        return self


class Leftovers(Model):
    """Nothing of the pods that are gone may remain: links, namespaces, addresses, objects."""

    timeout: Duration = 5.0


class Step(Model):
    """One step: a name and exactly one action."""

    name: str = Field(min_length=1, max_length=200)
    needs: list[str] | None = Field(
        None,
        description="Names of earlier steps this one needs. Without it: all earlier steps that change "
        "the lab (apply, wait, annotate, label, delete, fault).",
    )
    expect: Literal["attached", "pending"] = Field(
        "attached",
        description="For apply: pending says that a pod here names a network that doesn't exist, on purpose.",
    )
    apply: list[dict[str, Any] | str] | None = Field(
        None, min_length=1, description="Plain Kubernetes objects, or paths of files with them."
    )
    wait: Wait | None = None
    matrix: Matrix | None = None
    check: Check | None = None
    annotate: Metadata | None = None
    label: Metadata | None = None
    delete: Delete | None = None
    exec: Exec | None = None
    fault: Fault | None = None
    kubectl: Kubectl | None = None
    leftovers: Leftovers | None = None

    @_after(mode="after")
    def _one_action(self) -> Self:
        _exactly_one(self, ACTIONS, "a step")
        return self

    @property
    def action(self) -> str:
        """Name of the one action."""
        return next(name for name in ACTIONS if getattr(self, name) is not None)


class Fuzz(Model):
    """Where the file comes from: a sequence that the fuzzer found to break rules, for `multinet replay`.

    `multinet run` takes the steps of the scenario alone, and refuses the file where some have no such step.
    """

    seed: int = 0
    rules: list[str] = Field(description="Names of the rules that did not hold.")
    versions: dict[str, str] = {}
    against: str = Field("", description="Who did the same and was compared: a dialect or a target.")
    sequence: list[dict[str, Any]] = Field(min_length=1, description="The fuzzer's own steps.")
    left_out: list[str] = Field(
        [], alias="leftOut", description="Kinds of step in the sequence that a scenario has no step for."
    )


class Spec(Model):
    """Description, lab and steps."""

    description: str = ""
    lab: Lab = Field(default_factory=lambda: Lab(nodes=2, hosts=[], links=[], ipv6=False))
    steps: list[Step] = Field(min_length=1)
    fuzz: Fuzz | None = None


class Naming(Model):
    """The scenario's name and labels."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)]
    labels: dict[str, str] = {}


class ScenarioFile(Model):
    """A whole file."""

    api_version: Literal["multinet.opencontrail.org/v1alpha1"] = Field(alias="apiVersion")
    kind: Literal["Scenario"]
    metadata: Naming
    spec: Spec


def split(name: str) -> tuple[str, str]:
    """``(namespace, name)`` of a :data:`Name`."""
    namespace, slash, rest = name.rpartition("/")
    return (namespace, rest) if slash else ("default", name)
