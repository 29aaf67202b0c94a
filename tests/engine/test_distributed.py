"""Joining processes, and what they share: means, averages, buffers, losses, results."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from torch import distributed, nn

from engine.distributed import ShareLosses, first_node, join, process_mean
from engine.hooks.ema import EMA

Ranks = Callable[..., list[Any]]
OURS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No launcher's variables."""
    for name in OURS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[003-010,12],cpu1", "gpu003"),
        ("rack[1,3]-n[07-09]", "rack1-n07"),
        ("a1,b[2-3]", "a1"),
        ("node7", "node7"),
        ("10.0.0.4,10.0.0.5", "10.0.0.4"),
    ],
)
def test_first_node_of_a_slurm_list(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_slurm_names_the_processes(ranks: Ranks, alone: pytest.MonkeyPatch) -> None:
    """As srun starts them: SLURM's own variables only, the port from the job."""

    def work(rank: int) -> Any:
        import os

        port = int(os.environ["MASTER_PORT"])
        for name in OURS:
            del os.environ[name]
        os.environ |= {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_LOCALID": str(rank)}
        os.environ |= {"SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_ID": str(port + 70_000)}
        join(Config(), "slurm")
        found = [os.environ[name] for name in OURS]
        return [distributed.get_rank(), *found[:4], int(found[4]) - 20_000 - port % 10_000]

    assert ranks(work) == [
        [0, "0", "2", "0", "localhost", 0],
        [1, "1", "2", "1", "localhost", 0],
    ]


@pytest.mark.parametrize(
    ("launcher", "command"), [("pytorch", "torchrun --nproc-per-node"), ("slurm", "use srun")]
)
def test_a_launcher_that_did_not_start_it(
    alone: pytest.MonkeyPatch, launcher: str, command: str
) -> None:
    with pytest.raises(
        ValueError, match=f"--launcher {launcher}: this process was not started by it.*{command}"
    ):
        join(Config(), launcher)


@pytest.mark.parametrize(
    ("kind", "says"), [("torch", "needs CUDA"), ("mmcv", "use 'torch'"), (True, "'torch'")]
)
def test_norms_that_cannot_share(alone: pytest.MonkeyPatch, kind: Any, says: str) -> None:
    alone.setenv("RANK", "0")
    with pytest.raises(ValueError, match=says) as error:
        join(Config({"sync_bn": kind}), "pytorch")
    assert "sync_bn" in str(error.value)
    assert not distributed.is_initialized()


def test_mean_over_processes_has_no_slope(ranks: Ranks) -> None:
    def work(rank: int) -> Any:
        join(Config(), "pytorch")
        values = torch.tensor([1.0, 10.0 * rank], requires_grad=True)
        mean = process_mean(values)
        return mean.tolist(), mean.requires_grad, values.tolist()

    assert ranks(work) == [([1, 5], False, [1, 0]), ([1, 5], False, [1, 10])]
    assert process_mean(torch.tensor(3.0)).item() == 3.0  # alone


def test_average_and_losses_are_shared(ranks: Ranks) -> None:
    """One step t = 1 has the rate 1 / 10, so the average is the weights: the mean of 2 and 4."""

    def work(rank: int) -> Any:
        join(Config(), "pytorch")
        model = nn.BatchNorm1d(1)
        steps = SimpleNamespace(should_update=lambda: True)
        runner = SimpleNamespace(model=model, optim_wrapper=steps)
        hook = EMA(decay=0.9)
        hook.before_run(runner)
        model.running_mean.fill_(2.0 + 2 * rank)
        hook.after_train_iter(runner)
        hook.before_val_epoch(runner)
        averaged = model.running_mean.item()
        hook.after_val_epoch(runner)
        metrics = {"loss_a": 1.0 + rank, "val_loss": 5.0, "AP": 0.5} if rank < 2 else {}
        ShareLosses().after_val_epoch(runner, metrics)
        return averaged, model.running_mean.item(), metrics

    shared = {"loss_a": 1.5, "val_loss": 5.0, "AP": 0.5}
    first, second, third = ranks(work, count=3)
    assert first == (pytest.approx(4.0), 2.0, shared)
    assert second == (pytest.approx(4.0), 4.0, shared)
    assert third == (pytest.approx(4.0), 6.0, {})  # had no image to lose on


class Kept(BaseMetric):
    """Gives what it gathered."""

    def process(self, data_batch: Any, data_samples: Any) -> None:  # noqa: ARG002
        self.results.extend(data_samples)

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        return {"kept": results}


def test_results_come_in_order_without_the_samplers_padding(
    ranks: Ranks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five images on two processes: the sampler gives one twice; nothing is left on disk."""
    from mmengine.dataset import DefaultSampler

    monkeypatch.chdir(tmp_path)

    def work(rank: int) -> Any:
        join(Config(), "pytorch")
        metric = Kept(collect_device="gpu")
        metric.process(None, list(DefaultSampler(range(5), shuffle=False)))
        return len(metric.results), metric.evaluate(5)

    assert ranks(work) == [(3, {"kept": [0, 1, 2, 3, 4]})] * 2
    assert not list(tmp_path.iterdir())
