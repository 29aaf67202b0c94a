"""First-generation PicoDet at 416 on PP-LCNet x1.5, COCO, the published 300-epoch recipe.

Published: AP 36.3, AP50 52.2 on COCO val2017 (80 images per GPU; "4 or 8" GPUs, here 4).
Reproduced here: not trained on full COCO; parity of network, losses and targets is tested.
Command: python tools/train.py configs/paper/picodet_legacy_lcnet.py
"""

from mmengine.config import read_base

with read_base():
    from ..picodet_lcnet import *

model.update(generation=1, neck_channels=128, tower_convs=4)
model["backbone"].update(scale=1.5)
model["data_preprocessor"].update(size=(416, 416), train_sizes=(352, 384, 416, 448, 480))
train_dataloader.update(batch_size=80)
optim_wrapper["optimizer"].update(lr=0.4)
auto_scale_lr.update(base_batch_size=320)
# Paddle turns weight decay off for batch-norms of trunk and towers, not for those of this neck.
optim_wrapper["paramwise_cfg"]["custom_keys"] = {"neck.": dict(decay_mult=1.0)}
