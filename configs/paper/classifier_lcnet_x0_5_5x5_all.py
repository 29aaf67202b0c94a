"""PP-LCNet x0.5 with 5x5 kernels in all blocks: a row of the paper's ablations.

Published: top-1 63.22, 2.08 ms (the network as it is: 63.14, 2.05 ms).
Reproduced here: not trained on ImageNet; docs/comparison.md compares costs and short trainings.
Command: python tools/train.py configs/paper/classifier_lcnet_x0_5_5x5_all.py
"""

from mmengine.config import read_base

with read_base():
    from ..classifier_lcnet_x0_5 import *

model["backbone"].update(large_kernel=(1,) * 13)
