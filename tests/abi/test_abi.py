"""The face of libbarswap.so: what it needs and exports, and that the table knows the driver."""
import collections
import os
import pathlib
import re
import subprocess

import rows

SHIM = pathlib.Path(os.environ['ABI_SHIM'])
SOURCE = pathlib.Path(os.environ['ABI_SOURCE'])
COMPILER = os.environ['ABI_COMPILER'].split()
CUDA_INCLUDE = os.environ['ABI_CUDA_INCLUDE']
GLIBC_MAX = os.environ['ABI_GLIBC_MAX']
BINUTILS = os.environ['ABI_BINUTILS']
SANITIZED = os.environ['ABI_SANITIZED'] == '1'

LIBC_OWN = re.compile(r'(libc|libm|libdl|libpthread|librt|ld-linux-[\w-]+)\.so\.\d+$')


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exports_of(library):
    lines = output_of(BINUTILS + 'nm', '-D', '--defined-only', str(library)).splitlines()
    return {line.split()[-1] for line in lines if line.split()}


def version_key(text):
    return tuple(int(part) for part in text.split('.'))


def test_needs_only_the_c_library():
    needed = re.findall(r'\(NEEDED\).*\[(.*)\]', output_of(BINUTILS + 'readelf', '-dW', str(SHIM)))
    assert needed
    if not SANITIZED:
        assert [name for name in needed if not LIBC_OWN.match(name)] == []


def test_exports_exactly_the_rows():
    assert exports_of(SHIM) == rows.exported_names(SOURCE)


def test_takes_over_no_allocator_and_no_unwinder():
    forbidden = re.compile(r'(mi_|_Zn|_Zd|_Unwind_|__cxa_)|(malloc|calloc|realloc|free|memalign)$')
    assert [name for name in exports_of(SHIM) if forbidden.match(name)] == []


def test_exports_carry_no_version():
    """A named version would keep our dlsym from standing in for the C library's."""
    assert 'gnu.version_d' not in output_of(BINUTILS + 'readelf', '-VW', str(SHIM))


def test_no_symbol_is_newer_than_promised():
    wanted = set(re.findall(r'GLIBC_([0-9.]+)', output_of(BINUTILS + 'readelf', '-VW', str(SHIM))))
    assert wanted
    assert {v for v in wanted if version_key(v) > version_key(GLIBC_MAX)} == set()


def test_bound_at_start_and_never_unloaded():
    dynamic = output_of(BINUTILS + 'readelf', '-dW', str(SHIM))
    assert re.search(r'FLAGS_1.*NOW.*NODELETE', dynamic)
    assert 'TEXTREL' not in dynamic


def test_stack_is_not_executable():
    assert re.search(r'GNU_STACK.* RW ', output_of(BINUTILS + 'readelf', '-lW', str(SHIM)))


def declared_functions():
    """Every function that cuda.h declares, twins and old variants included."""
    text = output_of(*COMPILER, '-E', '-P', '-x', 'c', '-D__CUDA_API_VERSION_INTERNAL',
                     '-isystem', CUDA_INCLUDE, f'{CUDA_INCLUDE}/cuda.h')
    return set(re.findall(r'\bCUresult\s+(cu[A-Z]\w*)\s*\(', text))


def test_every_function_of_the_header_is_in_one_row():
    counted = collections.Counter(symbol for _, symbol, _ in rows.driver_rows(SOURCE))
    declared = declared_functions()
    assert len(declared) > 500
    assert {name for name, count in counted.items() if count > 1} == set()
    assert declared - set(counted) == set()
    assert set(counted) - declared == set()


def test_every_pass_row_has_its_reason():
    assert [symbol for kind, symbol, reason in rows.driver_rows(SOURCE)
            if kind == 'PASS' and len(reason) < 10] == []


def real_drivers():
    try:
        listed = output_of('ldconfig', '-p')
    except (OSError, subprocess.CalledProcessError):
        return []
    return sorted(set(re.findall(r'libcuda\.so\.1 .*=> (\S+)', listed)))


def test_unknown_exports_of_the_driver_in_use_are_printed(capsys):
    """Information, not a judgement: such functions are handed out as gated stubs."""
    known = {symbol for _, symbol, _ in rows.driver_rows(SOURCE)}
    for path in real_drivers():
        exported = exports_of(path)
        unknown = sorted(name for name in exported - known if re.match(r'cu[A-Z]', name))
        with capsys.disabled():
            print(f'\n{path}: {len(exported)} exports, {len(unknown)} unknown to the table:')
            print('  ' + '\n  '.join(unknown))
    if not real_drivers():
        with capsys.disabled():
            print('\nno driver on this machine; its exports were not audited')
