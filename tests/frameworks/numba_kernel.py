"""A stencil, a gather and a histogram written with Numba's CUDA compiler."""

import argparse

import numpy

# Numba's CUDA target of the tested versions still asks for a name that NumPy 2.5 dropped.
if not hasattr(numpy, "row_stack"):
    numpy.row_stack = numpy.vstack
from numba import cuda  # noqa: E402

import results

CELLS = 1 << 26
ARRAY_MIB = CELLS * 4 >> 20
BINS = 1024
THREADS = 256
MULTIPLIER = 0x9E3779B1


@cuda.jit
def fill(out, seed):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        x = (i * MULTIPLIER + seed) & 0xFFFFFFFF
        x ^= x >> 15
        out[i] = numpy.float32((x & 0xFFFF) / 65536.0)


@cuda.jit
def stencil(x, out):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        left = x[i - 1] if i > 0 else x[out.size - 1]
        right = x[i + 1] if i + 1 < out.size else x[0]
        out[i] = numpy.float32(0.25) * left + numpy.float32(0.5) * x[i] + numpy.float32(0.25) * right


@cuda.jit
def gather(x, out, stride):
    # An odd stride visits every cell of a power of two once, in runs that defeat the cache.
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        line = i >> 8
        out[i] += x[((line * stride) & ((out.size >> 8) - 1)) << 8 | (i & 255)]


@cuda.jit
def histogram(x, bins):
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        # Counts are integers: their sums do not depend on the order of the atomics.
        cuda.atomic.add(bins, min(int(x[i] * 256.0), BINS - 1), 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=9500)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    count = max(3, options.mib // ARRAY_MIB)
    blocks = 132 * 8
    arrays = [cuda.device_array(CELLS, numpy.float32) for _ in range(count)]
    for seed, array in enumerate(arrays):
        fill[blocks, THREADS](array, seed * 7919)
    bins = cuda.to_device(numpy.zeros(BINS, numpy.int32))

    def visit(index):
        following = arrays[(index + 1) % count]
        stencil[blocks, THREADS](arrays[index], following)
        gather[blocks, THREADS](arrays[(index + 2) % count], following, 40503)
        histogram[blocks, THREADS](following, bins)

    visit(0)  # Compiles.
    report = results.Results()
    with report.section(cuda.synchronize):
        for _ in range(options.rounds):
            for index in range(count):
                visit(index)
    report.add(bins.copy_to_host())
    for array in arrays:
        report.add(array.copy_to_host())
    report.report(sum(array.nbytes for array in arrays))


if __name__ == "__main__":
    main()
