"""Turns requests.txt (name, version, flags) into rows of a C++ array. Usage: IN OUT."""

import pathlib
import sys

source, target = map(pathlib.Path, sys.argv[1:])
rows = [line.split() for line in source.read_text().splitlines() if line and not line.startswith("#")]
target.write_text("".join(f'{{"{name}", {version}, {flags}, nullptr}},\n' for name, version, flags in rows))
