"""DeepLabV3+ at output stride 32 on MobileNetV3-large x0.5, Cityscapes, for comparison.

Published: mIoU 55.42 on Cityscapes val (PP-LCNet paper, table 5), without a config.
Images per step: 32, four processes (torchrun) of 8.
Reproduced here: not trained on Cityscapes; parity of network and loss is tested.
Command: python tools/train.py configs/deeplabv3plus_mobilenetv3_x0_5.py
"""

from mmengine.config import read_base

with read_base():
    from .deeplabv3plus_mobilenetv3 import *

model["backbone"].update(scale=0.5)
