"""Sees the errors that nobody foresaw: what is logged with a traceback, and what tasks end with.

A reconciler that meets an exception tries again, a callback that does is passed over, a CNI call answers that
it failed: each may look well in the end, and is a bug all the same.
"""

from __future__ import annotations

import logging

_LOGGER = "multinet"


class Witness(logging.Handler):
    """Keeps what was seen since the last :meth:`take`; at work between :meth:`begin` and :meth:`end`."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._seen: list[str] = []

    def begin(self) -> None:
        """Look at what the implementation logs from now on."""
        logging.getLogger(_LOGGER).addHandler(self)

    def end(self) -> None:
        """Look no longer."""
        logging.getLogger(_LOGGER).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that has a traceback."""
        if record.exc_info and record.exc_info[1] is not None:
            self.see(record.getMessage(), record.exc_info[1])

    def see(self, what: str, error: BaseException) -> None:
        """Keep an error."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f" at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""
        self._seen.append(f"{what}: {error!r}{where}")

    def take(self) -> list[str]:
        """What was seen, which is forgotten with that."""
        seen, self._seen = self._seen, []
        return seen
