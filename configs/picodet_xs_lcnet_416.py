"""PicoDet-XS at 416 on PP-LCNet x0.35, COCO, the published recipe (300 epochs, 4 x 56 images).

Published: AP 26.2, AP50 39.3 on COCO val2017.
Reproduced here: not trained on full COCO.
Command: python tools/train.py configs/picodet_xs_lcnet_416.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_xs_lcnet import *

model["data_preprocessor"].update(size=(416, 416), train_sizes=(352, 384, 416, 448, 480))
optim_wrapper["optimizer"].update(lr=0.28)
train_dataloader.update(batch_size=56)
auto_scale_lr.update(base_batch_size=224)
