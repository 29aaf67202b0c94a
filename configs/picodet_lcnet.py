"""PicoDet-S at 320 on PP-LCNet x0.75, COCO, the published 300-epoch recipe.

Published: AP 29.1, AP50 43.4 on COCO val2017 (4 GPUs, 64 images each).
Reproduced here: not trained on full COCO; parity of network, losses and targets is tested.
Command: python tools/train.py configs/picodet_lcnet.py
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmengine.runner import TestLoop, ValLoop
from torch.optim import SGD

from backbone.pplcnet import PPLCNet
from detection.picodet import PicoDet
from engine.data.preprocess import Preprocess
from engine.hooks.ema import EMA
from engine.training.loops import EpochLoop
from engine.training.schedules import WarmupCosineLR

with read_base():
    from ._base.coco import *
    from ._base.runtime import *

model = dict(
    type=PicoDet,
    num_classes=80,
    backbone=dict(type=PPLCNet, scale=0.75),
    neck_channels=96,
    tower_convs=2,
    data_preprocessor=dict(type=Preprocess, size=(320, 320), train_sizes=(256, 288, 320, 352, 384)),
)

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.32, momentum=0.9, weight_decay=4e-5),
    # Batch-norms have no weight decay, except those for which Paddle does not turn it off.
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={
            "neck.laterals": dict(decay_mult=1.0),
            "neck.downsamples": dict(decay_mult=1.0),
            "neck.extra_lateral": dict(decay_mult=1.0),
            "neck.extra_output": dict(decay_mult=1.0),
            "head.align": dict(decay_mult=1.0),
        },
    ),
)
auto_scale_lr = dict(enable=False, base_batch_size=256)
param_scheduler = dict(
    type=WarmupCosineLR,
    warmup_iters=300,
    warmup_factor=0.1,
    epochs=None,  # as long as the training
    convert_to_iter_based=True,
)
train_cfg = dict(type=EpochLoop, max_epochs=300, val_interval=10)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
default_hooks["checkpoint"].update(interval=None, save_best="coco/bbox_mAP")
custom_hooks["ema"] = dict(type=EMA, decay=0.9998)
