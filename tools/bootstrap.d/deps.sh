# shellcheck shell=bash
# What must be on the machine: packages of Debian 12 or Ubuntu 24.04, the source of mimalloc, and
# CUDA's headers. Only what is missing is fetched; with everything there, no network is used.

packages_needed() {
  echo meson ninja-build g++ clang clang-tidy clang-format pkg-config git ccache \
    libunwind-dev libtomlplusplus-dev doctest-dev libcli11-dev nlohmann-json3-dev \
    liblz4-dev libzstd-dev \
    python3 python3-pytest python3-pip dpkg-dev binutils
  # The runtime of clang's sanitizers and fuzzer has the version in its name.
  apt-cache depends clang 2>/dev/null |
    sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p' | head -n 1
  # The way in is tested for aarch64 without such a machine.
  if [ "$(uname -m)" = x86_64 ]; then echo gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user; fi
}

is_installed() {
  dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif command -v sudo >/dev/null; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    fail "neither root nor sudo. Ask someone who is root for: $*"
  fi
}

packages_missing() {
  local name
  for name in $(packages_needed); do is_installed "$name" || echo "$name"; done
}

install_packages() {
  command -v apt-get >/dev/null ||
    fail "this is no Debian or Ubuntu. docs/dependencies.md lists what to install; then run meson."
  local missing
  missing=$(packages_missing)
  [ -n "$missing" ] || return 0
  step "updating the lists of packages"
  as_root apt-get update -q
  # The list may name more once apt knows the packages.
  missing=$(packages_missing)
  step "installing: $(echo "$missing" | tr '\n' ' ')"
  # shellcheck disable=SC2086  # one word a package
  as_root apt-get install -y -q --no-install-recommends $missing
}

# pytest is installed for the system's Python, which may be hidden by another one in PATH.
use_python_with_pytest() {
  python3 -c 'import pytest' 2>/dev/null && return 0
  /usr/bin/python3 -c 'import pytest' 2>/dev/null || fail "python3-pytest is installed, not found"
  export PATH="/usr/bin:$PATH"
}

# fetch_source NAME: the distribution's own source package, checked by apt against the
# distribution's keys, unpacked into .deps/NAME. apt's lists lie apart, so that the machine's set-up
# is left as it is.
fetch_source() {
  step "fetching the source package $1"
  local work=$PWD/.deps/sources
  rm -rf "$work" ".deps/$1"
  mkdir -p "$work/lists/partial" "$work/parts" "$work/download"
  /usr/bin/python3 tools/dev/source_entries.py >"$work/parts/sources.list"
  local -a apt=(apt-get -q
    -o "Dir::Etc::sourcelist=$work/none" -o "Dir::Etc::sourceparts=$work/parts"
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache="
    -o "APT::Sandbox::User=root")
  "${apt[@]}" update
  (cd "$work/download" && "${apt[@]}" source --download-only "$1")
  dpkg-source --no-copy -x "$work/download/${1}_"*.dsc ".deps/$1"
  rm -rf "$work"
}

fetch_mimalloc() {
  [ -f .deps/mimalloc/src/static.c ] && return 0
  fetch_source mimalloc
  [ -f .deps/mimalloc/src/static.c ] || fail "the source package mimalloc has no src/static.c"
}

# The cross-built shim needs AArch64's header of libunwind, whose package this machine cannot
# install; the source package has it. The header with the version is the same for all machines.
fetch_unwind_headers() {
  [ "$(uname -m)" = x86_64 ] || return 0
  local headers=.deps/libunwind-aarch64
  [ -f "$headers/libunwind-common.h" ] && return 0
  fetch_source libunwind
  rm -rf "$headers"
  mkdir "$headers"
  cp .deps/libunwind/include/libunwind-aarch64.h "$headers/libunwind.h"
  cp .deps/libunwind/include/libunwind-dynamic.h "$headers/"
  cp "/usr/include/$(gcc -print-multiarch)/libunwind-common.h" "$headers/"
  rm -rf .deps/libunwind
}

headers_are_good() {
  local version
  version=$(sed -n 's/^#define CUDA_VERSION \([0-9]*\).*/\1/p' "$1/cuda.h" 2>/dev/null)
  [ -f "$1/cudaTypedefs.h" ] && [ "${version:-0}" -ge 13000 ]
}

fetch_cuda_headers() {
  local folder
  for folder in .deps/cuda/include /usr/local/cuda/include; do
    headers_are_good "$folder" && return 0
  done
  step "fetching CUDA's headers (PyPI package nvidia-cuda-runtime 13.0)"
  rm -rf .deps/wheel .deps/cuda
  python3 -m pip download --quiet --no-deps --dest .deps/wheel 'nvidia-cuda-runtime==13.0.*'
  python3 -m zipfile -e .deps/wheel/nvidia_cuda_runtime-*.whl .deps/wheel
  mkdir -p .deps/cuda
  mv .deps/wheel/nvidia/*/include .deps/cuda/include
  rm -rf .deps/wheel
  headers_are_good .deps/cuda/include || fail "that package has no cuda.h of version 13.0 or later"
}

install_deps() {
  install_packages
  use_python_with_pytest
  mkdir -p .deps
  fetch_mimalloc
  fetch_unwind_headers
  fetch_cuda_headers
}
