"""PP-LCNet x0.5 without 5x5 kernels: a row of the paper's ablations.

Published: top-1 62.44, 2.01 ms (the network as it is: 63.14, 2.05 ms).
Reproduced here: not trained on ImageNet; docs/comparison.md compares costs and short trainings.
Command: python tools/train.py configs/paper/classifier_lcnet_x0_5_5x5_none.py
"""

from mmengine.config import read_base

with read_base():
    from ..classifier_lcnet_x0_5 import *

model["backbone"].update(large_kernel=(0,) * 13)
