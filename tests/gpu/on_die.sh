#!/bin/sh
# The suite gpu: packs BUILD and makes a quick visit to the die of this machine; skipped without one.
# Results lie in BUILD/visit.
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
[ -e /dev/nvidiactl ] || { echo "no die here"; exit 77; }
"$here/pack.sh" "$build" "$build/carry"
OUT="$build/visit" exec python3 "$here/visit.py" --carry "$build/carry" --budget-s 1500 --quick
