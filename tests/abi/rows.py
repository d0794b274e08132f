"""The tables of the shim, as the tests of its face read them."""
import re

ROW = re.compile(r'^BARSWAP_(HOOK|SUBMIT|SYNC|RETRY|ORDER|CALL|PASS)'
                 r'\((\w+), *(\w+), *(\d+), *(\w*), *(\d+)')
LIBC_HOOKS = ('dlopen', 'dlsym', 'dlvsym')


def driver_rows(source):
    """(kind, symbol, reason) for each row; the reason of rows that need none is empty."""
    text = (source / 'shim/driver/driver_api.def').read_text()
    # A row may go over several lines; it starts at the margin and ends with a parenthesis.
    found = []
    for match in re.finditer(r'^BARSWAP_\w+\((?:[^()"]|"[^"]*")*\)', text, re.MULTILINE):
        row = ROW.match(match.group(0))
        assert row, match.group(0)
        reason = re.search(r'"([^"]*)"', match.group(0))
        found.append((row.group(1), row.group(2), reason.group(1) if reason else ''))
    return found


def nvml_rows(source):
    text = (source / 'shim/interpose/nvml_api.def').read_text()
    return re.findall(r'^BARSWAP_NVML\((\w+),', text, re.MULTILINE)


def public_functions(source):
    text = (source / 'include/barswap/barswap.h').read_text()
    return re.findall(r'^[\w *]+\b(barswap_\w+)\(', text, re.MULTILINE)


def exported_names(source):
    """Every name that libbarswap.so exports."""
    driver = [symbol for kind, symbol, _ in driver_rows(source) if kind not in ('CALL', 'PASS')]
    return {*driver, *nvml_rows(source), *public_functions(source), *LIBC_HOOKS}
