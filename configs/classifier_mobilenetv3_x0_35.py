"""MobileNetV3-large x0.35 on ImageNet-1k, the published recipe of 360 epochs, for comparison.

Published: top-1 64.32, top-5 85.46 (4 GPUs, 512 images each; unlike x1.0 without AutoAugment).
Reproduced here: not trained on ImageNet; parity of the network is tested.
Command: python tools/train.py configs/classifier_mobilenetv3_x0_35.py
"""

from mmengine.config import read_base

with read_base():
    from .classifier_mobilenetv3 import *

model["backbone"].update(scale=0.35)
train_dataloader.update(batch_size=512)
optim_wrapper["optimizer"].update(lr=1.3)
auto_scale_lr.update(base_batch_size=2048)
train_dataloader["dataset"]["transforms"].pop("auto_augment")
