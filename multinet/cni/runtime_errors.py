"""What can go wrong when a runtime calls a plugin."""

from __future__ import annotations

from multinet.cni.spec import CNIError

# libcni's code for everything a plugin did not explain.
UNEXPLAINED = 999
_STDERR_TAIL = 800


class PluginError(CNIError):
    """A plugin refused a command, or did not answer as the specification demands.

    ``code``, ``msg`` and ``details`` are the plugin's own where it gave them; ``stderr`` is the end of what
    it wrote there.
    """

    def __init__(
        self,
        plugin: str,
        command: str,
        msg: str,
        *,
        code: int = UNEXPLAINED,
        details: str = "",
        stderr: str = "",
    ) -> None:
        super().__init__(code, msg, details)
        self.plugin = plugin
        self.command = command
        self.stderr = stderr.strip()[-_STDERR_TAIL:]
        self.where = f'plugin type="{plugin}" failed ({command.lower()})'
        self.why = "; ".join(part for part in (details, self.stderr and f"stderr: {self.stderr}") if part)
