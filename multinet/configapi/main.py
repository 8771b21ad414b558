"""The config API's process: ``python -m multinet.configapi.main --kubeconfig FILE --listen 0.0.0.0:8082``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import ssl
import sys
from pathlib import Path

import uvloop

from multinet.configapi.server import ConfigApi
from multinet.errors import InputError, MultinetError
from multinet.kube import notify
from multinet.kube.config import ClusterAccess, load_kubeconfig
from multinet.model import naming

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop, 2 for bad options or kubeconfig, 3 otherwise."""
    options = _options(argv)
    logging.basicConfig(
        level=options.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        host, port = _address(options.listen)
        tls = _tls(options.tls_cert, options.tls_key)
        access = load_kubeconfig(options.kubeconfig)
    except MultinetError as error:
        _log.error("%s", error)
        return 2
    try:
        return uvloop.run(_serve(access, host, port, tls, options.cluster_name))
    except MultinetError as error:
        _log.error("%s", error)
        return 3


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="multinet-configapi", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the Kubernetes API")
    parser.add_argument("--listen", default="0.0.0.0:8082", help="address and port to serve on")
    parser.add_argument("--tls-cert", type=Path, help="certificate (PEM); HTTP without it, as the original")
    parser.add_argument("--tls-key", type=Path, help="private key of the certificate (PEM)")
    parser.add_argument("--cluster-name", default=naming.DEFAULT_CLUSTER, help="prefix of project names")
    parser.add_argument("--log-level", choices=["debug", "info", "warning"], default="info")
    return parser.parse_args(argv)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"{listen!r} is no address and port", where="--listen", next_step="0.0.0.0:8082")
    return host.strip("[]"), int(port)


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise InputError(
            "certificate and key belong together",
            where="--tls-cert, --tls-key",
            next_step="give both or none",
        )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError("the certificate can't be used", where=str(cert), why=str(error)) from error
    return context


async def _serve(
    access: ClusterAccess, host: str, port: int, tls: ssl.SSLContext | None, cluster: str
) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with ConfigApi.start(access, host=host, port=port, cluster=cluster, tls=tls) as server:
        notify.ready()
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({stopping, server.failed}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not stop.is_set():
            _log.error("the view of the cluster ended", exc_info=server.failed.exception())
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
