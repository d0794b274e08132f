#!/usr/bin/env python3
"""Makes kernels.ptx from kernels.cu, or with --check says whether the committed one still agrees.

Without nvcc the check compares the stamp only: the first line holds the digest of the sources.
"""

import argparse
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
SOURCES = ("kernels.cu", "kernel_types.hpp")
PTX = FOLDER / "kernels.ptx"
# nvcc writes its own newest PTX version, which older drivers refuse. The kernels use nothing newer
# than 7.0, and driver 12.2, the oldest with paging, reads 8.2.
PTX_VERSION = ".version 8.0"
NVCC_RELEASE = "13.0"


def stamp():
    digest = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in SOURCES)).hexdigest()
    return f"// Made by make_ptx.py with nvcc {NVCC_RELEASE} from sources of sha256 {digest}"


def find_nvcc():
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        return None
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return nvcc if f"release {NVCC_RELEASE}" in text else None


def make(nvcc):
    command = [nvcc, "-ptx", "-arch=compute_75", "-std=c++17", "-o", "-", FOLDER / "kernels.cu"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    body = re.sub(r"^//.*\n", "", text, flags=re.MULTILINE).lstrip("\n")
    return stamp() + "\n" + re.sub(r"^\.version .*$", PTX_VERSION, body, flags=re.MULTILINE)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    nvcc = find_nvcc()
    if not arguments.check:
        if nvcc is None:
            sys.exit(f"make_ptx: nvcc {NVCC_RELEASE} is not here")
        PTX.write_text(make(nvcc))
        return
    committed = PTX.read_text()
    if committed.split("\n", 1)[0] != stamp():
        sys.exit("make_ptx: kernels.ptx is older than its sources; run tests/e2e/make_ptx.py")
    if nvcc is not None and committed != make(nvcc):
        sys.exit("make_ptx: nvcc makes another kernels.ptx; run tests/e2e/make_ptx.py")
    print(
        "kernels.ptx agrees with its sources" + ("" if nvcc else " by its stamp; nvcc is not here")
    )


if __name__ == "__main__":
    main()
