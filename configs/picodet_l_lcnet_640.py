"""PicoDet-L at 640 on PP-LCNet x2.0, COCO, the published recipe (200 epochs, 4 x 12 images).

Published: AP 42.6, AP50 59.2 on COCO val2017.
Reproduced here: not trained on full COCO.
Command: python tools/train.py configs/picodet_l_lcnet_640.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_l_lcnet import *

model["data_preprocessor"].update(size=(640, 640), train_sizes=(576, 608, 640, 672, 704))
optim_wrapper["optimizer"].update(lr=0.06)
train_dataloader.update(batch_size=12)
auto_scale_lr.update(base_batch_size=48)
train_cfg.update(max_epochs=200)
