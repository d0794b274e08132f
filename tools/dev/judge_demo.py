"""Says whether a program's statistics show that something was spilled and something moved."""

import json
import pathlib
import sys


def mib(size_bytes):
    return f"{size_bytes / 2**20:.0f} MiB"


def main():
    process = json.loads(pathlib.Path(sys.argv[1]).read_text())[0]
    host = sum(die["tier"]["host"] for die in process["dies"])
    hbm = sum(die["tier"]["hbm"] for die in process["dies"])
    moved = {cause: counts for cause, counts in process["moves"].items()
             if counts["pages_out"] or counts["pages_in"]}
    print(f"Where its memory lay: {mib(hbm)} on the die, {mib(host)} in host memory.")
    for cause, counts in moved.items():
        print(f"Moved for {cause}: {counts['pages_out']} pages ({mib(counts['bytes_out'])}) out,"
              f" {counts['pages_in']} pages ({mib(counts['bytes_in'])}) in.")
    if host == 0:
        sys.exit("Nothing was spilled.")
    if not moved:
        sys.exit("Nothing moved.")


if __name__ == "__main__":
    main()
