"""Reads the tree for the tests of this folder. No version control is asked: tarballs pass too."""
import pathlib
import re

import law

SKIPPED = re.compile(r'^(build.*|\..*|__pycache__)$')
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
CODE = ('.cpp', '.hpp', '.h', '.c', '.cu')


def files_under(root, *folders):
    """Every file of the tree, as (name relative to root, path)."""
    def walk(folder):
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                if not SKIPPED.match(path.name):
                    yield from walk(path)
            elif path.name != '.git':  # a file in a linked worktree
                yield path
    for folder in folders or ('.',):
        for path in walk(root / folder):
            yield path.relative_to(root).as_posix(), path


def text_of(path):
    return path.read_text(encoding='utf-8', errors='replace')


def without_comments(text):
    text = re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group(0).count('\n'), text, flags=re.DOTALL)
    return re.sub(r'//.*', '', text)


def room_of(name):
    parts = name.split('/')
    if parts[0] == 'policy':
        return 'policy'
    return parts[1] if parts[0] == 'shim' and len(parts) > 2 else None


def may_include(name, header):
    """The include law, for one file and one quoted header."""
    room = room_of(name)
    if name in law.WIDE or header.startswith(room + '/'):
        return True
    if header.startswith(law.NOT_FOR.get(room, ('\0',))):
        return False
    return header.startswith((*law.FLOOR, *law.ROOMS[room]))


def includes_of(text):
    """(line number, quoted, header)."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := INCLUDE.match(line):
            yield number, match.group(1) == '"', match.group(2)


def too_wide(text, suffix):
    columns = law.COLUMNS_OF_PYTHON if suffix == '.py' else law.COLUMNS
    return [number for number, line in enumerate(text.splitlines(), 1) if len(line) > columns]


def banned_in(name, text):
    code = without_comments(text)
    for pattern, allowed in law.GUEST_BANS.items():
        if name not in allowed and (match := re.search(pattern, code)):
            yield match.group(0)


def bad_name(name):
    stem = pathlib.PurePosixPath(name).name.split('.')[0]
    return stem in law.NAME_BANS or not re.match(r'^[a-z0-9_]+$', stem)


def bad_classes(text):
    banned = '|'.join(law.CLASS_BANS)
    return re.findall(rf'\b(?:class|struct)\s+(\w*(?:{banned})\w*)', without_comments(text))


def foreign_log_tags(name, text):
    """A line of the log names the room that wrote it."""
    tags = re.findall(r'BARSWAP_LOG(?:_ONCE)?\(\s*\w+,\s*"(\w+)"', text)
    return [tag for tag in tags if tag != room_of(name)]


CASE = re.compile(r'\bTEST_CASE(?:_FIXTURE)?\(\s*(?:\w+,\s*)?"((?:[^"\\]|\\.)*)"')
CASES_NAMED = re.compile(r'`(tests/[^`]+_test\.cpp)`((?:,\s*"[^"]+")+)')
SEED_NAMED = re.compile(r'\bseed (\d+) of `([^`]+)`')


def absent_from(root, page):
    """What a page names in backticks, or in quotes behind a unit test's file, and the tree lacks:
    files, cases, functions of pytest, seeds, functions of the shim."""
    def read(name):
        path = root / name
        return text_of(path) if path.is_file() else ''
    for word in re.findall(r'`([^`\n]+)`', page):
        if re.match(r'(?:tests|shim|policy|tools)/', word):
            if not (root / word).exists():
                yield word
        elif re.match(r'test_\w+$', word):
            if not any(f'def {word}(' in text_of(path)
                       for name, path in files_under(root, 'tests') if name.endswith('.py')):
                yield word
        elif re.match(r'[A-Z]\w+::\w+$', word):
            if not any(word in text_of(path) for name, path in files_under(root, 'shim')):
                yield word
    for name, cases in CASES_NAMED.findall(page):
        known = CASE.findall(read(name))
        yield from (f'{name}: {case}' for case in re.findall(r'"([^"]+)"', cases)
                    if case not in known)
    for seed, name in SEED_NAMED.findall(page):
        if not re.search(rf'^{seed}\b', read(name), flags=re.MULTILINE):
            yield f'{name}: {seed}'
