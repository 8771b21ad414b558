"""A front: starts the worker of its arguments, tells it who its parent is, ends with its status."""

import os
import subprocess
import sys

sys.exit(subprocess.call([sys.executable, sys.argv[1], str(os.getpid()), *sys.argv[2:]]))
