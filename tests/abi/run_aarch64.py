#!/usr/bin/env python3
"""Cross-builds the shim for AArch64; runs the tests of its face and of the ways in under qemu."""
import pathlib
import subprocess
import sys


def main():
    source, build, cross_file, cuda_include, mimalloc, unwind = sys.argv[1:]
    if not (pathlib.Path(build) / 'build.ninja').exists():
        subprocess.run(['meson', 'setup', build, source, '--cross-file', cross_file,
                        f'-Dcuda-headers={cuda_include}', f'-Dmimalloc_source={mimalloc}',
                        f'-Dlibunwind-headers={unwind}',
                        # Their packages cannot be installed beside the native ones.
                        '-Dunpack=disabled',
                        # What is looked at does not hang on either, and both are half of the work.
                        '-Doptimization=1', '-Ddebug=false'],
                       check=True)
    # Only what the two tests need: meson builds it by their dependencies.
    return subprocess.run(['meson', 'test', '-C', build, '--print-errorlogs', 'abi', 'wayin'],
                          check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
