#!/bin/sh
# setup.sh DIR: make the Python environment DIR ready for effowt_d2.
# An environment that already has Detectron2 gets the plugin and its test tools only; anything else gets the pinned set.
set -eu
venv=$1
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
python="$venv/bin/python"
"$python" -c 'import sys; sys.exit("effowt_d2 needs Python 3.10 or newer, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'

if "$python" -c 'import detectron2' 2>/dev/null && [ ! -e "$venv/.effowt_d2_own" ]; then
    echo "using the Detectron2 of $venv"
    "$python" -m pip install -q --no-build-isolation -e '.[test]'
else
    echo "setting up $venv (a few minutes)"
    touch "$venv/.effowt_d2_own"
    # Pinned: newer pip refuses the metadata of Detectron2's source distribution; v0.6 needs pkg_resources.
    "$python" -m pip install -q pip==24.3.1 setuptools==80.10.2 wheel==0.48.0
    "$python" -m pip install -q -r requirements.txt
    "$python" tools/setup/install_detectron2.py "${DETECTRON2:-v0.6}"
    "$python" -m pip install -q --no-build-isolation -e .
fi
for project in projects/*/pyproject.toml; do
    "$python" -m pip install -q --no-deps --no-build-isolation -e "$(dirname "$project")"
done
