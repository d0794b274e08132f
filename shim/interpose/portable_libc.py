#!/usr/bin/env python3
"""Makes a link-time stand-in for libc.so.6 that knows no version newer than the given one.

The C library keeps the older versions of its functions; the linker merely prefers the newest.
Linked against a stand-in that offers the older ones alone, the shim runs on older machines too.
Usage: portable_libc.py VERSION NM OUTPUT COMPILER...
"""
import pathlib
import re
import subprocess
import sys

SYMBOL = re.compile(r'^\S+ (?P<type>[TWiVDBR]) (?P<name>\w+)@@?GLIBC_(?P<version>[\d.]+)$')


def key(version):
    return tuple(int(part) for part in version.split('.'))


def chosen_versions(listing, newest):
    chosen = {}
    for match in filter(None, map(SYMBOL.match, listing.splitlines())):
        name, version = match['name'], match['version']
        if key(version) > key(newest) or key(version) < key(chosen.get(name, (version, ''))[0]):
            continue
        chosen[name] = (version, '@object' if match['type'] in 'VDBR' else '@function')
    return chosen


def assembly_of(chosen):
    lines = ['.data']
    for number, (name, (version, kind)) in enumerate(sorted(chosen.items())):
        local = f'stand_in_{number}'
        kind = kind.replace('@', '%')
        lines += [f'.globl {local}', f'.type {local}, {kind}', f'{local}: .quad 0',
                  f'.size {local}, 8', f'.symver {local}, {name}@@GLIBC_{version}']
    return '\n'.join(lines + ['.section .note.GNU-stack, "", %progbits', ''])


def version_script_of(chosen):
    versions = sorted({version for version, _ in chosen.values()}, key=key)
    nodes = [f'GLIBC_{version} {{ }};' for version in versions]
    nodes[0] = f'GLIBC_{versions[0]} {{ local: stand_in_*; }};'
    return '\n'.join(nodes) + '\n'


def main():
    newest, nm, output, *compiler = sys.argv[1:]
    libc = subprocess.run([*compiler, '-print-file-name=libc.so.6'], check=True,
                          capture_output=True, text=True).stdout.strip()
    listing = subprocess.run([nm, '-D', '--defined-only', '--with-symbol-versions', libc],
                             check=True, capture_output=True, text=True).stdout
    chosen = chosen_versions(listing, newest)
    output = pathlib.Path(output)
    source, script = output.with_suffix('.S'), output.with_suffix('.map')
    source.write_text(assembly_of(chosen))
    script.write_text(version_script_of(chosen))
    subprocess.run([*compiler, '-shared', '-nostdlib', '-Wl,-soname,libc.so.6',
                    f'-Wl,--version-script={script}', '-o', str(output), str(source)], check=True)


if __name__ == '__main__':
    main()
