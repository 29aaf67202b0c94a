"""PicoDet-S's neck and head at 320 on MobileNetV3-large x0.75, COCO, for comparison.

Published: no result of this generation on MobileNetV3 (the first one at 416, x1.0: AP 35.6).
Reproduced here: not trained on full COCO.
Command: python tools/train.py configs/picodet_mobilenetv3.py
"""

from mmengine.config import read_base

from backbone.mobilenetv3 import MobileNetV3

with read_base():
    from .picodet_lcnet import *

model["backbone"] = dict(type=MobileNetV3, arch="large", scale=0.75)
# PaddleDetection trains this trunk without weight decay.
optim_wrapper["paramwise_cfg"]["custom_keys"].update(backbone=dict(decay_mult=0.0))
