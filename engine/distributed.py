"""Training and evaluation in several processes: joining them, and sharing values."""

import os
import re
import warnings
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, all_reduce, init_dist, is_distributed
from mmengine.hooks import Hook
from torch import Tensor, distributed

# Variables of torch.distributed, and the SLURM variables that hold the same.
SLURM_NAMES = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_NTASKS", "LOCAL_RANK": "SLURM_LOCALID"}
SLURM_NODES = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
FIRST_PORT, NUM_PORTS = 20_000, 10_000  # below the ports that Linux assigns itself


def join(cfg: Config, launcher: str) -> None:
    """Join the processes that `launcher` started: with nccl on GPUs, with gloo on CPUs.

    Call it before anything is logged, because only the first process logs. Further calls do
    nothing. mmengine alone would require a GPU for each process.

    Args:
        cfg: Its `env_cfg.dist_cfg` is passed to torch if there are GPUs.
        launcher: none, pytorch or slurm.

    Raises:
        ValueError: not started by that launcher, fewer GPUs than processes, or `sync_bn` without
            a GPU.
    """
    if launcher == "none" or is_distributed():
        return
    if launcher == "slurm":
        _name_by_slurm()
    if not os.environ.get("RANK"):
        how = "srun python" if launcher == "slurm" else "torchrun --nproc-per-node N"
        raise ValueError(
            f"--launcher {launcher}: this process was not started by it; "
            f"use {how} -m lcnet_vision train ..."
        )
    _check_norms(cfg)
    # About the memory order of depthwise weights, and a name that older torch versions need.
    for harmless in ("Grad strides do not match bucket view", "`broadcast_buffers` is deprecated"):
        warnings.filterwarnings("ignore", harmless)
    if torch.cuda.is_available():
        _check_gpus(int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count())
        init_dist("pytorch", **cfg.get("env_cfg", {}).get("dist_cfg", {}))
        return
    distributed.init_process_group("gloo")


def wrap_on_cpu(cfg: Config) -> None:
    """Tell mmengine to wrap the model for distributed training on CPUs."""
    if is_distributed() and not torch.cuda.is_available():
        cfg.model_wrapper_cfg = {
            "type": "MMDistributedDataParallel",
            "device_ids": None,
            "broadcast_buffers": False,  # as in mmengine on GPUs
            "find_unused_parameters": cfg.get("find_unused_parameters", False),
        }


def _name_by_slurm() -> None:
    """Set the variables of torch.distributed from those of SLURM, unless they are set."""
    for name, there in SLURM_NAMES.items():
        os.environ.setdefault(name, os.environ.get(there, ""))
    if torch.cuda.device_count() == 1:  # --gpus-per-task=1: each task sees only its own GPU
        os.environ["LOCAL_RANK"] = "0"
    nodes = next((os.environ[name] for name in SLURM_NODES if os.environ.get(name)), "127.0.0.1")
    os.environ.setdefault("MASTER_ADDR", first_node(nodes))
    job = int(os.environ.get("SLURM_JOB_ID", "0"))  # so that two jobs on a node use different ports
    os.environ.setdefault("MASTER_PORT", str(FIRST_PORT + job % NUM_PORTS))


def first_node(nodes: str) -> str:
    """The first host of a SLURM list such as `gpu[003-010,12],cpu1`: gpu003."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])


def _check_norms(cfg: Config) -> None:
    """Raise ValueError if `sync_bn` is set but cannot work."""
    kind = cfg.get("sync_bn")
    if kind is None:
        return
    if kind != "torch":
        raise ValueError(f"config key sync_bn is {kind!r}; use 'torch' or leave it out")
    if not torch.cuda.is_available():
        raise ValueError(
            "config key sync_bn: torch's SyncBatchNorm needs CUDA, but no GPU was found; "
            "leave it out: every process then normalises by its own batch"
        )


def _check_gpus(local_rank: int, count: int) -> None:
    """Raise ValueError if there is no GPU for this process."""
    if local_rank >= count:
        raise ValueError(
            f"process {local_rank} of this machine has no GPU, it has {count}; do not start more "
            "processes than GPUs (torchrun --nproc-per-node)"
        )


def process_mean(values: Tensor) -> Tensor:
    """Mean of `values` over all processes, without a gradient; every process must call it."""
    shared = values.detach().clone()
    all_reduce(shared, op="mean")
    return shared


class ShareLosses(Hook):
    """Replaces each validation loss by its mean over the processes."""

    priority = "HIGHEST"  # before anything logs them

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Replace the losses in `metrics`; a process without images adds none."""
        metrics = metrics or {}
        own = {name: float(value) for name, value in metrics.items() if "loss" in name}
        everybody = [losses for losses in all_gather_object(own) if losses]
        for name in own:
            metrics[name] = sum(losses[name] for losses in everybody) / len(everybody)
