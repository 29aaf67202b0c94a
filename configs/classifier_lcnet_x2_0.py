"""PP-LCNet x2.0 on ImageNet-1k, the published recipe of 360 epochs.

Published: top-1 75.18, top-5 92.27 (4 GPUs, 512 images each).
Reproduced here: not trained on ImageNet.
Command: python tools/train.py configs/classifier_lcnet_x2_0.py
"""

from mmengine.config import read_base

with read_base():
    from .classifier_lcnet import *

model["backbone"].update(scale=2.0)
optim_wrapper["optimizer"].update(weight_decay=4e-5)
