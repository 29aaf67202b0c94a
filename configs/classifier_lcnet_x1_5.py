"""PP-LCNet x1.5 on ImageNet-1k, the published recipe of 360 epochs.

Published: top-1 73.71, top-5 91.53 (4 GPUs, 512 images each).
Reproduced here: not trained on ImageNet.
Command: python tools/train.py configs/classifier_lcnet_x1_5.py
"""

from mmengine.config import read_base

with read_base():
    from .classifier_lcnet import *

model["backbone"].update(scale=1.5)
optim_wrapper["optimizer"].update(weight_decay=4e-5)
