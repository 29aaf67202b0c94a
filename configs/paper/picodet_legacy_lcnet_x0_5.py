"""The PP-LCNet paper's detector on PP-LCNet x0.5 (table 4): first-generation PicoDet, COCO.

Published: AP 20.3, 6.0 ms (against MobileNetV3-large x0.35: 19.2, 8.1 ms).
The paper's schedule: 280 epochs, 224 images per step on 4 GPUs, learning rate 0.3, weight decay
1e-4. It does not name input size, width of the neck and length of the towers; here they are those
of PicoDet-S.
Reproduced here: not trained on full COCO; parity of network, losses and targets is tested.
Command: python tools/train.py configs/paper/picodet_legacy_lcnet_x0_5.py
"""

from mmengine.config import read_base

with read_base():
    from ..picodet_lcnet import *

model.update(generation=1)
model["backbone"].update(scale=0.5)
train_dataloader.update(batch_size=56)
optim_wrapper["optimizer"].update(lr=0.3, weight_decay=1e-4)
auto_scale_lr.update(base_batch_size=224)
# Paddle turns weight decay off for batch-norms of trunk and towers, not for those of this neck.
optim_wrapper["paramwise_cfg"]["custom_keys"] = {"neck.": dict(decay_mult=1.0)}
train_cfg.update(max_epochs=280)
