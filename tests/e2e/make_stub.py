"""Writes the C source of a library to link against: make_stub.py driver_api.def OUT.

Programs linked with it need libcuda.so.1 and find the real or the simulated one when they start.
Its functions are never called.
"""

import pathlib
import re
import sys

rows = re.findall(
    r"^BARSWAP_[A-Z]+ ?\(\s*(cu\w+)\s*,", pathlib.Path(sys.argv[1]).read_text(), re.MULTILINE
)
lines = ["/* Made by make_stub.py from driver_api.def. */"]
lines += [
    f"int {symbol}(void);\nint {symbol}(void) {{ return 34; /* CUDA_ERROR_STUB_LIBRARY */ }}"
    for symbol in sorted(set(rows))
]
pathlib.Path(sys.argv[2]).write_text("\n".join(lines) + "\n")
