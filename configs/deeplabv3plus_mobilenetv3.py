"""DeepLabV3+ at output stride 32 on MobileNetV3-large x0.75, Cityscapes, for comparison.

Published: mIoU 64.53 on Cityscapes val (PP-LCNet paper, table 5), without a config.
Images per step: 32, four processes (torchrun) of 8.
Reproduced here: not trained on Cityscapes; parity of network and loss is tested.
Command: python tools/train.py configs/deeplabv3plus_mobilenetv3.py
"""

from mmengine.config import read_base

from backbone.mobilenetv3 import MobileNetV3

with read_base():
    from .deeplabv3plus_lcnet import *

model["backbone"] = dict(
    type=MobileNetV3, arch="large", scale=0.75, out_strides=(4, 32), output_stride=32
)
