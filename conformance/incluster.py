"""``python -m conformance.incluster KUBECONFIG COMMAND...``: run a program as in a pod of a cluster.

Daemons of implementations are made to run in pods: they find the API by two variables and a service account's
files at a fixed place. The program gets both, in a mount namespace of its own; what is mounted outside of it
later (pods' network namespaces) it sees as well. It ends with the process that started it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from multinet.errors import LabError
from multinet.kube.config import load_kubeconfig
from topology import isolation, linux

_SECRETS = Path("/run/secrets")
_ACCOUNT = _SECRETS / "kubernetes.io" / "serviceaccount"


def main(argv: list[str]) -> None:
    """Never returns; ``LabError`` outside of namespaces that are thrown away."""
    if not isolation.inside():
        raise LabError("a service account's files are only put into namespaces of our own")
    linux.die_with_parent()
    access = load_kubeconfig(Path(argv[0]))
    url = urlsplit(access.server)
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_SLAVE)
    _SECRETS.mkdir(exist_ok=True)
    linux.mount("tmpfs", str(_SECRETS), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0700")
    _ACCOUNT.mkdir(parents=True)
    for name, text in {"token": access.token, "ca.crt": access.ca, "namespace": "kube-system"}.items():
        (_ACCOUNT / name).write_text(text or "", encoding="utf-8")
    place = {"KUBERNETES_SERVICE_HOST": url.hostname or "", "KUBERNETES_SERVICE_PORT": str(url.port or 443)}
    os.execvpe(argv[1], argv[1:], {**os.environ, **place})


if __name__ == "__main__":
    main(sys.argv[1:])
