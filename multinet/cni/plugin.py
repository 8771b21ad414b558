#!/usr/bin/env -S python3 -ISE
"""The CNI plugin executable in Python, for machines without a C compiler; shim.c has the explanation.

Standard library only, and no import of this project: it runs from a CNI bin directory, under whichever
``python3`` is first in PATH.
"""

import os
import re
import socket
import sys

SOCKET_PATH = "/run/multinet-agent/agent.sock"
SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
LIMIT = 16 * 1024 * 1024
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)("?)|[:{}\[\],]', re.DOTALL)


class AwayError(Exception):
    """The agent gave no answer."""


def netstring(content: bytes) -> bytes:
    """``content`` with its length in front."""
    return b"%d:%s," % (len(content), content)


def find_version(text: bytes) -> str:
    """The value of the last top-level "cniVersion" that is a plain version, without judging the rest."""
    version, depth, key, wanted = "", 0, b"", False
    for token in _TOKEN.finditer(text):
        mark = token[0][:1]
        if mark == b'"':
            if not token[2]:
                break
            if wanted and re.fullmatch(rb"[0-9.]{1,15}", token[1]):
                version = token[1].decode()
            key, wanted = (token[1] if depth == 1 else b""), False
        elif mark == b":":
            wanted = key == b"cniVersion"
        else:
            depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(mark, 0)
            wanted = False
            key = b"" if mark == b"," else key
    return version


def ask(path: str, request: bytes) -> "tuple[int, bytes]":
    """Send the request, read the reply; ``AwayError`` or ``OSError`` when there is none."""
    if len(os.fsencode(path)) >= 108:
        raise AwayError("the socket's path is too long")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        connection.sendall(request)
        reply = bytearray()
        while chunk := connection.recv(65536):
            reply += chunk
            if len(reply) > LIMIT:
                raise AwayError(os.strerror(90))
    parts, at = [], 0
    for _ in range(2):
        head = re.compile(rb"([0-9]{1,8}):").match(reply, at)
        end = head.end() + int(head[1]) if head else -1
        if not head or reply[end : end + 1] != b",":
            raise AwayError("the agent ended the connection without an answer")
        parts.append(bytes(reply[head.end() : end]))
        at = end + 1
    if at != len(reply) or not re.fullmatch(rb"[0-9]{1,3}", parts[0]) or int(parts[0]) > 255:
        raise AwayError("the agent ended the connection without an answer")
    return int(parts[0]), parts[1]


def agent_away(command: str, version: str, path: str, why: str) -> "tuple[int, bytes]":
    """What the plugin says by itself: VERSION, or "try again later"."""
    shown = version if version in SUPPORTED else SUPPORTED[-1]
    if command == "VERSION":
        listed = ",".join(f'"{item}"' for item in SUPPORTED)
        return 0, f'{{"cniVersion":"{shown}","supportedVersions":[{listed}]}}\n'.encode()
    code = 50 if command == "STATUS" else 11
    # As in C: bytes that JSON would need escaped are not worth it.
    shown_path = re.sub(rb"[^ !#-\[\]-~]", b"?", os.fsencode(path)[:200])
    return 1, (
        f'{{"cniVersion":"{shown}","code":{code},'
        f'"msg":"the multinet node agent can\'t be reached",'
        f'"details":"{why} (socket '
    ).encode() + shown_path + b'); is the agent running on this node?"}\n'


def main() -> int:
    """Carry the call to the agent and its answer back; return the exit code."""
    path = os.environ.get("MULTINET_AGENT_SOCKET") or SOCKET_PATH
    command = os.environ.get("CNI_COMMAND", "")
    given = sys.stdin.buffer.read(LIMIT + 1) if sys.stdin else b""
    version = find_version(given)
    variables = [b"%s=%s" % item for item in os.environb.items() if item[0].startswith(b"CNI_")]
    request = b"".join(map(netstring, [b"CNI1", *variables, b"", given]))
    if len(given) > LIMIT:
        code, output = agent_away(command, version, "", "stdin can't be read")
    else:
        try:
            code, output = ask(path, request)
        except AwayError as error:
            code, output = agent_away(command, version, "" if "too long" in str(error) else path, str(error))
        except OSError as error:
            code, output = agent_away(command, version, path, os.strerror(error.errno or 5))
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
