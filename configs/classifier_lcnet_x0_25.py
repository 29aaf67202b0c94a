"""PP-LCNet x0.25 on ImageNet-1k, the published recipe of 360 epochs.

Published: top-1 51.86, top-5 75.65 (4 GPUs, 512 images each).
Reproduced here: not trained on ImageNet.
Command: python tools/train.py configs/classifier_lcnet_x0_25.py
"""

from mmengine.config import read_base

with read_base():
    from .classifier_lcnet import *

model["backbone"].update(scale=0.25)
