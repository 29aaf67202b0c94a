"""What torch's messages about loader workers mean for somebody who trains."""

import re

# What torch says, in the order of looking, and what it means.
_SHARED_MEMORY = re.compile(
    r"Bus error|out of shared memory|shared memory\(shm\)|file </?torch_|unable to mmap|/dev/shm"
)
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? [\d, ]+\) ([^.]*)")


def explain_loader(error: RuntimeError) -> str | None:
    """One line about a loader that failed, or None where the error is about something else."""
    text = str(error)
    if _SHARED_MEMORY.search(text):
        return (
            "/dev/shm, through which loader workers hand over images, is full: make it larger "
            "(docker run --shm-size=2g), or train with --cfg-options "
            "train_dataloader.num_workers=0 train_dataloader.persistent_workers=False"
        )
    if dead := _DEAD_WORKER.search(text):
        return (
            f"a loader worker {dead[1]}, most often for lack of memory: continue with --resume, "
            "with fewer of them by --cfg-options train_dataloader.num_workers=1"
        )
    return None
