"""How programs reach the driver, and that every way leads through the shim without being bent.

The programs run against a libcuda.so.1 that succeeds at everything and logs who called. A test runs
bare first where that matters: what the program sees must be the same, but for where functions live.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

SHIM = pathlib.Path(os.environ['WAYIN_SHIM'])
PROGRAMS = pathlib.Path(os.environ['WAYIN_PROGRAMS'])
TABLE = pathlib.Path(os.environ['WAYIN_TABLE'])
RUNTIMES = [kind for kind in os.environ['WAYIN_RUNTIMES'].split(',') if kind]
RUNNER = os.environ['WAYIN_RUNNER'].split()
# A machine with dies, where one was built.
SIMULATED = os.environ.get('WAYIN_SIMULATED')
OURS, THEIRS = 'libbarswap.so', 'libcuda.so.1'


def sanitizer_runtimes():
    """The runtime of a sanitizer must be loaded before any preload; programs say which they need."""
    listed = subprocess.run(['ldd', str(PROGRAMS / 'wayin_resolve')], capture_output=True, text=True,
                            check=False).stdout
    return re.findall(r'=> (\S*/lib[atu]b?san\.so\S*)', listed)


FIRST = [] if RUNNER else sanitizer_runtimes()


class World:
    """A folder with a driver in it, and programs that run there."""

    def __init__(self, folder, driver=PROGRAMS / 'libcuda.so.1'):
        self.log_path = folder / 'driver.log'
        self.folder = folder
        for name in ('libcuda.so.1', 'libcuda.so'):
            (folder / name).symlink_to(driver)

    def run(self, *command, preload=(SHIM,), stdin='', library_path=None, code=0, level='info'):
        self.log_path.write_text('')
        environment = dict(os.environ, FAKE_DRIVER_LOG=str(self.log_path), BARSWAP_LOG=level)
        environment.setdefault('ASAN_OPTIONS', 'detect_leaks=0')
        loader = {'LD_LIBRARY_PATH': str(library_path or self.folder),
                  'LD_PRELOAD': ' '.join([*FIRST, *(str(PROGRAMS / item) for item in preload)])}
        # A bare name is one of ours.
        program = command[0] if '/' in command[0] else str(PROGRAMS / ('wayin_' + command[0]))
        command = [program, *map(str, command[1:])]
        if RUNNER:
            # For the program, not for the emulator.
            environment = {key: environment[key] for key in environment if key not in loader}
            command = [*RUNNER, *(word for key, value in loader.items()
                                  for word in ('-E', f'{key}={value}')), *command]
        else:
            environment.update(loader)
        result = subprocess.run(command, env=environment, input=stdin, capture_output=True,
                                text=True, timeout=60, check=False)
        assert result.returncode == code, result.stdout + result.stderr
        return Outcome(result, self.log_path.read_text())


class Outcome:
    """What a program said, and what the driver heard."""

    def __init__(self, result, log):
        self.lines = result.stdout.splitlines()
        self.said = dict(line.split('=', 1) for line in self.lines if '=' in line)
        self.errors = result.stderr
        self.calls = [tuple(line.split(' ', 1)) for line in log.splitlines()]

    def callers_of(self, function):
        return {caller for called, caller in self.calls if called == function}


@pytest.fixture(name='world')
def fixture_world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize('name', ['libcuda.so.1', 'libcuda.so', 'absolute'])
def test_dlopen_and_dlsym(world, name):
    path = world.folder / 'libcuda.so.1' if name == 'absolute' else name
    bare = world.run('resolve', path, preload=())
    shim = world.run('resolve', path)
    assert bare.lines[-1] == shim.lines[-1] == 'done'
    raw = {'dlsym.cuMemAlloc', 'dlsym.cuDriverGetVersion', 'address2.cuMemAlloc.2000'}
    for key, value in bare.said.items():
        expected = OURS if value.startswith('libcuda.so') and key not in raw else value
        assert shim.said[key] == expected, key
    assert shim.said['dlsym.twelve'] == '650'


def test_unknown_functions_are_named_once(world):
    shim = world.run('resolve')
    for name in ('cuTestTwelveWords', 'cuTestMixed'):
        assert shim.errors.count(name) == 1
        assert shim.callers_of(name) == {OURS}


def test_the_way_in_is_silent(world):
    """All that may be said is the session's verdict on a driver that has no dies."""
    assert world.run('resolve', level='warn').errors.count('\n') <= 1
    assert world.run('lookup', level='warn').errors == ''


