#!/usr/bin/env python3
"""Writes the linker's version script: the rows that we export, and nothing else.

The node has no name on purpose: a named one would keep our dlsym from satisfying requests for the
C library's dlsym@GLIBC_2.2.5 and dlsym@GLIBC_2.34.
"""
import re
import sys

EXPORTED = re.compile(r'^BARSWAP_(?:HOOK|SUBMIT|SYNC|RETRY|ORDER)\((\w+),')
NVML = re.compile(r'^BARSWAP_NVML\((\w+),')
PUBLIC = re.compile(r'\b(barswap_\w+)\s*\(void\)')


def names_in(path, pattern):
    with open(path, encoding='utf-8') as file:
        return [match.group(1) for line in file if (match := pattern.search(line))]


def exports(driver_table, nvml_table, public_header):
    names = names_in(driver_table, EXPORTED) + names_in(nvml_table, NVML)
    return sorted(set(names + names_in(public_header, PUBLIC) + ['dlsym', 'dlvsym', 'dlopen']))


def main():
    driver_table, nvml_table, public_header, output = sys.argv[1:]
    with open(output, 'w', encoding='utf-8') as file:
        file.write('{\n  global:\n')
        for name in exports(driver_table, nvml_table, public_header):
            file.write(f'    {name};\n')
        file.write('  local:\n    *;\n};\n')


if __name__ == '__main__':
    main()
