#!/usr/bin/env bash
# Runs tests with other versions than those of .venv, in an environment that it makes for them:
#   other_versions.sh lowest [ARGUMENT ...]  the lowest versions in pyproject.toml, in .venv-lowest
#   other_versions.sh python [ARGUMENT ...]  those of constraints.txt on the Python that PYTHON names,
#                                            in .venv-<version>
# Used by `make test-lowest` and `make test-python`; the arguments go to pytest. Takes PYTHON,
# PIP_FLAGS and WORKERS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

what=$1
shift
case $what in
lowest)
    export VENV=.venv-lowest CONSTRAINTS=.venv-lowest.txt EXTRAS=qm9,md,lmdb,tensorboard,testing
    # shellcheck disable=SC2086  # EXTRAS is made a list of words.
    .venv/bin/python scripts/lowest.py ${EXTRAS//,/ } >$CONSTRAINTS
    ;;
python)
    if ! version=$("${PYTHON:-}" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
        {
            echo "test-python: there is no Python at '${PYTHON:-}'. Name one that is installed, as in"
            echo "make test-python PYTHON=python3.12 or PYTHON=/path/to/python; where pyenv has one, put"
            echo "PYENV_VERSION=3.12 before it."
        } >&2
        exit 1
    fi
    export VENV=.venv-$version
    ;;
*)
    echo "other_versions: lowest or python, not '$what'" >&2
    exit 2
    ;;
esac

bash scripts/setup.sh pytest-xdist jaxtyping
echo "The tests run with:"
"$VENV/bin/python" -V
"$VENV/bin/python" -m pip list --format freeze --disable-pip-version-check |
    grep -E '^(torch|numpy|scipy|e3nn|pytorch-lightning|hypothesis|pytest)='
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-default}
exec "$VENV/bin/python" -m pytest -n "${WORKERS:-2}" "$@"
