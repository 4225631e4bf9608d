# Sourced by the scripts beside it: makes the virtual environment and installs this package into it.
#
#   set_up        installs what the commands need, those that build and train supernets too
#   set_up dev    also installs what the checks need
#
# Afterwards $root is the repository and $venv the environment: .venv in the repository, or
# DEPLOY_NAS_VENV. DEPLOY_NAS_PYTHON names the Python to make it with. Where there is uv, it installs, and takes a
# PyTorch without CUDA unless there is a GPU; DEPLOY_NAS_TORCH says otherwise (docs/reference/environment.md). Installs and downloads only if
# pyproject.toml has changed since the last installation.
# shellcheck shell=bash

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)"
venv="${DEPLOY_NAS_VENV:-$root/.venv}"
case "$venv" in /*) ;; *) venv="$PWD/$venv" ;; esac

say() { printf '%s\n' "$*" >&2; }
fail() { say "set-up: $*"; exit 2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  if [ -n "${DEPLOY_NAS_PYTHON:-}" ]; then
    new_enough "$DEPLOY_NAS_PYTHON" || fail "DEPLOY_NAS_PYTHON=$DEPLOY_NAS_PYTHON is not Python 3.11 or newer"
    python="$DEPLOY_NAS_PYTHON"
    return
  fi
  for python in python3 python3.13 python3.12 python3.11 python; do
    if new_enough "$python"; then return; fi
  done
  fail "needs Python 3.11 or newer, and found $(python3 --version 2>/dev/null || echo none)." \
    "Install one, or name it: DEPLOY_NAS_PYTHON=/path/to/python3.12"
}

make_venv() {
  if [ -e "$venv/pyvenv.cfg" ]; then
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    if "$venv/bin/python" -m ensurepip >/dev/null 2>&1; then return; fi
    say "The virtual environment $venv does not work: replacing it."
  elif [ -e "$venv" ] && [ -n "$(ls -A "$venv" 2>&1)" ]; then
    fail "$venv exists and is not a virtual environment: move it away, or name another folder in DEPLOY_NAS_VENV"
  else
    say "Making a virtual environment in $venv."
  fi
  find_python
  "$python" -m venv --clear "$venv" ||
    fail "$python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv"
}

# What an installation depends on: its stamp must hold the same.
wanted() { printf '%s\n' "$root"; cat "$root/pyproject.toml"; }

is_installed() { [ -x "$venv/bin/python" ] && [ -f "$1" ] && [ "$(wanted)" = "$(cat "$1")" ]; }

# On Linux, PyTorch as the package index has it brings CUDA; on macOS it has none anyway.
with_cuda() { [ "$(uname -s)" = Linux ]; }

install() {
  local torch="${DEPLOY_NAS_TORCH:-auto}"
  if [ "$torch" != index ] && command -v uv >/dev/null; then
    say "Installing deploy-nas into $venv with uv. This is needed once. It downloads about 0.4 GB; where a GPU is" \
      "found, about 3 GB, for CUDA."
    # Where Python may not keep what it compiled, every command would compile torch: 15 s.
    if uv pip install --quiet --python "$venv/bin/python" --torch-backend "$torch" \
      ${PYTHONDONTWRITEBYTECODE:+--compile-bytecode} --editable "$1"; then return; fi
    if [ "$torch" != auto ]; then return 1; fi
    say "uv could not: the reason is above. Going on with pip."
  elif [ "$torch" != index ] && [ "$torch" != auto ]; then
    fail "DEPLOY_NAS_TORCH=$torch needs uv: install it, or set DEPLOY_NAS_TORCH=index"
  fi
  if with_cuda; then
    say "Installing deploy-nas into $venv. This is needed once, and downloads about 3 GB: on Linux, PyTorch comes" \
      "with CUDA. Where uv is installed, it takes the one without (0.4 GB in all) if there is no GPU."
  else
    say "Installing deploy-nas into $venv. This is needed once, and downloads about 0.4 GB."
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$1"
}

set_up() {
  local extra="${1:-supernets}" stamp="$venv/.deploy-nas-installed"
  if is_installed "$stamp-dev" || is_installed "$stamp-$extra"; then return; fi
  make_venv
  install "${root}[$extra]" ||
    fail "the installation failed: the reason is above. Run the same command again to go on"
  "$venv/bin/python" -c 'import torchvision' >/dev/null ||
    fail "torch and torchvision do not match: both must come from the same package index. Remove $venv and run this again"
  wanted >"$stamp-$extra"
}
