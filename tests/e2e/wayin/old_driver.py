#!/usr/bin/env python3
"""Writes a version script that hides what a driver of the given version did not have yet."""
import re
import sys

ROW = re.compile(r'^BARSWAP_\w+\((\w+), *\w+, *(\d+),')


def main():
    table, newest, output = sys.argv[1:]
    with open(table, encoding='utf-8') as file:
        rows = [match.groups() for match in map(ROW.match, file) if match]
    names = [symbol for symbol, version in rows if int(version) <= int(newest)]
    with open(output, 'w', encoding='utf-8') as file:
        file.write('{ global: ' + ' '.join(f'{name};' for name in names) + ' local: *; };\n')


if __name__ == '__main__':
    main()