@pytest.mark.parametrize('binding', ['lazy', 'now', 'no_plt'])
def test_direct_link(world, binding):
    shim = world.run('direct_' + binding)
    assert shim.said['cuInit'] == OURS
    for function in ('cuStreamCreate', 'cuMemcpyHtoD_v2', 'cuCtxSynchronize'):
        assert shim.callers_of(function) == {OURS}, function
    assert all(shim.said[key] == '0' for key in ('init', 'stream', 'alloc', 'copy', 'sync', 'free'))


# A sanitizer's own dlopen stands first: it refuses the flag, takes itself for the caller, and cannot
# live in two namespaces.
no_sanitizer = pytest.mark.skipif(bool(FIRST), reason='the sanitizer bends dlopen itself')


@no_sanitizer
def test_deepbind_plugin(world):
    plugin = PROGRAMS / 'libwayin_plugin.so'
    assert world.run('plugin_host', plugin, preload=()).said['plugin.cuStreamCreate'] == THEIRS
    shim = world.run('plugin_host', plugin)
    assert shim.said == {'plugin.cuStreamCreate': OURS, 'plugin': '0'}
    assert 'past us' not in shim.errors


@no_sanitizer
def test_namespace_of_its_own_is_left_alone(world):
    plugin = PROGRAMS / 'libwayin_plugin.so'
    shim = world.run('plugin_host', plugin, 'namespace')
    assert shim.said == {'plugin.cuStreamCreate': THEIRS, 'plugin': '0'}


@no_sanitizer
def test_bypass_is_told(world):
    """A dlopen above ours lets RTLD_DEEPBIND through; the program's own cuInit is ours."""
    plugin = PROGRAMS / 'libwayin_plugin.so'
    shim = world.run('deepbind_direct', plugin, preload=('libwayin_bare_dlopen.so', SHIM))
    assert shim.said['plugin.cuStreamCreate'] == THEIRS
    assert re.search(r'libwayin_plugin\.so is bound past us: cu', shim.errors)
    assert shim.errors.count('past us') == 1


@pytest.mark.parametrize(
    'order', ['alone', 'hook above', 'hook below', 'blind above', 'blind below'])
def test_other_preloads(world, order):
    hook, blind = 'libwayin_stack_hook.so', 'libwayin_blind_dlvsym.so'
    preload = {'alone': (SHIM,), 'hook above': (hook, SHIM), 'hook below': (SHIM, hook),
               'blind above': (blind, SHIM), 'blind below': (SHIM, blind)}[order]
    shim = world.run('chain', preload=preload)
    # What the other preload bends by itself is its own affair: we add nothing.
    bare = world.run('chain', preload=[item for item in preload if item != SHIM])
    value = '11' if 'hook' in order else '1'
    assert shim.said == {**bare.said, 'value': value, 'default': value, 'cuMemAlloc_v2': OURS}
    assert shim.said['hooked'] == ('yes' if 'hook' in order else 'no')
    assert shim.said['next'] == 'first preload' or 'hook' in order


@no_sanitizer
def test_runpath_of_the_caller(world):
    assert world.run('runpath', preload=()).said['outer'] == '42'
    assert world.run('runpath').said['outer'] == '42'


@pytest.mark.skipif(bool(RUNNER), reason='the Python at hand is of another architecture')
@pytest.mark.skipif('tsan' in ''.join(FIRST), reason='Python itself is not built for TSan')
def test_ctypes(world):
    script = ('import ctypes\n'
              'driver = ctypes.CDLL("libcuda.so.1")\n'
              'stream = ctypes.c_void_p()\n'
              'assert driver.cuInit(0) == 0\n'
              'assert driver.cuStreamCreate(ctypes.byref(stream), 0) == 0\n'
              'assert not hasattr(driver, "cuNothing")\n')
    assert world.run(sys.executable, '-c', script).callers_of('cuStreamCreate') == {OURS}


@pytest.fixture(name='machine', params=['listening'] + ['simulated'] * bool(SIMULATED))
def fixture_machine(request, tmp_path):
    """Ends of life are also tried where memory is virtual and a session is awake."""
    return World(tmp_path, SIMULATED) if request.param == 'simulated' else World(tmp_path)


