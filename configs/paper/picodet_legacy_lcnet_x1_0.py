"""The PP-LCNet paper's detector on PP-LCNet x1.0 (table 4): first-generation PicoDet, COCO.

Published: AP 26.9, 7.9 ms (against MobileNetV3-large x0.75: 25.8, 11.1 ms).
Reproduced here: not trained on full COCO; parity of network, losses and targets is tested.
Command: python tools/train.py configs/paper/picodet_legacy_lcnet_x1_0.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_legacy_lcnet_x0_5 import *

model["backbone"].update(scale=1.0)
