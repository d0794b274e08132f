# shellcheck shell=bash
# All tests that this machine can run. A failure does not stop the rest; the last line counts them.

logs=()            # testlog.json of each run, for the sum and the report
failed_builds=0
property_seeds=300 # a few hundred: minutes on two cores

# try_build NAME FOLDER CC CXX [OPTIONS...]: false, and counted, when it fails.
try_build() {
  build "$@" && return 0
  failed_builds=$((failed_builds + 1))
  echo "bootstrap: the build $1 failed; its tests are left out" >&2
  return 1
}

# run_suites FOLDER NAME MESON-TEST-ARGUMENTS...
run_suites() {
  local folder=$1 name=$2
  shift 2
  step "$folder: $name"
  rm -f "$folder/meson-logs/$name.json"
  BARSWAP_SEEDS=$property_seeds meson test -C "$folder" --no-rebuild --logbase "$name" \
    --num-processes "$(jobs_count)" --print-errorlogs "$@" </dev/null || true
  logs+=("$folder/meson-logs/$name.json")
}

# Every suite that needs no die, whole.
test_gcc() {
  try_build build gcc g++ || return 0
  run_suites build all --no-suite gpu --no-suite bench --no-suite fuzz
}

test_clang() {
  try_build build-clang clang clang++ -Dfuzz=true -Dfuzz_seconds=20 -Dcpp_args=-g1 || return 0
  # What programs and seeds look for does not hang on the compiler: in full they run with gcc.
  run_suites build-clang all --suite unit --suite abi --no-suite cross
  BARSWAP_E2E=short run_suites build-clang e2e ways wayin one
  run_suites build-clang fuzz --suite fuzz
}

# test_sanitized FOLDER SANITIZERS E2E [MESON-TEST-ARGUMENTS...]: unit, property and e2e. Little
# optimisation and short debug information halve the compiler's work and still name file and line.
test_sanitized() {
  local folder=$1 sanitizers=$2 level=$3
  shift 3
  try_build "$folder" gcc g++ "-Db_sanitize=$sanitizers" -Db_lundef=false -Doptimization=1 \
    -Dcpp_args=-g1 || return 0
  # A sanitizer looks at paths, and a few seeds take most of them.
  local property_seeds=$((property_seeds > 1000 ? 500 : 50))
  # The shim leaks on purpose at exit: the program's last threads may still call it. Unasked, UBSan
  # tells what it found and lets the test pass.
  BARSWAP_E2E=$level ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
    UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1 \
    run_suites "$folder" sanitized --timeout-multiplier 5 \
    --suite unit --suite property --suite e2e "$@"
}

test_on_die() {
  if ! has_die; then
    echo "No GPU here: the suites gpu and bench are left out."
    return 0
  fi
  run_suites build gpu --suite gpu --num-processes 1 --verbose
  run_suites build bench --suite bench --num-processes 1 --verbose
}

# write_report VISIT...
write_report() {
  local machine folder
  local -a visits=()
  for folder in "$@"; do visits+=(--visit "$folder"); done
  machine=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 || true)
  machine=$(echo "${machine:-no-gpu}" | tr '[:upper:] ' '[:lower:]-')
  mkdir -p docs/reports
  local report
  report=docs/reports/$(date +%F)-$machine.md
  python3 tools/dev/test_results.py report "tools/bootstrap test --full" "${visits[@]}" \
    "${logs[@]}" >"$report"
  step "report: $report"
}

# run_tests quick|default|full [VISIT...]
run_tests() {
  local kind=$1 folder
  shift
  for folder in "$@"; do
    [ -f "$folder/visit.json" ] || fail "$folder has no visit.json, so it is no visit's folder"
  done
  install_deps
  case $kind in
    quick)
      if try_build build gcc g++; then
        run_suites build quick --suite unit --suite tidy --suite abi
      fi
      ;;
    default | full)
      if [ "$kind" = full ]; then property_seeds=10000; fi
      test_gcc
      test_clang
      # Under sanitizers, programs that meet chaos need not run without it as well. TSan is ten times
      # slower: error paths, bad input and what one thread does alone are for the others.
      if [ "$kind" = full ]; then
        test_sanitized build-asan address,undefined brief
        test_sanitized build-tsan thread brief
      else
        test_sanitized build-asan address,undefined brief --no-suite calm
        test_sanitized build-tsan thread lean --no-suite errors --no-suite calm --no-suite alone
      fi
      if [ "$kind" = full ]; then
        test_on_die
        write_report "$@"
      fi
      ;;
  esac
  step "all done"
  python3 tools/dev/test_results.py sum "$failed_builds" "${logs[@]}"
}
