"""PicoDet-L at 320 on PP-LCNet x2.0, COCO, the published recipe (250 epochs, 4 x 24 images).

Published: AP 36.1, AP50 52.0 on COCO val2017.
Reproduced here: not trained on full COCO.
Command: python tools/train.py configs/picodet_l_lcnet.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet import *

model["backbone"].update(scale=2.0)
model.update(neck_channels=160, tower_convs=4)
optim_wrapper["optimizer"].update(lr=0.12)
train_dataloader.update(batch_size=24)
auto_scale_lr.update(base_batch_size=96)
param_scheduler.update(epochs=300)  # longer than the training
train_cfg.update(max_epochs=250)
