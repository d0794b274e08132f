# shellcheck shell=bash
# Lines that say what happens now, and how long everything has taken so far.

jobs_count() { echo "${BARSWAP_JOBS:-$(nproc)}"; }

step() { printf '\n[%02d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

fail() {
  printf 'bootstrap: %s\n' "$*" >&2
  exit 1
}
