#!/usr/bin/env python3
"""Reflows the lines that are wider than the house allows, and only those, with clang-format.

Usage: narrow.py [FILE...]; without files, the whole tree. Prints what is left for people.
"""
import pathlib
import subprocess
import sys

import house
import law

ROOT = pathlib.Path(__file__).resolve().parents[2]


def narrow(path):
    lines = house.too_wide(house.text_of(path), path.suffix)
    if lines and path.suffix in house.CODE:
        subprocess.run(['clang-format', '-i', '--style=file',
                        *(f'--lines={number}:{number}' for number in lines), str(path)], check=True)


def main():
    wanted = {pathlib.Path(name).resolve() for name in sys.argv[1:]}
    for name, path in house.files_under(ROOT):
        if path.suffix not in law.WIDTH_OF or name in law.WIDE_LINES:
            continue
        if wanted and path.resolve() not in wanted:
            continue
        narrow(path)
        for number in house.too_wide(house.text_of(path), path.suffix):
            print(f'{name}:{number}')


if __name__ == '__main__':
    main()
