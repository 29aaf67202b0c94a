"""What every run shares: hooks, logs, seed."""

from mmengine.hooks import (
    DistSamplerSeedHook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
    RuntimeInfoHook,
    SyncBuffersHook,
)
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer

from engine.hooks.checkpoint_hook import SaveCheckpoint
from engine.hooks.nan_guard import StopOnNaN
from engine.hooks.progress import LiveProgress
from engine.hooks.seeds import Clock

default_hooks = dict(
    runtime_info=dict(type=RuntimeInfoHook),
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, interval=50),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=SaveCheckpoint, every_steps=1_000),
    sampler_seed=dict(type=DistSamplerSeedHook),
)
# They have names, so that another config can change one by its name. They run in this order.
custom_hooks = dict(
    clock=dict(type=Clock),
    nan_guard=dict(type=StopOnNaN),
    sync_buffers=dict(type=SyncBuffersHook),
    progress=dict(type=LiveProgress),
)

env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=1))
visualizer = dict(
    type=Visualizer,
    vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)],
)
log_level = "INFO"
randomness = dict(seed=0)
