#!/usr/bin/env bash
# Makes .venv with everything in constraints.txt and an editable install of this project.
# Returns at once when nothing changed. Used by `make setup`; takes PYTHON and PIP_FLAGS.
# scripts/other_versions.sh makes other environments with it, by VENV, CONSTRAINTS and
# EXTRAS; its arguments are further packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${VENV:-.venv}
constraints=${CONSTRAINTS:-constraints.txt}
extras=${EXTRAS:-qm9,md,lmdb,tensorboard,testing,dev,docs}
stamp=$venv/.installed    # what the finished install was made from
unfinished=$venv/.unfinished  # there while an install runs, so also after one was cut off

# The path belongs to the state because console scripts hold it: a moved folder sets up anew.
state() { { pwd; cat pyproject.toml "$constraints" scripts/setup.sh; echo "$extras"; } | cksum; }
is_done() { [[ -x $venv/bin/python && -f $stamp && "$(cat "$stamp")" == "$(state)" ]]; }

is_done && exit 0

# Two runs at once would spoil each other's install; the second waits and then has nothing to do.
if command -v flock >/dev/null; then
    exec 9>"$venv.lock"
    flock 9
    is_done && exit 0
fi

suits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        suits "$PYTHON" && { echo "$PYTHON"; return; }
    else
        for candidate in python3.11 python3.12 python3.13 python3.14 python3 python; do
            suits "$candidate" && { echo "$candidate"; return; }
        done
    fi
    {
        echo "setup: no suitable Python found (tried ${PYTHON:-python3.11 to python3.14, python3, python})."
        echo "Python 3.11 or later is needed, with its venv and ensurepip modules (on Debian and"
        echo "Ubuntu: apt install python3-venv). Name another one with: make setup PYTHON=/path/to/python"
    } >&2
    return 1
}

# Keep an environment that works; start again from nothing after an install that was cut off.
if [[ -e $unfinished ]] || ! { suits $venv/bin/python && $venv/bin/python -m pip --version; } >/dev/null 2>&1; then
    python=$(find_python)
    echo "setup: making $venv with $("$python" --version); the first time takes a few minutes."
    rm -rf $venv
    "$python" -m venv $venv
    quiet=()
else
    echo "setup: pyproject.toml or $constraints changed; bringing $venv up to date."
    quiet=(--quiet)
fi

rm -f "$stamp"
touch "$unfinished"
# shellcheck disable=SC2086  # PIP_FLAGS is a list of words.
$venv/bin/python -m pip install ${quiet[@]+"${quiet[@]}"} --disable-pip-version-check ${PIP_FLAGS:-} \
    -c "$constraints" -e ".[$extras]" "$@"
rm -f "$unfinished"
state >"$stamp"
echo "setup: done."
