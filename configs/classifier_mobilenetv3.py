"""MobileNetV3-large x1.0 on ImageNet-1k, the published recipe of 360 epochs, for comparison.

Published: top-1 75.32, top-5 92.31 (4 GPUs, 256 images each). The other sizes are trained without
AutoAugment: classifier_mobilenetv3_x0_35.py and its children; small x1.0 (68.24 / 88.06) is
that config with --cfg-options model.backbone.arch=small model.backbone.scale=1.0.
Reproduced here: not trained on ImageNet; parity of the network is tested.
Command: python tools/train.py configs/classifier_mobilenetv3.py
"""

from mmengine.config import read_base

from backbone.mobilenetv3 import MobileNetV3
from classification.data.transforms import AutoAugment

with read_base():
    from .classifier_lcnet import *

model["backbone"] = dict(type=MobileNetV3, arch="large", scale=1.0)
train_dataloader.update(batch_size=256)
optim_wrapper["optimizer"].update(lr=0.65, weight_decay=2e-5)
auto_scale_lr.update(base_batch_size=1024)
train_dataloader["dataset"]["transforms"]["auto_augment"] = dict(type=AutoAugment)
