"""The rules of the house, checked on every file; and the checks, on files that break them."""
import os
import pathlib

import pytest

import house
import law

ROOT = pathlib.Path(os.environ['TIDY_SOURCE'])


def rooms_files():
    for name, path in house.files_under(ROOT, 'shim', 'policy'):
        if path.suffix in house.CODE and house.room_of(name):
            yield name, path


def test_rooms_are_known():
    assert {house.room_of(name) for name, _ in rooms_files()} == set(law.ROOMS)


def test_include_law():
    assert [f'{name}:{number}: {header}' for name, path in rooms_files()
            for number, quoted, header in house.includes_of(house.text_of(path))
            if quoted and not house.may_include(name, header)] == []


def test_cuda_headers_enter_by_one_door():
    guests = house.files_under(ROOT, *law.GUEST_FOLDERS)
    assert [f'{name}:{number}: {header}' for name, path in guests
            if path.suffix in house.CODE and name not in law.MAY_INCLUDE_CUDA
            for number, _, header in house.includes_of(house.text_of(path))
            if header in law.CUDA_HEADERS] == []


def test_width():
    assert [f'{name}:{number}' for name, path in house.files_under(ROOT)
            if path.suffix in law.WIDTH_OF and name not in law.WIDE_LINES
            for number in house.too_wide(house.text_of(path), path.suffix)] == []


def test_what_a_guest_does_not_do():
    assert [f'{name}: {word}' for name, path in house.files_under(ROOT, *law.GUEST_FOLDERS)
            if path.suffix in house.CODE
            for word in house.banned_in(name, house.text_of(path))] == []


def test_names_of_files():
    assert [name for name, path in house.files_under(ROOT)
            if path.suffix in house.CODE and house.bad_name(name)] == []


def test_names_of_classes():
    assert [f'{name}: {word}' for name, path in house.files_under(ROOT)
            if path.suffix in house.CODE
            for word in house.bad_classes(house.text_of(path))] == []


def test_headers_open_with_what_they_are():
    assert [name for name, path in house.files_under(ROOT, *law.GUEST_FOLDERS)
            if path.suffix in ('.hpp', '.h')
            and not house.text_of(path).startswith(('// ', '/* '))] == []


def test_log_tags_name_the_room():
    assert [f'{name}: {tag}' for name, path in rooms_files()
            for tag in house.foreign_log_tags(name, house.text_of(path))] == []


def test_no_file_names_a_place_of_ours_alone():
    text_files = (*law.WIDTH_OF, '.md', '.build', '.txt', '.sh', '.toml', '.in', '.ini', '')
    assert [f'{name}: {place}' for name, path in house.files_under(ROOT)
            if path.suffix in text_files
            for place in law.FOREIGN_PATHS if place in house.text_of(path)] == []


def test_answers_to_attacks_exist():
    page = house.text_of(ROOT / 'docs/attacks.md')
    assert len(house.CASES_NAMED.findall(page)) > 20
    assert list(house.absent_from(ROOT, page)) == []


@pytest.mark.parametrize('name, header, allowed', [
    ('shim/pager/mover.cpp', 'driver/verbs.hpp', True),
    ('shim/pager/mover.cpp', 'driver/api.hpp', False),
    ('shim/pager/mover.cpp', 'memory/memory.hpp', False),
    ('shim/memory/memory.cpp', 'pager/pager.hpp', True),
    ('shim/memory/memory.cpp', 'pager/frames.hpp', False),
    ('shim/memory/memory.cpp', 'session/session.hpp', False),
    ('shim/session/door.cpp', 'pager/frames.hpp', False),
    ('shim/session/session.cpp', 'pager/frames.hpp', True),
    ('shim/interpose/thunk.cpp', 'memory/memory.hpp', False),
    ('shim/interpose/handle_nvml.cpp', 'dies/sights.hpp', True),
    ('shim/interpose/handle_init.cpp', 'dies/choice.hpp', False),
    ('shim/dies/choice.cpp', 'policy/choose_die.hpp', True),
    ('shim/dies/choice.cpp', 'session/door.hpp', False),
    ('shim/base/log.cpp', 'stats/stats.hpp', False),
    ('shim/stats/stats.cpp', 'trace/trace.hpp', False),
    ('shim/pager/mover.cpp', 'trace/trace.hpp', True),
    ('policy/place.cpp', 'trace/trace.hpp', False),
    ('policy/load.cpp', 'base/environment.hpp', False),
    ('policy/load.cpp', 'barswap/units.hpp', True),
])
def test_the_law_is_enforced(name, header, allowed):
    assert house.may_include(name, header) == allowed


def test_the_checks_can_fail():
    assert house.too_wide('x' * 100 + '\n' + 'x' * 101, '.cpp') == [2]
    assert list(house.banned_in('policy/load.cpp', 'getenv("A");\nstd::exit(1);'))
    assert not list(house.banned_in('policy/load.cpp', '// exit(1) would be wrong\nfoo_exit(1);'))
    assert house.bad_name('shim/pager/utils.cpp') and house.bad_name('shim/pager/Mover.cpp')
    assert house.bad_classes('class PageManager {') == ['PageManager']
    line = 'BARSWAP_LOG(info, "memory", "x")'
    assert house.foreign_log_tags('shim/pager/a.cpp', line) == ['memory']
    unit = 'tests/unit/pager/gate_test.cpp'
    page = (f'`tests/no.cpp`, `test_no_such`, `Gate::no_such`, `{unit}`, "no such", seed 7 of '
            '`tests/property/seeds.txt`')
    assert list(house.absent_from(ROOT, page)) == [
        'tests/no.cpp', 'test_no_such', 'Gate::no_such', f'{unit}: no such',
        'tests/property/seeds.txt: 7']
