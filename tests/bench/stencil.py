"""Sweeps of a 5-point stencil over a grid that does not fit, from one array into another and back. A
kernel reads each word once, but for the rims of its tiles, and writes each once; nothing is read again
before everything else was.

On the CPU the same sums are made by NumPy, in the same order and without fused products, so that both
give the same bytes. `mapped BYTES MS`, with --mapped-mib: a sweep between two arrays in pinned host
memory, of so many bytes read and as many written, shows whether both ways of the link are used at once.
"""

import ctypes

import numpy

import passes

TILE_ROWS = 128
TILE_COLUMNS = 1024
BAND_ROWS = 64
# A block walks down its tile and keeps three rows of its column in registers; a row's neighbours come
# through shared memory, two rows of it in turn, so that one barrier a row is enough.
SOURCE = r"""
extern "C" __global__ void sweep(const float* in, float* out, int rows, int columns) {
  __shared__ float line[2][1024 + 2];
  const int at = threadIdx.x;
  const long long x = (long long)blockIdx.x * 1024 + at;
  const int first = blockIdx.y * 128;
  const int last = min(first + 128, rows);
  float up = first > 0 ? in[(long long)(first - 1) * columns + x] : 0.0f;
  float here = in[(long long)first * columns + x];
  for (int y = first; y < last; ++y) {
    float* row = line[y & 1];
    const long long place = (long long)y * columns + x;
    const float down = y + 1 < rows ? in[place + columns] : 0.0f;
    row[at + 1] = here;
    if (at == 0) row[0] = x > 0 ? in[place - 1] : 0.0f;
    if (at == 1023) row[1025] = x + 1 < columns ? in[place + 1] : 0.0f;
    __syncthreads();
    const bool rim = x == 0 || x == columns - 1 || y == 0 || y == rows - 1;
    out[place] = rim ? here : 0.5f * here + 0.125f * ((row[at] + row[at + 2]) + (up + down));
    up = here;
    here = down;
  }
}
"""


class OnCpu:
    library = numpy

    @staticmethod
    def synchronize():
        pass

    @staticmethod
    def sweep(old, new):
        new[:] = old
        new[1:-1, 1:-1] = (numpy.float32(0.5) * old[1:-1, 1:-1] + numpy.float32(0.125) * (
            (old[1:-1, :-2] + old[1:-1, 2:]) + (old[:-2, 1:-1] + old[2:, 1:-1])))


class OnDie:
    def __init__(self):
        import cupy
        self.library = cupy
        # Without fused products the CPU can make the same bytes.
        self.kernel = cupy.RawKernel(SOURCE, "sweep", options=("--fmad=false",))

    def synchronize(self):
        self.library.cuda.Device().synchronize()

    def sweep(self, old, new):
        rows, columns = old.shape
        self.kernel((columns // TILE_COLUMNS, -(-rows // TILE_ROWS)), (TILE_COLUMNS,),
                    (old, new, numpy.int32(rows), numpy.int32(columns)))

    def mapped(self, shape):
        """An array in pinned host memory that kernels read and write in place."""
        count = shape[0] * shape[1]
        memory = self.library.cuda.alloc_pinned_memory(4 * count)
        ctypes.memset(memory.ptr, 0, 4 * count)
        seen = self.library.cuda.UnownedMemory(memory.ptr, 4 * count, memory)
        pointer = self.library.cuda.MemoryPointer(seen, 0)
        return self.library.ndarray(shape, dtype=numpy.float32, memptr=pointer)


class Grid:
    """Two arrays, of which each sweep reads one and writes the other."""

    def __init__(self, place, side):
        self.place = place
        library = place.library
        # Whole numbers of a period that no row or tile has, made in bands that need little room.
        columns = library.arange(side, dtype=library.int64)
        rows = library.arange(BAND_ROWS, dtype=library.int64)[:, None] * side
        self.now = library.empty((side, side), dtype=library.float32)
        self.next = library.zeros((side, side), dtype=library.float32)
        for y in range(0, side, BAND_ROWS):
            band = (columns + rows + y * side) * 7919 % 65521
            self.now[y:y + BAND_ROWS] = band.astype(library.float32)

    def sweep(self):
        self.place.sweep(self.now, self.next)
        self.now, self.next = self.next, self.now

    def hash(self):
        return passes.hash_of_arrays(self.place.library, [self.now])


def show_mapped(place, mib, passes_made):
    shape = ((mib << 20) // (4 * 8 * TILE_COLUMNS), 8 * TILE_COLUMNS)
    old, new = place.mapped(shape), place.mapped(shape)
    run = passes.Passes(passes_made, place.synchronize)
    times = [run.once(lambda: place.sweep(old, new)) for _ in range(5)]
    print("mapped", old.nbytes, f"{sorted(times)[2]:.3f}", flush=True)


def main():
    parser = passes.parser(__doc__)
    parser.add_argument("--side", type=int, default=32768, help="of the grid, in tiles of 1024")
    parser.add_argument("--states", action="store_true", help="hash the grid at every fifth sweep")
    parser.add_argument("--mapped-mib", type=int, default=0)
    options = parser.parse_args()
    if options.side % TILE_COLUMNS:
        parser.error(f"--side is a multiple of {TILE_COLUMNS}")

    place = OnCpu() if options.device == "cpu" else OnDie()
    if options.mapped_mib:
        show_mapped(place, options.mapped_mib, options)
    grid = Grid(place, options.side)

    def after(count):
        if options.states and count % passes.STATE_STEP == 0:
            print("state", count, grid.hash(), flush=True)

    run = passes.Passes(options, place.synchronize, after, passes.STATE_STEP)
    run.run(grid.sweep)
    print("held", grid.now.nbytes + grid.next.nbytes)
    seen = grid.hash()
    print("state", run.count, seen)
    run.report("stencil", seen)


if __name__ == "__main__":
    main()
