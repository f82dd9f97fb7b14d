#!/bin/sh
# Prints the path of a Python 3.10 to 3.12 that can create virtual environments. PYTHON=<path> selects one.
set -eu

usable='
import sys
if not (3, 10) <= sys.version_info[:2] < (3, 13):
    sys.exit(1)
import ensurepip, venv
print(sys.executable)
'

if [ -n "${PYTHON:-}" ]; then
    "$PYTHON" -c "$usable" 2>/dev/null && exit
    echo "PYTHON=$PYTHON is not a Python 3.10, 3.11 or 3.12 with venv and ensurepip." >&2
    exit 1
fi
for candidate in python3.11 python3.12 python3.10 python3 python "$HOME"/.pyenv/versions/3.1[0-2].*/bin/python3; do
    "$candidate" -c "$usable" 2>/dev/null && exit
done
echo "No Python 3.10, 3.11 or 3.12 with venv and ensurepip was found." >&2
echo "Install one (Debian, Ubuntu: apt install python3-venv), or set its path: make PYTHON=/path/to/python3.11 ..." >&2
exit 1
