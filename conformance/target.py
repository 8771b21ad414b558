"""What an implementation under test tells the suite: how it is started, what it understands, what it claims.

A target is one small module with a function ``make(argument)``, named on the command line as
``NAME[:ARGUMENT]``; see ``docs/targets.md``. The suite asks only what is here: no test knows whom it tests.

One object lives in every process of a test run. :meth:`Target.start` is called in one of them and returns
plain facts (paths, addresses) with which :meth:`Target.attach` makes all of them ready; :meth:`Target.stop`
is called where it was started.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from conformance.profiles import NEWEST, Feature, Profile
from multinet.errors import InputError, MultinetError
from multinet.model.objects import Obj
from traffic.endpoint import Endpoint

Facts = Mapping[str, Any]

_DOCS = "see docs/targets.md"
# What the suite asks of every target before anything else.
_NEEDED = ("claim", "isolated", "start", "attach", "stop")


class CannotProvideError(MultinetError):
    """The target has nothing of the kind a test asks for; the test is not applicable to it."""


class CannotObserveError(MultinetError):
    """Something can't be seen from here (no access to the pod's namespace, say); the verdict is unknown."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """Who is under test, for the report."""

    organization: str
    project: str
    url: str
    version: str
    contact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A requirement that the implementation documents not to meet; ``source`` is where it says so."""

    row: str
    reason: str
    source: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a target says of itself. ``mode`` tells setups of one implementation apart in reports."""

    implementation: Implementation
    profiles: frozenset[Profile]
    features: frozenset[Feature] = frozenset()
    spec_version: str = NEWEST
    mode: str = "default"
    limits: tuple[Limit, ...] = ()


class Target(Protocol):
    """An implementation under test."""

    @property
    def claim(self) -> Claim:
        """What it says of itself; known before anything is started."""

    @property
    def isolated(self) -> bool:
        """Whether it may only be started in namespaces of its own, since it makes links and the like."""

    def start(self, folder: Path) -> Facts:
        """Start what has to run, with files in ``folder``; called once a session. Facts are plain JSON."""

    def attach(self, facts: Facts) -> None:
        """Be ready in this process; ``facts`` are what :meth:`start` returned, perhaps elsewhere."""

    def stop(self) -> None:
        """End what :meth:`start` started."""


@dataclass(frozen=True, slots=True)
class Network:
    """A wish: a NAD that selects a network with these subnets (CIDRs; none: the target's choice).

    ``same_as`` asks for another NAD of the network that an earlier wish stands for. ``addressless``: the
    network assigns no addresses. ``without_config``: nothing in ``spec``, a network the implementation knows
    by the NAD's name. ``device``: each member is a spare network card of its node; a wire joins those of the
    first two nodes.
    """

    name: str
    namespace: str
    subnets: tuple[str, ...] = ()
    same_as: Network | None = None
    addressless: bool = False
    without_config: bool = False
    device: bool = False


def definition(network: Network, *, annotations: Mapping[str, str], config: str | None) -> Obj:
    """A NetworkAttachmentDefinition for a wish; without ``config`` there is nothing in its ``spec``."""
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": network.name,
            "namespace": network.namespace,
            "annotations": dict(annotations),
        },
        "spec": {} if config is None else {"config": config},
    }


@runtime_checkable
class ClusterTarget(Target, Protocol):
    """A Kubernetes API with the implementation on it."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that works in this process."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes that take pods."""

    def nad(self, network: Network) -> Obj:
        """The NetworkAttachmentDefinition for a wish; ``CannotProvideError`` where it has none."""

    def container(self) -> Obj:
        """A container spec that idles on this cluster; the suite adds nothing to it."""

    def broken_default(self) -> Mapping[str, str]:
        """Annotations that ask for a default network which can't be attached.

        ``CannotProvideError`` where pods have no such choice.
        """

    def interfaces(self, namespace: str, pod: str) -> Sequence[Endpoint]:
        """What the kernel has in a pod; ``CannotObserveError`` where that can't be read.

        Endpoints whose ``netns`` is empty can be looked at, and not be probed from here.
        """

    def control_netns(self) -> Sequence[str]:
        """Namespaces that may hold the other ends of pods' links (the nodes'), for controls of probes."""

    def logs(self) -> Mapping[str, Path]:
        """Log files that may prove a verdict, by name."""

    def take_down(self, node: str) -> None:
        """Make the implementation unavailable on a node, as while the node starts.

        ``CannotProvideError`` where that is not possible; only the last of several nodes is asked for.
        """

    def bring_up(self, node: str) -> None:
        """Undo :meth:`take_down`; returns when the node takes pods again."""

    def restart_control(self) -> None:
        """Restart what decides about networks and addresses; ``CannotProvideError`` where that can't be."""


