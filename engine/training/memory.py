"""Large tensors that keep their memory from one training step to the next."""

import ctypes
import platform

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_memory() -> bool:
    """Let this process keep the memory that it frees, where the C library is glibc.

    Otherwise glibc maps every tensor above 32 MB anew and the kernel fills it with zeros, page by
    page, at each step: half the time of a step with large crops. One arena serves all threads,
    because those of others (the backward pass has its own thread) cannot hold so large blocks.

    Returns:
        Whether it could be set.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_ARENA_MAX: 1}
    done = [mallopt(name, value) for name, value in wanted.items()]
    return all(done)
