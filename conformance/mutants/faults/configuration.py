"""Faults in finding a network's configuration: NPWG 3.4."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from conformance.mutants import chain
from conformance.mutants.chain import Attachment, RefusedError
from conformance.mutants.faults.table import fault
from conformance.mutants.meta import Meta
from multinet.model.objects import Obj


@fault("NPWG-3.4.1-a")
class FilesFirst(Meta):
    """A file on the node comes before the NAD's configuration."""

    def prefers_nad(self, text: str | None, name: str) -> bool:
        try:
            self.on_disk(name)
        except RefusedError:
            return bool(text)
        return False


@fault("NPWG-3.4.1-d")
class SinglesFirst(Meta):
    """A single configuration comes before a list."""

    def endings(self) -> Sequence[tuple[str, ...]]:
        return tuple(reversed(super().endings()))


@fault("NPWG-3.4.1-c")
class ListsOnly(Meta):
    """Reads no single configurations from the node."""

    def endings(self) -> Sequence[tuple[str, ...]]:
        return super().endings()[:1]


@fault("NPWG-3.4.1-f")
class ByFileName(Meta):
    """Finds a file by its own name."""

    def is_named(self, path: Path, config: Any, name: str) -> bool:
        return path.stem == name or super().is_named(path, config, name)


@fault("NPWG-3.4.1-g")
class StopsAtBrokenFiles(Meta):
    """One broken file on the node stops the search."""

    def files(self, endings: tuple[str, ...]) -> Iterable[Path]:
        found = list(super().files(endings))
        for path in found:
            json.loads(path.read_text(encoding="utf-8"))
        return found


@fault("NPWG-3.4.1-e")
class NothingIsFine(Meta):
    """A network without any configuration is left out."""

    def selected(self, pod: Obj) -> list[Attachment]:
        return [one for one in super().selected(pod) if one.network["plugins"][0].get("type") != "none"]

    def on_disk(self, name: str) -> Obj:
        try:
            return super().on_disk(name)
        except RefusedError:
            return {"name": name, "cniVersion": "1.0.0", "plugins": [{"type": "none"}]}


@fault("NPWG-3.4.1-i")
class BelievesConfigurations(Meta):
    """Crashes on a configuration that is no map."""

    def named(self, text: Any, name: str) -> Obj:
        config = json.loads(text)
        config["type"].strip()
        return chain.network(config, name)


@fault("NPWG-3.4.2-a")
class InjectsNoName(Meta):
    """A configuration without a name gets none of use."""

    def named(self, text: Any, name: str) -> Obj:
        return super().named(text, "unnamed")


@fault("NPWG-3.4.2-b")
class InjectsNoNameInLists(Meta):
    """Only the first plugin of a list gets the name."""

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        made = super().request(command, plugin, attached, previous)
        if previous is not None and command == "ADD":
            made["name"] = ""
        return made


@fault("NPWG-3.4.2-c")
class OverwritesNames(Meta):
    """Every network is called as its NAD is."""

    def named(self, text: Any, name: str) -> Obj:
        return {**super().named(text, name), "name": name}
