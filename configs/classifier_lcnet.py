"""PP-LCNet x1.0 on ImageNet-1k, the published recipe of 360 epochs.

Published: top-1 71.32, top-5 90.03 (4 GPUs, 512 images each).
Reproduced here: not trained on ImageNet; parity of network, loss and optimiser steps is tested.
Command: python tools/train.py configs/classifier_lcnet.py
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmengine.runner import TestLoop, ValLoop
from torch.optim import SGD

from backbone.pplcnet import PPLCNet
from classification.classifier import Classifier
from classification.loss import ClassificationLoss
from classification.mixup import BatchMix
from engine.data.preprocess import Preprocess
from engine.training.loops import EpochLoop
from engine.training.schedules import WarmupCosineLR

with read_base():
    from ._base.imagenet import *
    from ._base.runtime import *

model = dict(
    type=Classifier,
    num_classes=1000,
    backbone=dict(type=PPLCNet, scale=1.0),
    dropout=0.2,
    loss=dict(type=ClassificationLoss, label_smoothing=0.1),
    batch_mix=dict(type=BatchMix, mixup=0.0, cutmix=0.0),
    data_preprocessor=dict(
        type=Preprocess, size=(224, 224), resize_shortest=256, interpolation="linear"
    ),
)

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.8, momentum=0.9, weight_decay=3e-5),
    accumulative_counts=1,
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
auto_scale_lr = dict(enable=False, base_batch_size=2048)
param_scheduler = dict(
    type=WarmupCosineLR,
    warmup_epochs=5,
    warmup_factor=0.0,
    epochs=None,  # as long as the training
    convert_to_iter_based=True,
)
train_cfg = dict(type=EpochLoop, max_epochs=360, val_interval=1)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
default_hooks["checkpoint"].update(save_best="accuracy/top1")