@pytest.mark.parametrize('way, said', [
    ('plain', {'plain': '0'}),
    ('fork-before', {'child': '0', 'parent': '0'}),
    ('fork-after', {'child': '0', 'parent': '0'}),
    pytest.param('exec', {'before': '0', 'plain': '0'}, marks=pytest.mark.skipif(
        bool(RUNNER), reason='the emulator cannot start a foreign program by exec')),
    ('threads', {}),
])
def test_life(machine, way, said):
    shim = machine.run('life', way)
    assert shim.said == said and 'done' in shim.lines
    assert shim.lines == machine.run('life', way, preload=()).lines
    assert shim.callers_of('cuStreamCreate') <= {OURS}


def test_free_in_a_static_destructor(machine):
    """By then the driver may have ended: it answers 4, and we may have taken the range back already."""
    assert machine.run('life', 'static-destructor').said['late free'] in ('0', '4')
    assert machine.run('life', 'static-destructor', preload=()).said['late free'] in ('0', '4')


def test_exit_from_a_thread(machine):
    assert machine.run('life', 'thread-exit', code=7).said == {'before': '0'}


def rows():
    row = re.compile(r'^BARSWAP_(\w+)\((\w+), (\w+), (\d+), (\w*), \d+')
    return [match.groups() for match in map(row.match, TABLE.read_text().splitlines()) if match]


def test_every_row_by_name_and_by_version(world):
    """By address, never by spelling: each variant is ours on both ways or raw on both."""
    table = rows()
    assert len(table) > 600
    lines = ''.join(f'{symbol} {api} {version} {2 if suffix else 1}\n'
                    for _, symbol, api, version, suffix in table)
    shim = world.run('lookup', stdin=lines)
    expected = [f'{symbol} {THEIRS if kind in ("CALL", "PASS") else OURS} same'
                for kind, symbol, *_ in table]
    assert shim.lines == expected


def test_parts_of_the_driver_get_the_driver(world):
    assert world.run('parts').said == {'part': THEIRS, 'program': OURS}


def two_copies(world):
    second = world.folder / 'compat'
    second.mkdir()
    shutil.copy(PROGRAMS / 'libcuda.so.1', second)
    return world.folder / 'libcuda.so.1', second / 'libcuda.so.1'


def test_second_copy_is_left_alone(world):
    shim = world.run('copies', *two_copies(world))
    assert shim.said['first'] == OURS and shim.said['second'] == THEIRS
    assert shim.said['init'] == shim.said['second.init'] == '0'


def test_a_copy_only_looked_at_is_not_adopted(world):
    shim = world.run('copies', *two_copies(world), 'closed')
    assert shim.said['first'] == shim.said['second'] == OURS
    assert shim.said['second.init'] == '0'


def test_function_that_the_driver_lacks(world, tmp_path):
    old = tmp_path / 'old'
    old.mkdir()
    shutil.copy(PROGRAMS / 'libcuda_old.so', old / 'libcuda.so.1')
    shim = world.run('newer', library_path=old)
    assert shim.said == {'init': '0', 'hook': '500', 'submit': '500', 'retry': '500', 'sync': '500',
                         'old': '0'}


def test_no_driver(world, tmp_path):
    empty = tmp_path / 'empty'
    empty.mkdir()
    shim = world.run('no_driver', library_path=empty)
    assert shim.said['dlopen'] == 'none' and shim.said['cuInit'] == '34'
    assert shim.lines[-1] == 'done'


def test_nvml(world):
    library_path = f'{world.folder}:{PROGRAMS}'
    bare = world.run('nvml', preload=(), library_path=library_path).said
    shim = world.run('nvml', library_path=library_path).said
    assert shim['memory'] == OURS and bare['memory'] == shim['uuid'] == 'libnvidia-ml.so.1'
    for key in ('memory_v2', 'wrong', 'right', 'sum'):
        assert shim[key] == bare[key], key


@pytest.mark.parametrize('kind', RUNTIMES)
def test_runtime(world, kind):
    program = 'runtime_' + kind
    bare, shim = world.run(program, preload=()), world.run(program)
    assert shim.lines == bare.lines and shim.said['driver'] == '13000'
    # All that the runtime asked for, in its order; our own questions may stand between.
    heard = iter([call for call, _ in shim.calls])
    assert all(call in heard for call, _ in bare.calls)
    assert shim.callers_of('cuGetProcAddress_v2') == {OURS}
    assert len(shim.calls) > 400
