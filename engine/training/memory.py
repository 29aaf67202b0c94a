"""Keeps the memory of large tensors from one training step to the next."""

import ctypes
import platform

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_memory() -> bool:
    """Make this process keep the memory that it frees (glibc only).

    Otherwise, at every step, glibc maps each tensor above 32 MB again and the kernel fills it with
    zeros, page by page: half the time of a step with large crops. All threads use one arena,
    because the arenas of other threads (such as the backward pass) cannot hold such large blocks.

    Returns:
        Whether it was set.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_ARENA_MAX: 1}
    done = [mallopt(name, value) for name, value in wanted.items()]
    return all(done)
