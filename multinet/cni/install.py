"""Where the plugin executable comes from: compiled C if this machine has a compiler, else Python.

The C programs are static and start in half a millisecond, the Python ones in twenty; both behave identically.
musl's compiler wrapper is preferred (``docs/decisions/0052-musl.md``): glibc looks the processor over before
``main``, which takes a virtual machine longer than all the rest.
:func:`build` is called once when the project is set up (``python -m multinet.cni.install``) and never fails
that: without a compiler everything works, slower.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PLUGIN = "multinet-cni"
PAUSE = "multinet-pause"
_PACKAGE = Path(__file__).resolve().parent
_COMPILERS = ("musl-gcc", "cc", "gcc", "clang")
_COMPILE_LIMIT_S = 120.0
_PROBE_LIMIT_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """One C program: its source, and the name of the executable."""

    source: Path
    name: str


PROGRAMS = (
    Program(_PACKAGE / "shim.c", PLUGIN),
    Program(_PACKAGE.parent / "kubelet" / "pause.c", PAUSE),
)


def output_dir() -> Path:
    """``<sys.prefix>/libexec/multinet``: where compiled programs are kept."""
    return Path(sys.prefix) / "libexec" / "multinet"


def fallback_path() -> Path:
    """The plugin in Python: an executable file that needs nothing but the standard library."""
    return _PACKAGE / "plugin.py"


def plugin_path(directory: Path | None = None) -> Path:
    """The plugin executable to install on a node: the compiled one if it is there and runs, else Python."""
    compiled = (directory or output_dir()) / PLUGIN
    if not os.access(compiled, os.X_OK):
        return fallback_path()
    try:
        answered = subprocess.run(
            [str(compiled)],
            env={"CNI_COMMAND": "VERSION", "MULTINET_AGENT_SOCKET": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.warning("%s does not run, the Python plugin is used: %s", compiled, error)
        return fallback_path()
    return compiled if b"supportedVersions" in answered.stdout else fallback_path()


def put(path: Path) -> None:
    """Make ``path`` the plugin, unless somebody did: a link, or a copy where the linked file would not run.

    A wheel's installer keeps no permission to execute, so the Python plugin of an installed copy has none. A
    link that leads nowhere is from before an upgrade, which took away what it led to.
    """
    if path.is_symlink() and not path.exists():
        path.unlink()
    if os.path.lexists(path):
        return
    plugin = plugin_path()
    if os.access(plugin, os.X_OK):
        with contextlib.suppress(FileExistsError):
            path.symlink_to(plugin)
        return
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.copyfile(plugin, temporary)
    temporary.chmod(0o755)
    temporary.replace(path)


def build(directory: Path | None = None) -> list[Path]:
    """Compile what is missing or older than its source; return the executables that are there afterwards.

    A compiler that is absent or fails is logged with the remedy, and is no error.
    """
    target = directory or output_dir()
    return [path for program in PROGRAMS for path in _build_one(program, target)]


def _build_one(program: Program, target: Path) -> Iterator[Path]:
    executable = target / program.name
    if not program.source.is_file():
        return
    try:
        if executable.is_file() and executable.stat().st_mtime >= program.source.stat().st_mtime:
            yield executable
            return
        compilers = [found for name in _COMPILERS if (found := shutil.which(name)) is not None]
        if not compilers:
            _log.warning("no C compiler: %s runs as Python (install gcc and libc6-dev)", program.name)
            return
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("%s can't be made, it runs as Python: %s", executable, error)
        return
    for compiler in compilers:
        try:
            _compile(compiler, program.source, executable)
        except (OSError, subprocess.SubprocessError) as error:
            _log.warning("%s could not be compiled by %s: %s", program.source, compiler, _reason(error))
        else:
            yield executable
            return
    _log.warning("%s runs as Python", program.name)


def _compile(compiler: str, source: Path, executable: Path) -> None:
    # Compiled aside and renamed: a node may be executing the old one.
    with tempfile.TemporaryDirectory(dir=executable.parent) as scratch:
        made = Path(scratch) / executable.name
        command = [compiler, "-static", "-O2", "-s", "-std=gnu11", "-Wall", "-Wextra", "-o"]
        subprocess.run(
            [*command, str(made), str(source)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_COMPILE_LIMIT_S,
        )
        made.replace(executable)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr or error).strip()[-600:]
    return str(error)


def main() -> int:
    """Build everything and log what was made; always 0."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for path in build():
        _log.info("ready: %s", path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
