"""A program that believes it runs in a pod: a service account's files, and namespaces that are made later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conformance.cnicall import Container

pytestmark = pytest.mark.lab

SECRETS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LOOK = f"""
import os, pathlib, sys
names = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
print(*(os.environ[name] for name in names), pathlib.Path("{SECRETS}/token").read_text(), flush=True)
print(os.stat(sys.stdin.readline().strip()).st_ino)
"""


def test_it_has_a_service_account_of_its_own_and_sees_what_is_made_later(tmp_path: Path) -> None:
    user = {"name": "u", "user": {"token": "secret"}}
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:6444"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "x"}
    config |= {"users": [user], "clusters": [cluster], "contexts": [context]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    first = Container.make()
    argv = [sys.executable, "-m", "conformance.incluster", str(kubeconfig), sys.executable, "-c", LOOK]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().split() == ["127.0.0.1", "6444", "secret"]
        later = Container.make()
        child.stdin.write(f"{later.netns}\n")
        child.stdin.flush()
        assert int(child.stdout.readline()) == Path(later.netns).stat().st_ino
    assert child.returncode == 0
    assert not SECRETS.exists()
    for made in (first, later):
        made.remove()
