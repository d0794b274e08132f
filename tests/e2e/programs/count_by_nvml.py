"""Counts dies as PyTorch does before it starts the driver, by NVML and CUDA_VISIBLE_DEVICES, and says
beside it which die the driver then has."""

import ctypes
import os

UUID_BYTES = 96


def need(result, what):
    if result != 0:
        raise SystemExit(f"{what} answers {result}")


def uuids_by_nvml():
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    need(nvml.nvmlInit_v2(), "nvmlInit_v2")
    count = ctypes.c_int(-1)
    need(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)), "nvmlDeviceGetCount_v2")
    uuids = []
    for index in range(count.value):
        device = ctypes.c_void_p()
        text = ctypes.create_string_buffer(UUID_BYTES)
        need(nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)), "the die's handle")
        need(nvml.nvmlDeviceGetUUID(device, text, UUID_BYTES), "nvmlDeviceGetUUID")
        uuids.append(text.value.decode())
    return uuids


def counted(uuids):
    """The UUIDs of those that the variable leaves: entries up to the first that names none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return uuids
    left = []
    for entry in visible.split(","):
        if entry.startswith("GPU-"):
            found = [uuid for uuid in uuids if uuid.startswith(entry)]
        else:
            number = int(entry) if entry.strip().isdigit() else len(uuids)
            found = uuids[number : number + 1]
        if len(found) != 1:
            break
        left += found
    return left


def uuids_by_driver():
    cuda = ctypes.CDLL("libcuda.so.1")
    need(cuda.cuInit(0), "cuInit")
    count = ctypes.c_int(-1)
    need(cuda.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    uuids = []
    for number in range(count.value):
        uuid = (ctypes.c_ubyte * 16)()
        need(cuda.cuDeviceGetUuid_v2(ctypes.byref(uuid), number), "cuDeviceGetUuid_v2")
        uuids.append(bytes(uuid).hex())
    return uuids


for uuid in counted(uuids_by_nvml()):
    print("nvml", uuid.removeprefix("GPU-").replace("-", ""))
for uuid in uuids_by_driver():
    print("driver", uuid)
