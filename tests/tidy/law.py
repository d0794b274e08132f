"""The rules of the house as tables. docs/architecture.md and docs/style.md say why they are so."""

# Rooms from left to right. A room includes the floor, itself, and what stands here.
FLOOR = ('barswap/', 'base/', 'stats/', 'trace/')
ROOMS = {
    'base': (),
    'stats': (),
    'trace': (),
    'driver': (),
    # The command links it as well, without the rooms below.
    'dies': ('policy/',),
    'pager': ('driver/verbs.hpp', 'policy/'),
    'memory': ('pager/pager.hpp', 'driver/verbs.hpp', 'policy/'),
    'image': (),
    # The pager's gate, with who is in flight, and its register of contexts are faces that session may see.
    'session': ('dies/', 'memory/memory.hpp', 'memory/maps.hpp', 'memory/outside.hpp',
                'driver/verbs.hpp', 'policy/', 'image/state.hpp',
                'pager/flights.hpp', 'pager/gate.hpp', 'pager/pager.hpp', 'pager/veil.hpp'),
    # The vendor's types, for the ABI; the rows; the codes.
    'interpose': ('session/door.hpp', 'session/session.hpp', 'driver/api.hpp',
                  'driver/errors.hpp', 'driver/driver_api.def', 'dies/nvml.hpp', 'dies/sights.hpp'),
    'policy': (),
}
# The floor itself knows neither statistics nor traces, except where they are kept.
NOT_FOR = {'base': ('stats/', 'trace/'), 'stats': ('trace/',), 'trace': ('stats/',),
           'policy': ('base/', 'stats/', 'trace/')}
# They see wide and hold no logic: wiring, and expansion of the table.
WIDE = ('shim/session/session.cpp', 'shim/interpose/exports.cpp')

CUDA_HEADERS = ('cuda.h', 'cudaTypedefs.h', 'cuda_runtime.h', 'cuda_runtime_api.h', 'nvml.h')
MAY_INCLUDE_CUDA = ('shim/driver/api.hpp',)

COLUMNS = 100
# No formatter of ours reflows Python.
COLUMNS_OF_PYTHON = 110
WIDTH_OF = ('.cpp', '.hpp', '.h', '.c', '.cu', '.S', '.py', '.def')
# One function to a line, however long its name.
WIDE_LINES = ('shim/driver/driver_api.def',)

# What a guest in somebody else's process does not do, and who may all the same.
GUEST_FOLDERS = ('shim', 'policy', 'include')
GUEST_BANS = {
    r'\b(?:std::)?(?:quick_)?exit\s*\(': (),
    r'\bstd::c(?:out|err)\b': (),
    r'\bgetenv\s*\(': ('shim/base/environment.cpp',),
    r'\brecursive_mutex\b': (),
    r'\bthrow\b': (),
}

NAME_BANS = ('util', 'utils', 'helper', 'helpers', 'misc', 'common')
CLASS_BANS = ('Manager', 'Helper', 'Util')
# Places that exist on nobody else's machine.
FOREIGN_PATHS = ('../' + 'shared/', '/wo' + 'rk/')
