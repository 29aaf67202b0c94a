"""PP-LCNet x2.5 on ImageNet-1k, the published recipe of 360 epochs.

Published: top-1 76.60, top-5 93.00 (4 GPUs, 512 images each).
Reproduced here: not trained on ImageNet.
Command: python tools/train.py configs/classifier_lcnet_x2_5.py
"""

from mmengine.config import read_base

from classification.data.transforms import AutoAugment

with read_base():
    from .classifier_lcnet import *

model["backbone"].update(scale=2.5)
optim_wrapper["optimizer"].update(weight_decay=4e-5)
train_dataloader["dataset"]["transforms"]["auto_augment"] = dict(type=AutoAugment)
