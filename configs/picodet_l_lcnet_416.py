"""PicoDet-L at 416 on PP-LCNet x2.0, COCO, the published recipe (250 epochs, 4 x 24 images).

Published: AP 39.4, AP50 55.7 on COCO val2017.
Reproduced here: not trained on full COCO.
Command: python tools/train.py configs/picodet_l_lcnet_416.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_l_lcnet import *

model["data_preprocessor"].update(size=(416, 416), train_sizes=(352, 384, 416, 448, 480))
