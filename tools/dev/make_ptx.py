#!/usr/bin/env python3
"""Makes NAME.ptx beside each NAME.cu, or with --check says whether the committed one still agrees.

Usage: make_ptx.py [--check] [NAME.cu...]; without files, all whose PTX is committed. Without nvcc
the check compares the stamp only: the first line holds the digest of the sources.
"""

import argparse
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ALL = (ROOT / "tests/e2e/kernels.cu", ROOT / "shim/pager/fingerprint.cu",
       ROOT / "tools/bench/kernels.cu")
INCLUDE_FOLDER = ROOT / "shim"
# nvcc writes its own newest PTX version, which older drivers refuse. The kernels use nothing newer
# than 7.0, and driver 12.2, the oldest with paging, reads 8.2.
PTX_VERSION = ".version 8.0"
NVCC_RELEASE = "13.0"
# The oldest that this nvcc knows. Headers that the host shares have constexpr functions.
OPTIONS = ("-ptx", "-arch=compute_75", "-std=c++17", "--expt-relaxed-constexpr")


def sources_of(source):
    """The file, and what it includes in quotes."""
    found = [source]
    for path in found:
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
            header = next(folder / name for folder in (path.parent, INCLUDE_FOLDER)
                          if (folder / name).exists())
            if header not in found:
                found.append(header)
    return found


def stamp(source):
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources_of(source))).hexdigest()
    return f"// Made by make_ptx.py with nvcc {NVCC_RELEASE} from sources of sha256 {digest}"


def find_nvcc():
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        return None
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return nvcc if f"release {NVCC_RELEASE}" in text else None


def make(nvcc, source):
    command = [nvcc, *OPTIONS, "-I", INCLUDE_FOLDER, "-o", "-", source]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    body = re.sub(r"^//.*\n", "", text, flags=re.MULTILINE).lstrip("\n")
    return stamp(source) + "\n" + re.sub(r"^\.version .*$", PTX_VERSION, body, flags=re.MULTILINE)


def check(nvcc, source):
    ptx = source.with_suffix(".ptx")
    committed = ptx.read_text()
    if committed.split("\n", 1)[0] != stamp(source):
        sys.exit(f"make_ptx: {ptx.name} is older than its sources; run tools/dev/make_ptx.py")
    if nvcc is not None and committed != make(nvcc, source):
        sys.exit(f"make_ptx: nvcc makes another {ptx.name}; run tools/dev/make_ptx.py")
    how = "" if nvcc else " by its stamp; nvcc is not here"
    print(f"{ptx.name} agrees with its sources{how}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("sources", nargs="*", type=lambda name: pathlib.Path(name).resolve())
    arguments = parser.parse_args()
    nvcc = find_nvcc()
    if nvcc is None and not arguments.check:
        sys.exit(f"make_ptx: nvcc {NVCC_RELEASE} is not here")
    for source in arguments.sources or ALL:
        if arguments.check:
            check(nvcc, source)
        else:
            source.with_suffix(".ptx").write_text(make(nvcc, source))


if __name__ == "__main__":
    main()
