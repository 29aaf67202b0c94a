"""PP-LCNet x0.35 on ImageNet-1k, the published recipe of 360 epochs.

Published: top-1 58.09, top-5 80.83 (4 GPUs, 512 images each).
Reproduced here: not trained on ImageNet.
Command: python tools/train.py configs/classifier_lcnet_x0_35.py
"""

from mmengine.config import read_base

with read_base():
    from .classifier_lcnet import *

model["backbone"].update(scale=0.35)
