#!/bin/sh
# Everything that should be measured on a GPU or TPU, in under 8 minutes, as one JSON.
#
#     sh experiments/gpu_check.sh
#
# Variables: OUTPUT, the JSON (runs/gpu_check.json); PYTHON (python3); WHEELS, a folder
# of wheels for packages that this Python lacks, where there is no network; SIZE, full
# or small (small on a CPU: to try the script itself, not to measure).
#
# The exit code is 0 if every stage succeeded, 1 if one failed (the JSON says which and
# why, and has what the others found), and 2 if it cannot begin.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ -n "${WHEELS:-}" ]; then
    if ! ls "$WHEELS"/*.whl >/dev/null 2>&1; then
        echo "gpu_check: WHEELS=$WHEELS holds no .whl file: name a folder of wheels." >&2
        exit 2
    fi
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    if ! "$python" -m pip install -q --no-index --no-deps --target "$site" \
        "$WHEELS"/*.whl; then
        echo "gpu_check: the wheels in WHEELS=$WHEELS do not fit $python." >&2
        exit 2
    fi
    # Behind what is installed: a wheel replaces no package that works there.
    export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$site"
fi
"$python" -m experiments.gpu_check \
    --output="${OUTPUT:-runs/gpu_check.json}" --size="${SIZE:-auto}"