@dataclass(frozen=True, slots=True)
class PluginCall:
    """One way to call a plugin: a configuration without ``cniVersion`` and ``name``, which tests set.

    ``needs_previous``: it only works chained, after a plugin that made an interface. ``ipam`` says whether
    the configuration lets the plugin assign addresses; ``only_addresses``: it makes no interface, but assigns
    addresses to whoever delegates to it. ``args`` are CNI_ARGS, with ``{container}`` for the
    container's id; ``environment`` is what the plugin's process needs beside CNI's variables.
    """

    config: Mapping[str, Any]
    needs_previous: bool = False
    ipam: bool = True
    only_addresses: bool = False
    capabilities: frozenset[str] = frozenset()
    args: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class PluginTarget(Target, Protocol):
    """A CNI plugin: an executable that tests call themselves."""

    @property
    def binary(self) -> Path:
        """The executable."""

    @property
    def cni_path(self) -> tuple[Path, ...]:
        """Folders for ``CNI_PATH``, where it finds the plugins it delegates to."""

    @property
    def state_dirs(self) -> tuple[Path, ...]:
        """Folders for what it keeps of its attachments in files; none where it keeps nothing."""

    def call(self) -> PluginCall:
        """How it is called."""


@dataclass(frozen=True, slots=True)
class Named:
    """``NAME[:ARGUMENT]`` as it was written."""

    name: str
    argument: str = field(default="")

    @classmethod
    def parse(cls, text: str) -> Named:
        """Split at the first colon."""
        name, _, argument = text.partition(":")
        return cls(name, argument)


def make(text: str) -> Target:
    """The target that ``NAME[:ARGUMENT]`` names: a module of ``conformance.targets``, or any other module.

    Raises ``InputError`` for a name that is no such module, an argument it does not take, or a module that
    does not work: its author reads where.
    """
    named = Named.parse(text)
    own = named.name in _known()
    module = f"conformance.targets.{named.name.replace('-', '_')}" if own else named.name
    factory = getattr(_imported(module, foreign=not own), "make", None)
    if factory is None:
        raise InputError("a target's module needs make(argument)", where=module, next_step=_DOCS)
    try:
        target: Target = factory(named.argument)
    except MultinetError:
        raise
    except Exception as error:
        raise _broken(f"make({named.argument!r}) of the target's module failed", error) from error
    missing = [name for name in _NEEDED if not hasattr(target, name)]
    if missing:
        what = f"what make({named.argument!r}) returned is no target"
        raise InputError(what, where=module, why=f"it has no {', '.join(missing)}", next_step=_DOCS)
    return target


def _known() -> list[str]:
    return sorted(path.stem.replace("_", "-") for path in _folder().glob("[a-z]*.py"))


def _imported(module: str, *, foreign: bool) -> ModuleType:
    here = str(Path.cwd())
    if foreign and here not in sys.path:
        sys.path.append(here)  # as for `python -m pytest`; a bare `pytest` does not look there
    try:
        return importlib.import_module(module)
    except (ModuleNotFoundError, TypeError, ValueError) as error:  # the others: ".name", ""
        missing = getattr(error, "name", None) or module
        if not f"{module}.".startswith(f"{missing}."):
            raise _broken(f"the target's module {module} can't be imported", error) from error
        why = f"there is no module {missing} in {here} or among what is installed"
        hint = f"known are {', '.join(_known())}; your own: a module's name, {_DOCS}"
        raise InputError(f"no target {module!r}", why=why, next_step=hint) from None
    except Exception as error:
        raise _broken(f"the target's module {module} can't be imported", error) from error


def _broken(what: str, error: Exception) -> InputError:
    """Where the target's own code went wrong, in a line."""
    why = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return InputError(what, where=f"{error.filename}:{error.lineno}", why=f"{error.msg}")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
    ]
    return InputError(what, where=f"{frames[-1].filename}:{frames[-1].lineno}", why=why)


def _folder() -> Path:
    return Path(__file__).with_name("targets")
