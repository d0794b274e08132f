"""Sums the logs of `meson test`, and writes the report of a full run.

  test_results.py sum FAILED_BUILDS LOG...   names what failed; the last line counts; status 1 then
  test_results.py report COMMAND [--visit FOLDER]... LOG...
                                             a page in Markdown on standard output, with the tables
                                             of visits to dies of other machines
"""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}
OUTPUT_SUITES = ("gpu", "bench")  # what these print is the report's matter


def read_log(path):
    """The results of one run. A run that left no log had nothing to run or did not start."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def kind_of(result):
    word = result["result"]
    return "passed" if word in PASSED else "skipped" if word in SKIPPED else "failed"


def counts_of(results):
    kinds = [kind_of(result) for result in results]
    return {kind: kinds.count(kind) for kind in ("passed", "failed", "skipped")}


def run_name(path):
    return f"{path.parent.parent.name}: {path.stem}"


def summarise(failed_builds, paths):
    total = {"passed": 0, "failed": failed_builds, "skipped": 0}
    for path in paths:
        results = read_log(path)
        for kind, count in counts_of(results).items():
            total[kind] += count
        for result in results:
            if kind_of(result) == "failed":
                print(f"failed: {run_name(path)}: {result['name']} ({result['result']})")
    if failed_builds:
        print(f"failed: {failed_builds} builds")
    if not total["passed"]:
        print("failed: no test passed, so nothing was shown")
        total["failed"] += 1
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**total))
    return 1 if total["failed"] else 0


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine_facts():
    memory = next((line.split(":")[1].strip() for line in
                   pathlib.Path("/proc/meminfo").read_text().splitlines()
                   if line.startswith("MemTotal")), "?")
    dies = output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version",
                     "--format=csv,noheader")
    return {"dies": "; ".join(dies.splitlines()) or "none",
            "processor": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
            "memory": memory, "kernel": platform.release(),
            "commit": output_of("git", "rev-parse", "HEAD"),
            "changed files": str(len(output_of("git", "status", "--porcelain").splitlines()))}


def visit_lines(folder):
    """A visit's page as a chapter: its headings one level down."""
    lines = (folder / "visit.md").read_text().splitlines()
    chapter = ["", f"## A visit to a die elsewhere: {folder.name}"]
    return chapter + ["#" + line if line.startswith("## ") else line for line in lines
                      if not line.startswith("# ")]


def report(command, visits, paths):
    print(f"# Test report, {datetime.date.today().isoformat()}\n\nWritten by `{command}`.\n")
    print("| machine | |\n| --- | --- |")
    for name, value in machine_facts().items():
        print(f"| {name} | {value} |")
    print("\n| run | passed | failed | skipped |\n| --- | --- | --- | --- |")
    for path in paths:
        print("| {} | {passed} | {failed} | {skipped} |".format(run_name(path),
                                                               **counts_of(read_log(path))))
    for path in paths:
        for result in read_log(path):
            named = f"`{result['name']}` in {run_name(path)}"
            if kind_of(result) != "passed":
                print(f"\n- {kind_of(result)}: {named} ({result['result']})")
            if path.stem in OUTPUT_SUITES:
                print(f"\n## {named}, {result['duration']:.0f} s\n\n```")
                print(result.get("stdout", "").rstrip() + "\n```")
    for folder in visits:
        print("\n".join(visit_lines(folder)))


def main():
    command, argument, *rest = sys.argv[1:]
    visits = []
    while rest[:1] == ["--visit"]:
        visits.append(pathlib.Path(rest[1]))
        rest = rest[2:]
    paths = [pathlib.Path(path) for path in rest]
    if command == "sum":
        return summarise(int(argument), paths)
    return report(argument, visits, paths)


if __name__ == "__main__":
    sys.exit(main())
