"""Matrix products, Fourier transforms and sorts in CuPy, on its own memory pool."""

import argparse

import cupy

import results

SIDE = 8192
ARRAY_MIB = SIDE * SIDE * 4 >> 20
# Keeps the mean of a product of uniform matrices near that of its factors.
SCALE = cupy.float32(2.0 / SIDE)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=9500)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()

    cupy.random.seed(1)
    # Six arrays' worth of room is left for results under way, the transform's and the sort's work.
    count = max(2, options.mib // ARRAY_MIB - 6)
    arrays = [cupy.random.random((SIDE, SIDE), dtype=cupy.float32) for _ in range(count)]
    report = results.Results()
    with report.section(cupy.cuda.Device().synchronize):
        for _ in range(options.rounds):
            for index in range(count):
                product = arrays[index] @ arrays[(index + 1) % count]
                arrays[index] = product * SCALE
            for index in range(0, count, 2):
                # There and back through the spectrum, with a filter that leaves a mark.
                spectrum = cupy.fft.rfft(arrays[index], axis=1)
                spectrum[:, SIDE // 4:] *= 0.5
                arrays[index] = cupy.fft.irfft(spectrum, n=SIDE, axis=1).astype(cupy.float32)
            for index in range(1, count, 2):
                flat = arrays[index].reshape(-1)
                flat.sort()
                # Break the order up again, so that the next round has something to sort.
                arrays[index] = cupy.ascontiguousarray(flat.reshape(SIDE, SIDE).T)
    peak_bytes = cupy.get_default_memory_pool().total_bytes()
    for array in arrays:
        report.add(cupy.asnumpy(array))
    report.report(peak_bytes)


if __name__ == "__main__":
    main()
