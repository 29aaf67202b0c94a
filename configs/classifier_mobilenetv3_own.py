"""MobileNetV3-large x1.0 with the recipe of classifier_lcnet_own.py, for comparison.

Reproduced here: docs/classification.md.
Command: python tools/train.py configs/classifier_mobilenetv3_own.py --data DIR
"""

from mmengine.config import read_base

from backbone.mobilenetv3 import MobileNetV3

with read_base():
    from .classifier_lcnet_own import *

model["backbone"] = dict(type=MobileNetV3, arch="large", scale=1.0)
