"""The API server as a process: ``python -m multinet.apiserver.main --pki-dir DIR --kubeconfig FILE``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from multinet.apiserver.server import ApiServer
from multinet.errors import MultinetError

_log = logging.getLogger("multinet.apiserver")


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or SIGINT; return 0, or 3 if the server could not start."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        uvloop.run(_serve(options))
    except MultinetError as error:
        _log.error("%s", error)
        return 3
    return 0


async def _serve(options: argparse.Namespace) -> None:
    from multinet.kube import notify

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    host, _, port = options.listen.rpartition(":")
    async with ApiServer.start(
        host=host.strip("[]"),
        port=int(port),
        workdir=options.pki_dir,
        advertise=options.advertise,
        kubeconfig=options.kubeconfig,
        pki_dir=options.pki_dir,
        service_block6=options.service_cidr6,
    ):
        notify.ready()
        await stopped.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="multinet-apiserver", description=__doc__)
    parser.add_argument("--listen", default="0.0.0.0:6443", help="address and port to serve on")
    parser.add_argument("--advertise", default="", help="URL that clients are to use")
    parser.add_argument(
        "--pki-dir", type=Path, required=True, help="directory for certificates and the token"
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="kubeconfig file to write")
    parser.add_argument("--service-cidr6", default="", help="services may have IPv6 addresses of this block")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
