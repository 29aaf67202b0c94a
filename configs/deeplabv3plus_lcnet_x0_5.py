"""DeepLabV3+ at output stride 32 on PP-LCNet x0.5, Cityscapes, the published 80k iterations.

Published: mIoU 58.36 on Cityscapes val (PP-LCNet paper, table 5), without a config.
Images per step: 32, four processes (torchrun) of 8.
Reproduced here: not trained on Cityscapes.
Command: python tools/train.py configs/deeplabv3plus_lcnet_x0_5.py
"""

from mmengine.config import read_base

with read_base():
    from .deeplabv3plus_lcnet import *

model["backbone"].update(scale=0.5)
