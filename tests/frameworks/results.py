"""What every program of this folder reports, in lines of one name and one value.

    begin NS, end NS   CLOCK_MONOTONIC around the main section, so that a watcher can cut its samples
    hash HEX           SHA-256 over all bytes of all results, in the order in which they were added
    norms A,B,...      one figure for each result, for programs that are not bit-stable by themselves
    peak MIB           device bytes held at the peak, as the program's own allocator counts them
    time S             seconds of the main section

Hashing is done by the host, on bytes copied back, so a wrong byte anywhere in device memory that a
result lives in changes the hash. Nothing here knows of Barswap.
"""

import concurrent.futures
import contextlib
import hashlib
import time

import numpy

PENDING_MAX = 4  # Host copies alive at once: results may be larger than is polite to keep twice.
SAMPLE_STEP = 101  # Prime, so that a sample walks through rows and columns alike.


class Results:
    def __init__(self):
        self._pool = concurrent.futures.ThreadPoolExecutor(PENDING_MAX)
        self._digests = []
        self._norms = []
        self.seconds = 0.0

    @contextlib.contextmanager
    def section(self, synchronize):
        """The timed part. `synchronize` waits for the device, before and after."""
        synchronize()
        start_ns = time.monotonic_ns()
        print("begin", start_ns, flush=True)
        yield
        synchronize()
        end_ns = time.monotonic_ns()
        print("end", end_ns, flush=True)
        self.seconds += (end_ns - start_ns) / 1e9

    def add(self, array, values=None):
        """Takes a contiguous array on the host; `values` is the same as floats if `array` is raw bits."""
        array = numpy.ascontiguousarray(array)
        sample = numpy.asarray(array if values is None else values).reshape(-1)[::SAMPLE_STEP]
        self._norms.append(float(numpy.linalg.norm(sample.astype(numpy.complex128))))
        running = [digest for digest in self._digests if not digest.done()]
        if len(running) >= PENDING_MAX:
            concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        view = memoryview(array.reshape(-1).view(numpy.uint8))
        self._digests.append(self._pool.submit(lambda: hashlib.sha256(view).digest()))

    def report(self, peak_bytes):
        whole = hashlib.sha256(b"".join(digest.result() for digest in self._digests))
        print("hash", whole.hexdigest()[:32])
        print("norms", ",".join(f"{norm:.9g}" for norm in self._norms[:32]))
        print("peak", peak_bytes >> 20)
        print(f"time {self.seconds:.6f}", flush=True)
