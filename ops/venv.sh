#!/bin/sh
# Makes the virtual environment .venv with the newest suitable Python of this machine, unless a sound one is there.
# PYTHON names the one to take instead.
set -eu

is_suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

if [ -x .venv/bin/python ] && is_suitable .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; then
    exit 0
fi

without_venv=
for python in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
    is_suitable "$python" || continue
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        without_venv=${without_venv:-$python}
        continue
    fi
    echo "Making the environment .venv with $("$python" --version)"
    rm -rf .venv
    exec "$python" -m venv .venv
done

if [ -n "$without_venv" ]; then
    version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "Python $version is here without its module venv: on Debian or Ubuntu, run apt-get install python$version-venv as root." >&2
else
    # Whatever else PYTHON names may have more to say of its version than a line, or nothing.
    found=$("${PYTHON:-python3}" --version 2>/dev/null | head -n 1)
    found=${found:-none}
    echo "Python 3.11, 3.12, 3.13 or 3.14 is needed (found: $found): install one, or name it by make PYTHON=/path/to/python3." >&2
fi
exit 1
