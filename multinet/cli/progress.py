"""Progress of a run on the terminal: a live last line where somebody looks, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from multinet.cli.say import verdict as verdict_text
from reports.events import Event
from reports.verdicts import Verdict


class Progress:
    """Shows events as they come. Use as a context manager around the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Status | None = None
        self._doing = "starting"
        self._steps = 0
        self._cells: Counter[str] = Counter()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = self._console.status(self._line())
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        data = event.data
        match event.kind:
            case "run-started":
                self._steps = len(data.get("steps") or ())
                nodes = len((data.get("lab") or {}).get("nodes") or ())
                self._console.print(f"{data.get('scenario')}: {self._steps} steps, {nodes} nodes")
            case "lab-starting":
                self._now("starting the lab")
            case "lab-ready":
                self._console.print(f"  lab ready after {float(data.get('seconds') or 0):.2f} s")
            case "step-started":
                self._cells.clear()
                self._now(f"[{int(data['index']) + 1}/{self._steps}] {data.get('name')}")
            case "observation":
                self._cells[str(data.get("verdict"))] += 1
            case "step-finished":
                self._finished(event)
            case "error":
                self._console.print(Text(f"  error: {_sentence(data)}", style="bold yellow"))
            case "role-exited" if not data.get("expected"):
                text = f"  {data.get('role')} on {data.get('node')} ended: {data.get('status')}"
                self._console.print(Text(text, style="yellow"))
            case _:
                pass

    def _finished(self, event: Event) -> None:
        data = event.data
        verdict = Verdict(data["verdict"])
        head = f"  [{int(data['index']) + 1:>{len(str(self._steps))}}/{self._steps}] "
        tail = f"  {data.get('name')}"
        if verdict is not Verdict.NOT_RUN:
            tail += f"  {float(data.get('seconds') or 0):.2f} s"
        if self._cells:
            tail += f"  {', '.join(f'{count} {name}' for name, count in sorted(self._cells.items()))}"
        self._console.print(Text(head) + verdict_text(verdict) + Text(tail))
        if data.get("reason") and verdict is not Verdict.PASS:
            hint = f" ({data['next_step']})" if data.get("next_step") else ""
            self._console.print(
                Text(f"        {data['reason']}{hint}", style="dim" * (verdict is Verdict.NOT_RUN))
            )
        self._cells.clear()

    def _now(self, doing: str) -> None:
        self._doing = doing
        if self._live is not None:
            self._live.update(self._line())

    def _line(self) -> Text:
        return Text(f"{self._doing} ({time.monotonic() - self._began:.1f} s)")


def _sentence(data: dict[str, object]) -> str:
    parts = [str(data.get(key) or "") for key in ("where", "what", "why")]
    # The why of a role that died is the end of its log: its last line says it.
    parts[2] = parts[2].strip().rpartition("\n")[2].strip()
    text = ": ".join(part for part in parts if part)
    return f"{text} ({data['next_step']})" if data.get("next_step") else text
