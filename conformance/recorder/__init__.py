"""The recorder: a CNI plugin of the suite's own, as delegate or as IPAM, that logs every call it gets.

:class:`Recorder` is the suite's side: it installs the plugin under any names into a folder, tells it how to
answer, and reads back the calls. The plugin (:mod:`conformance.recorder.plugin`) is one script that needs the
standard library only and finds its folder from its own path, so what it logs does not depend on what the
implementation under test passes on, and answers can be changed between two calls.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.recorder import plugin
from multinet.model.objects import Obj

__all__ = ["Answer", "Call", "Recorder"]


@dataclass(frozen=True, slots=True)
class Answer:
    """How the recorder answers a call that matches; the first answer that does counts.

    ``command``, ``network``, ``ifname`` and ``plugin`` match the call where they are not empty. ``result`` is
    printed as it is; without one the recorder makes a result in the configuration's version. ``stdout`` and
    ``stderr`` are printed as raw text, ``stdout`` instead of a result. ``error`` makes it fail with a CNI
    error object, ``status`` sets the exit status. ``signal`` makes it crash, ``seconds`` wait before it
    answers. ``times`` limits how often the answer counts; 0 is always. ``make`` adds a real interface in
    CNI_NETNS; ``device_info`` is written to the file that ``runtimeConfig`` names for it.
    """

    command: str = ""
    network: str = ""
    ifname: str = ""
    plugin: str = ""
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    stdout: str | None = None
    stderr: str = ""
    status: int | None = None
    signal: int = 0
    seconds: float = 0.0
    times: int = 0
    make: bool = False
    device_info: Mapping[str, Any] | None = None

    def plain(self) -> Obj:
        """As the plugin reads it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Call:
    """One call: ``began`` and ``ended`` in seconds of the monotonic clock, ``ended`` 0 if it never did."""

    plugin: str
    command: str
    env: Mapping[str, str]
    stdin: str
    began: float
    ended: float
    stdout: str
    status: int

    @property
    def config(self) -> Obj:
        """What came on standard input; an empty map if it was no JSON map."""
        try:
            value = json.loads(self.stdin)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def network(self) -> str:
        """``name`` of the configuration."""
        return str(self.config.get("name", ""))

    @property
    def ifname(self) -> str:
        """CNI_IFNAME."""
        return self.env.get("CNI_IFNAME", "")

    @property
    def container(self) -> str:
        """CNI_CONTAINERID."""
        return self.env.get("CNI_CONTAINERID", "")

    @property
    def attachment(self) -> tuple[str, str, str]:
        """What names an attachment: container id, network name, interface name (NPWG 4.2.1)."""
        return self.container, self.network, self.ifname

    def __str__(self) -> str:
        return f"{self.command} {self.plugin} {self.network} {self.ifname} -> {self.status}"


class Recorder:
    """The plugin installed below ``folder``, and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls = folder / plugin.CALLS

    @property
    def bin(self) -> Path:
        """The folder for ``CNI_PATH``."""
        return self.folder / "bin"

    def install(self, names: Sequence[str]) -> None:
        """Make the plugin executable under each of these names."""
        self.bin.mkdir(parents=True, exist_ok=True)
        self._calls.mkdir(exist_ok=True)
        source = Path(plugin.__file__).read_text(encoding="utf-8")
        text = f"#!{sys.executable} -IS\n{source}"
        for name in names:
            path = self.bin / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)

    def answer(self, *answers: Answer) -> None:
        """Answer so from now on; replaces what was told before."""
        text = json.dumps([answer.plain() for answer in answers])
        target = self.folder / plugin.ANSWERS
        fresh = target.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)
        for used in self.folder.glob(f"{plugin.USED}*"):
            used.unlink()

    def clear(self) -> None:
        """Forget calls and answers."""
        self.forget()
        self.answer()

    def forget(self) -> None:
        """Forget calls."""
        for path in self._calls.iterdir():
            path.unlink()

    def calls(self, command: str = "", *, network: str = "", plugin_name: str = "") -> list[Call]:
        """The calls so far, in the order they began."""
        return [
            call
            for call in sorted(self._read(), key=lambda call: call.began)
            if command in {"", call.command}
            and network in {"", call.network}
            and plugin_name in {"", call.plugin}
        ]

    def text(self) -> str:
        """The log as lines, for evidence."""
        return "\n".join(str(call) for call in self.calls())

    def _read(self) -> Iterator[Call]:
        for path in self._calls.glob("*.json"):
            data = json.loads(path.read_text(encoding="utf-8"))
            env = data["env"]
            yield Call(
                plugin=data["plugin"],
                command=env.get("CNI_COMMAND", ""),
                env=env,
                stdin=data["stdin"],
                began=data["began"],
                ended=data.get("ended", 0.0),
                stdout=data.get("stdout", ""),
                status=data.get("status", -1),
            )


def environment(path: Sequence[Path]) -> dict[str, str]:
    """The process environment for a plugin call, with nothing of CNI but ``CNI_PATH``."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    env["CNI_PATH"] = os.pathsep.join(map(str, path))
    return env
