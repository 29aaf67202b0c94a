"""PP-LCNet x0.5 without the 1x1 convolution to 1280 after the mean: a row of the paper's ablations.

Published: top-1 59.91, 1.85 ms (the network as it is: 63.14, 2.05 ms).
Reproduced here: not trained on ImageNet; docs/comparison.md compares costs and short trainings.
Command: python tools/train.py configs/paper/classifier_lcnet_x0_5_no_hidden.py
"""

from mmengine.config import read_base

with read_base():
    from ..classifier_lcnet_x0_5 import *

model.update(hidden=None)
