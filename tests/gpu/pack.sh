#!/bin/sh
# Collects what a visit to a real die carries into one folder: pack.sh BUILD [FOLDER], default .carry in
# the root of the repository. Everything is stripped; the sources and frameworks travel with the tree.
# Fails if a needed part is missing or the whole is larger than 60 MiB.
set -eu
build=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${2:-$root/.carry}
cudart=${CUDART:-/usr/local/cuda/lib64/libcudart.so.13}

rm -rf "$folder"
mkdir -p "$folder/sim" "$folder/lib"
missing=
take() {  # NAME PATH: a part without which a visit makes no sense
  if [ -f "$2" ]; then strip --strip-unneeded -o "$folder/$1" "$2"; else missing="$missing $1"; fi
}
find_in_build() { find "$build" -type f -name "$1" -path "*$2*" ! -path '*.p/*' ! -path '*/aarch64/*' | sort | head -1; }

take libbarswap.so "$(find_in_build 'libbarswap.so*' /shim/)"
take barswap "$(find_in_build barswap /tools/)"
for program in queries remap twins graph_probe stripe_probe gate_probe links pool cudart_static cudart_shared; do
  take "$program" "$build/tests/gpu/$program"
done
for program in "$build"/tests/e2e/e2e_*; do
  if [ -f "$program" ] && [ -x "$program" ]; then take "$(basename "$program")" "$program"; fi
done
[ -f "$folder/e2e_demo" ] || missing="$missing e2e_demo"
take sim/libcuda.so.1 "$(find_in_build 'libcuda.so.1*' /sim/)"
cp "$root/tests/e2e/kernels.ptx" "$folder/"
cp -L "$cudart" "$folder/lib/libcudart.so.13" || missing="$missing libcudart.so.13"
git -C "$root" describe --always --dirty >"$folder/commit" 2>/dev/null || echo unknown >"$folder/commit"
chmod +x "$folder"/* 2>/dev/null || true

newest=$(for file in "$folder"/* "$folder"/*/*; do objdump -T "$file" 2>/dev/null; done |
  grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -1)
size=$(du -sm "$folder" | cut -f1)
echo "$folder: $size MiB, newest symbol $newest"
[ -z "$missing" ] || { echo "pack: missing:$missing" >&2; exit 1; }
[ "$size" -le 60 ] || { echo "pack: larger than 60 MiB" >&2; exit 1; }
case $(printf '%s\nGLIBC_2.34\n' "$newest" | sort -V | tail -1) in
  GLIBC_2.34) ;;
  *) echo "pack: a symbol newer than GLIBC_2.34" >&2; exit 1 ;;
esac
