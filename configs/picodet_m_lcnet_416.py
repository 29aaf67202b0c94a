"""PicoDet-M at 416 on PP-LCNet x1.5, COCO, the published recipe (250 epochs, 4 x 48 images).

Published: AP 37.5, AP50 53.4 on COCO val2017.
Reproduced here: not trained on full COCO.
Command: python tools/train.py configs/picodet_m_lcnet_416.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_m_lcnet import *

model["data_preprocessor"].update(size=(416, 416), train_sizes=(352, 384, 416, 448, 480))
param_scheduler.update(epochs=300)  # longer than the training
train_cfg.update(max_epochs=250)
