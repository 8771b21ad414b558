"""Fetch a page and write it to standard output: ``fetch.py URL``."""

import sys
import urllib.request

LIMIT_S = 5.0

if __name__ == "__main__":
    with urllib.request.urlopen(sys.argv[1], timeout=LIMIT_S) as answer:
        sys.stdout.write(answer.read().decode(errors="replace"))
