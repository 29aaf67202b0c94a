"""PP-LCNet x1.0 on ImageNet-1k from tar shards: the published recipe, read as a stream.

A stream has no epochs: 360 of them are 225,200 steps of 2048 images (4 processes of 512).
`train_dataloader.dataset.data_root` may be a URL (https, s3, gs).
Published: as classifier_lcnet.py.
Reproduced here: not trained on ImageNet; docs/scaling.md says how long reading shards takes.
Command: python tools/make_shards.py data/imagenet --out data/imagenet_shards
         python tools/train.py configs/classifier_lcnet_shards.py
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR
from mmengine.runner import IterBasedTrainLoop

from classification.data.shards import ImageShards

with read_base():
    from .classifier_lcnet import *

train_dataloader.update(sampler=None)
train_dataloader["dataset"].update(type=ImageShards, data_root="data/imagenet_shards")
param_scheduler = [
    dict(type=LinearLR, by_epoch=False, start_factor=1e-6, begin=0, end=3_128),  # 0: error
    dict(type=CosineAnnealingLR, by_epoch=False, begin=3_128),
]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=225_200, val_interval=3_128)
default_hooks["checkpoint"].update(interval=None)  # as often as it validates
