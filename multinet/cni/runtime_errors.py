"""What can go wrong when a runtime calls a plugin."""

from __future__ import annotations

from multinet.errors import NetworkingError

# Codes of the CNI specification 1.1.0, "Error"; 999 is libcni's for everything a plugin didn't explain.
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
UNEXPLAINED = 999
_STDERR_TAIL = 800


class PluginError(NetworkingError):
    """A plugin refused a command, or did not answer as the specification demands.

    ``code``, ``message`` and ``details`` are the plugin's own where it gave them; ``stderr`` is the end of
    what it wrote there.
    """

    def __init__(
        self,
        plugin: str,
        command: str,
        message: str,
        *,
        code: int = UNEXPLAINED,
        details: str = "",
        stderr: str = "",
    ) -> None:
        tail = stderr.strip()[-_STDERR_TAIL:]
        why = "; ".join(part for part in (details, tail and f"stderr: {tail}") if part)
        super().__init__(message, where=f'plugin type="{plugin}" failed ({command.lower()})', why=why)
        self.plugin = plugin
        self.command = command
        self.message = message
        self.code = code
        self.details = details
        self.stderr = tail
