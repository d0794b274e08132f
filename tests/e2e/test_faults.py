"""The driver refuses calls that the shim makes: the program gets right bytes, or an error that its
own call documents, and never a crash, a hang or a wrong byte."""

import signal

import pytest

LIMIT_MIB = 64
OUT_OF_MEMORY = 2
# Functions that the shim calls beside what the program asks for.
FUNCTIONS = (
    "cuMemCreate",
    "cuMemMap",
    "cuMemSetAccess",
    "cuMemUnmap",
    "cuMemRelease",
    "cuMemAddressReserve",
    "cuMemAddressFree",
    "cuMemGetAllocationGranularity",
    "cuCtxRecordEvent",
    "cuEventCreate",
    "cuEventQuery",
    "cuEventDestroy",
    "cuStreamCreate",
    "cuMemcpyDtoDAsync",
    "cuThreadExchangeStreamCaptureMode",
    "cuDeviceGetAttribute",
    "cuMemGetInfo",
)
# A page that was unmapped and can be mapped nowhere: the shim stops the process with one line, because
# going on would mean wrong bytes.
STOPS = (("cuMemMap", "always"), ("cuMemSetAccess", "always"))
CALLS = ("1", "2", "9", "40")


@pytest.mark.parametrize("duration", ("once", "always"))
@pytest.mark.parametrize("function", FUNCTIONS)
def test_refused(simulated, function, duration):
    right = simulated.bare("hidden", mib=128, count=60, rounds=1).need_healthy()
    for call in CALLS:
        fault = f"{function}:{call}:{OUT_OF_MEMORY}:{duration}"
        outcome = simulated.swapped(
            "hidden",
            LIMIT_MIB,
            chaos=1,
            environment={"SIM_FAULT": fault},
            mib=128,
            count=60,
            rounds=1,
        )
        told = f"{fault}: status {outcome.status}\n{outcome.out}\n{outcome.err}"
        if outcome.status == -signal.SIGABRT and (function, duration) in STOPS:
            lines = outcome.err.splitlines()
            assert len(lines) == 1 and "stopping before bytes are wrong" in lines[0], told
            continue
        assert outcome.status in (0, 1, 2), told
        if outcome.status == 0:
            assert outcome.lines == right.lines, told
        else:
            assert "CUDA_ERROR_" in outcome.err, told
        assert not outcome.violations, told
