"""Writes a C++ source that holds a text as one string: embed_text.py SYMBOL IN OUT."""

import pathlib
import sys

symbol, source, target = sys.argv[1:]
text = pathlib.Path(source).read_text()
assert ')text"' not in text
pathlib.Path(target).write_text(
    f'extern const char {symbol}[];\n'
    f'const char {symbol}[] = R"text({text})text";\n'
)
