"""The recorder's executable: logs a CNI call, then answers as the suite told it, else with a made-up result.

It imports little: a run of the suite starts it thousands of times. One file per call in ``calls``, written
before it answers and again when it has, so a call that crashed or was killed is in the log as well.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from typing import Any

CALLS = "calls"
ANSWERS = "answers.json"
USED = "used-"
ADDRESSED = ("0.3.0", "0.3.1", "0.4.0")
VERSIONS = ["0.1.0", "0.2.0", *ADDRESSED, "1.0.0", "1.1.0"]


def main() -> int:
    """Answer one call; the exit status is that of the answer."""
    here = os.path.abspath(sys.argv[0])  # noqa: PTH100
    folder = os.path.dirname(os.path.dirname(here))  # noqa: PTH120
    stdin = sys.stdin.read()
    env = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
    call: dict[str, Any] = {
        "plugin": os.path.basename(here),  # noqa: PTH119
        "env": env,
        "stdin": stdin,
        "began": time.monotonic(),
    }
    log = f"{folder}/{CALLS}/{time.monotonic_ns()}-{os.getpid()}.json"
    _write(log, call)
    try:
        config = json.loads(stdin)
    except ValueError:
        config = {}
    answer = _answer(folder, call["plugin"], env, config if isinstance(config, dict) else {})
    if answer["seconds"]:
        _pause(answer["seconds"])
    if answer["signal"]:
        os.kill(os.getpid(), answer["signal"])
    stdout, status = _speak(answer, env, config if isinstance(config, dict) else {})
    sys.stderr.write(answer["stderr"])
    sys.stdout.write(stdout)
    _write(log, {**call, "ended": time.monotonic(), "stdout": stdout, "status": status})
    return status


def _write(path: str, value: Any) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    with open(f"{path}.new", "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(value, file)
    os.rename(f"{path}.new", path)  # noqa: PTH104


def _answer(folder: str, plugin: str, env: dict[str, str], config: dict[str, Any]) -> dict[str, Any]:
    told: list[dict[str, Any]] = []
    try:
        with open(f"{folder}/{ANSWERS}", encoding="utf-8") as file:  # noqa: PTH123
            told = json.load(file)
    except FileNotFoundError:
        pass
    seen = {
        "command": env.get("CNI_COMMAND", ""),
        "network": config.get("name", ""),
        "ifname": env.get("CNI_IFNAME", ""),
        "plugin": plugin,
    }
    for number, answer in enumerate(told):
        wanted = all(answer[key] in ("", value) for key, value in seen.items())
        if wanted and (not answer["times"] or _take(folder, number, answer["times"])):
            return answer
    return {"result": None, "error": None, "stdout": None, "stderr": "", "status": None, "signal": 0} | {
        "seconds": 0.0,
        "make": False,
        "device_info": None,
    }


def _take(folder: str, number: int, times: int) -> bool:
    """Whether one of ``times`` turns is left; a file stands for each that was taken."""
    for turn in range(times):
        try:
            os.close(os.open(f"{folder}/{USED}{number}-{turn}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        return True
    return False


def _pause(seconds: float) -> None:
    import select

    select.select([], [], [], seconds)


def _speak(answer: dict[str, Any], env: dict[str, str], config: dict[str, Any]) -> tuple[str, int]:
    status = answer["status"]
    version = str(config.get("cniVersion", "0.1.0"))
    if answer["error"] is not None:
        text = json.dumps({"cniVersion": version, **answer["error"]})
        return (text if answer["stdout"] is None else answer["stdout"]), 1 if status is None else status
    if answer["make"]:
        _make(env)
    told = (config.get("runtimeConfig") or {}).get("CNIDeviceInfoFile")
    if answer["device_info"] is not None and told:
        _write(told, answer["device_info"])
    if answer["stdout"] is not None:
        text = answer["stdout"]
    elif answer["result"] is not None:
        text = json.dumps(answer["result"])
    else:
        text = _made_up(env, config, version)
    return text, 0 if status is None else status


def _made_up(env: dict[str, str], config: dict[str, Any], version: str) -> str:
    command = env.get("CNI_COMMAND")
    if command == "VERSION":
        return json.dumps({"cniVersion": version, "supportedVersions": VERSIONS})
    if command != "ADD":
        return ""
    if isinstance(config.get("prevResult"), dict):
        return json.dumps(config["prevResult"])
    return json.dumps(result(env, config, version))


def result(env: dict[str, str], config: dict[str, Any], version: str) -> dict[str, Any]:
    """What an attachment that met every wish would say; made up, but the same for the same attachment."""
    wishes = config.get("runtimeConfig")
    wishes = wishes if isinstance(wishes, dict) else {}
    old = config.get("args")
    old = old.get("cni") if isinstance(old, dict) else None
    wishes = {**(old if isinstance(old, dict) else {}), **wishes}
    key = f"{env.get('CNI_CONTAINERID')} {config.get('name')} {env.get('CNI_IFNAME')}".encode()
    number = zlib.crc32(key)
    low = number.to_bytes(4, "big")
    mac = wishes.get("mac") or "02:00:" + ":".join(f"{byte:02x}" for byte in low)
    addresses = [
        _with_prefix(text) for text in wishes.get("ips") or [f"10.{low[0]}.{low[1]}.{low[2] | 1}/24"]
    ]
    if version in ("0.1.0", "0.2.0"):
        return {"cniVersion": version, "ip4": {"ip": addresses[0]}, "dns": {}}
    interface = {"name": env.get("CNI_IFNAME", ""), "mac": mac, "sandbox": env.get("CNI_NETNS", "")}
    ips = [_address(text, version) for text in addresses]
    return {"cniVersion": version, "interfaces": [interface], "ips": ips, "dns": {}}


def _address(text: str, version: str) -> dict[str, Any]:
    made: dict[str, Any] = {"address": text, "interface": 0}
    if version in ADDRESSED:
        made["version"] = "6" if ":" in text else "4"
    return made


def _with_prefix(text: str) -> str:
    if "/" in text:
        return text
    return f"{text}/64" if ":" in text else f"{text}/24"


def _make(env: dict[str, str]) -> None:
    """A tap interface by that name in the pod's namespace: no module, no peer, gone with the namespace."""
    import subprocess

    netns, name = env.get("CNI_NETNS", ""), env.get("CNI_IFNAME", "")
    command = env.get("CNI_COMMAND")
    inside = ["nsenter", f"--net={netns}", "ip"]
    if command == "ADD":
        subprocess.run([*inside, "tuntap", "add", "mode", "tap", "name", name], check=True)
        subprocess.run([*inside, "link", "set", name, "up"], check=True)
    elif command == "DEL" and os.path.exists(netns):  # noqa: PTH110
        subprocess.run([*inside, "link", "del", name], check=False, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
