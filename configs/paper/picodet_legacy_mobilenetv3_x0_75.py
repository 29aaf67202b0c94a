"""The PP-LCNet paper's detector on MobileNetV3-large x0.75 (table 4), which it compares with.

Published: AP 25.8, 11.1 ms (PP-LCNet x1.0: 26.9, 7.9 ms).
Reproduced here: not trained on full COCO; parity of network, losses and targets is tested.
Command: python tools/train.py configs/paper/picodet_legacy_mobilenetv3_x0_75.py
"""

from mmengine.config import read_base

from backbone.mobilenetv3 import MobileNetV3

with read_base():
    from .picodet_legacy_lcnet_x0_5 import *

model["backbone"] = dict(type=MobileNetV3, arch="large", scale=0.75)
# PaddleDetection trains this trunk without weight decay.
optim_wrapper["paramwise_cfg"]["custom_keys"].update(backbone=dict(decay_mult=0.0))
