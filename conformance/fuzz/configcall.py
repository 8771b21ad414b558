"""Makes or removes a virtual network by the config API: what exported scenarios run on cp, as text.

It stands in their files, so it is short and needs the standard library alone. A refusal because the network
is there already, or used, is no failure: what follows from it is looked at.
"""

import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

API = "http://127.0.0.1:8082"
_CONFLICT = 409


def call(method: str, path: str, body: object = None) -> Any:
    """One request; the answer's JSON, None where it has none or refuses."""
    kubeconfig = Path("/run/multinet/lab/kubeconfig").read_text()
    found = re.search(r"token\"?:\s*\"?([^\s\",]+)", kubeconfig)
    headers = {"X-Auth-Token": found.group(1) if found else "", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        told = f"{method} {path}: {error.code} {error.read().decode()}\n"
        if error.code != _CONFLICT:
            sys.exit(told)
        sys.stdout.write(told)


def main(verb: str, body: Any) -> None:
    """``create`` a network of this body, or ``delete`` the one of its name."""
    if verb == "create":
        call("POST", "/virtual-networks", {"virtual-network": body})
    else:
        asked = {"type": "virtual-network", "fq_name": body["fq_name"]}
        call("DELETE", f"/virtual-network/{call('POST', '/fqname-to-id', asked)['uuid']}")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
