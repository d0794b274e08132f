"""Writes a C++ source that holds kernels.ptx as one string: embed_ptx.py IN OUT."""

import pathlib
import sys

text = pathlib.Path(sys.argv[1]).read_text()
assert ')ptx"' not in text
pathlib.Path(sys.argv[2]).write_text(
    'extern const char barswap_kernels_ptx[];\n'
    f'const char barswap_kernels_ptx[] = R"ptx({text})ptx";\n'
)
