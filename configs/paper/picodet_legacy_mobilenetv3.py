"""First-generation PicoDet at 416 on MobileNetV3-large x1.0, COCO, the published recipe.

Published: AP 35.6, AP50 52.0 on COCO val2017 (180 epochs of a 300-epoch cosine, 56 images per GPU).
Reproduced here: not trained on full COCO; parity of network, losses and targets is tested.
Command: python tools/train.py configs/paper/picodet_legacy_mobilenetv3.py
"""

from mmengine.config import read_base

from backbone.mobilenetv3 import MobileNetV3

with read_base():
    from .picodet_legacy_lcnet import *

model["backbone"] = dict(type=MobileNetV3, arch="large", scale=1.0)
train_dataloader.update(batch_size=56)
optim_wrapper["optimizer"].update(lr=0.3)
auto_scale_lr.update(base_batch_size=224)
# PaddleDetection trains this trunk without weight decay.
optim_wrapper["paramwise_cfg"]["custom_keys"].update(backbone=dict(decay_mult=0.0))
param_scheduler.update(epochs=300)  # longer than the training
train_cfg.update(max_epochs=180)
