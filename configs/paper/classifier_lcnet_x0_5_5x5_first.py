"""PP-LCNet x0.5 with 5x5 kernels in the first seven blocks: a row of the paper's ablations.

Published: top-1 62.70, 2.07 ms (the network as it is: 63.14, 2.05 ms).
Reproduced here: not trained on ImageNet; docs/comparison.md compares costs and short trainings.
Command: python tools/train.py configs/paper/classifier_lcnet_x0_5_5x5_first.py
"""

from mmengine.config import read_base

with read_base():
    from ..classifier_lcnet_x0_5 import *

model["backbone"].update(large_kernel=(1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0))
