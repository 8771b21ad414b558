"""A directory of files in memory, for an agent's state files: what they do is real, the disk is not."""

from __future__ import annotations

from pathlib import Path
from typing import cast


class _Place:
    """Stands for a :class:`pathlib.Path`: the directory itself, or a file in it."""

    __slots__ = ("_files", "name")

    def __init__(self, files: dict[str, bytes], name: str = "") -> None:
        self._files = files
        self.name = name

    def __truediv__(self, name: str) -> _Place:
        return _Place(self._files, name)

    def __lt__(self, other: _Place) -> bool:
        return self.name < other.name

    def __str__(self) -> str:
        return self.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name.rpartition(".")[0]

    def with_suffix(self, suffix: str) -> _Place:
        """The file of the same stem and another suffix."""
        return _Place(self._files, self.stem + suffix)

    def glob(self, pattern: str) -> list[_Place]:
        """The files of a suffix: ``*.json``."""
        suffix = pattern.removeprefix("*")
        return [_Place(self._files, name) for name in self._files if name.endswith(suffix)]

    def mkdir(self, mode: int = 0o777, *, parents: bool = False, exist_ok: bool = False) -> None:
        """It is there."""

    def read_bytes(self) -> bytes:
        """The content; ``FileNotFoundError`` without such a file."""
        try:
            return self._files[self.name]
        except KeyError:
            raise FileNotFoundError(self.name) from None

    def write_bytes(self, content: bytes) -> int:
        """Write the whole file."""
        self._files[self.name] = content
        return len(content)

    def replace(self, target: _Place) -> _Place:
        """Give it another name."""
        content = self.read_bytes()
        del self._files[self.name]
        target.write_bytes(content)
        return target

    rename = replace

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove it."""
        if self._files.pop(self.name, None) is None and not missing_ok:
            raise FileNotFoundError(self.name)


def directory() -> Path:
    """A new and empty one."""
    return cast(Path, _Place({}))
