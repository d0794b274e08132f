# shellcheck shell=bash
# One unmodified program, three times: bare; with little memory and nowhere to spill; under Barswap
# in the same little memory.

# Whether a real die can be used: a device node, a driver that loads, and at least one device.
has_die() {
  [ -e /dev/nvidiactl ] && python3 - 2>/dev/null <<'PYTHON'
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int()
good = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
raise SystemExit(0 if good and count.value > 0 else 1)
PYTHON
}

# MiB of device memory that are free on the first die.
free_mib() { nvidia-smi --query-gpu=memory.free --format=csv,noheader,nounits | head -n 1; }

# Sets footprint_mib and, without a die, the simulated machine.
choose_machine() {
  if has_die; then
    step "machine: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)"
    footprint_mib=8192
    local most=$(($(free_mib) * 3 / 4))
    [ "$most" -ge "$footprint_mib" ] || footprint_mib=$most
  else
    step "machine: no GPU here, so a simulated one (a driver library in $build/tests/sim)"
    footprint_mib=512
    # In so little memory pages of the usual size would be too few to see them move.
    export BARSWAP_SET=paging.page=4MiB
    export SIM_VRAM=$((4 << 30))
    export LD_LIBRARY_PATH=$PWD/$build/tests/sim${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  fi
  cap_mib=$((footprint_mib / 4))
  echo "The program holds about $footprint_mib MiB; the cap is $cap_mib MiB."
}

hash_in() { sed -n 's/^hash //p' "$1"; }

demo_bare() {
  step "1 of 3: the program alone, without a cap"
  "$demo" --mib "$footprint_mib" --progress | tee "$scratch/bare"
  [ -n "$(hash_in "$scratch/bare")" ] || fail "the bare program printed no hash"
}

demo_without_spilling() {
  step "2 of 3: with $cap_mib MiB and nowhere to spill; this must run out of memory"
  local status=0
  "$barswap" run --set "vram.limit=${cap_mib}MiB" --set tiers.host.enable=false -- \
    "$demo" --mib "$footprint_mib" --progress >"$scratch/refused" 2>&1 || status=$?
  sed 's/^/    /' "$scratch/refused"
  if ! grep -q CUDA_ERROR_OUT_OF_MEMORY "$scratch/refused" || [ "$status" != 2 ]; then
    fail "the program should have run out of memory; its status was $status"
  fi
  echo "It ran out of memory, as it must."
}

# The program holds its memory until it reads a line, so that it can be looked at.
demo_under_barswap() {
  step "3 of 3: under Barswap, in the same $cap_mib MiB"
  mkfifo "$scratch/hold"
  "$barswap" run --set "vram.limit=${cap_mib}MiB" -- \
    "$demo" --mib "$footprint_mib" --progress --hold <"$scratch/hold" >"$scratch/swapped" &
  local pid=$!
  exec 9>"$scratch/hold"
  until grep -q '^holding' "$scratch/swapped"; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  if kill -0 "$pid" 2>/dev/null; then
    echo
    "$barswap" status "$pid" --events 5 | tee "$scratch/status"
    "$barswap" status "$pid" --json >"$scratch/status.json"
  fi
  exec 9>&-
  local status=0
  wait "$pid" || status=$?
  cat "$scratch/swapped"
  [ "$status" = 0 ] || fail "the program ended with status $status under Barswap"
}

judge_demo() {
  step "comparing"
  local alone swapped
  alone=$(hash_in "$scratch/bare")
  swapped=$(hash_in "$scratch/swapped")
  [ "$alone" = "$swapped" ] || fail "the hashes differ: $alone alone, $swapped under Barswap"
  echo "The hash of every byte is the same: $alone"
  python3 tools/dev/judge_demo.py "$scratch/status.json" || fail "the demonstration shows nothing"
}

run_demo() {
  local build=${BARSWAP_BUILD:-build}
  demo=$PWD/$build/tests/e2e/e2e_demo
  barswap=$PWD/$build/tools/barswap/barswap
  scratch=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$scratch'" EXIT
  # Statistics of this demonstration alone.
  export XDG_RUNTIME_DIR=$scratch
  choose_machine
  demo_bare
  demo_without_spilling
  demo_under_barswap
  judge_demo
  step "done"
}
