# shellcheck shell=bash
# Build folders. Each is configured once; ninja does the rest.

# configure FOLDER CC CXX [MESON OPTIONS...]
configure() {
  local folder=$1 cc=$2 cxx=$3
  shift 3
  [ -f "$folder/build.ninja" ] || CC=$cc CXX=$cxx meson setup "$folder" "$@"
}

# build FOLDER CC CXX [MESON OPTIONS...]
build() {
  step "building $1 with $3"
  configure "$@" && ninja -C "$1" -j "$(jobs_count)"
}

build_default() { build build gcc g++; }
