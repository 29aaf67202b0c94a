"""PicoDet-M at 320 on PP-LCNet x1.5, COCO, the published recipe (300 epochs, 4 x 48 images).

Published: AP 34.4, AP50 50.0 on COCO val2017.
Reproduced here: not trained on full COCO.
Command: python tools/train.py configs/picodet_m_lcnet.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet import *

model["backbone"].update(scale=1.5)
model.update(neck_channels=128, tower_convs=4)
optim_wrapper["optimizer"].update(lr=0.24)
train_dataloader.update(batch_size=48)
auto_scale_lr.update(base_batch_size=192)
