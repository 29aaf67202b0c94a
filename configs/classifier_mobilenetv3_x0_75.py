"""MobileNetV3-large x0.75 on ImageNet-1k, the published recipe of 360 epochs, for comparison.

Published: top-1 73.14, top-5 91.08 (4 GPUs, 512 images each; unlike x1.0 without AutoAugment).
Reproduced here: not trained on ImageNet; parity of the network is tested.
Command: python tools/train.py configs/classifier_mobilenetv3_x0_75.py
"""

from mmengine.config import read_base

with read_base():
    from .classifier_mobilenetv3_x0_35 import *

model["backbone"].update(scale=0.75)
