"""PicoDet-XS fine-tuned on your own images from the published COCO weights, on a CPU.

Changes to picodet_lcnet_own.py, and why: the weights predict good boxes already, so a small
learning rate keeps them, and the task-aligned targets, which need good boxes, are used from the
first epoch; 16 images per step and milder crops and sizes keep the batch statistics near those of
whole images.
Reproduced here: docs/detection.md.
Command: python tools/train.py configs/picodet_xs_lcnet_own.py --data DIR --load-from xs_bn.pth
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet_own import *

model.update(static_epochs=0)
model["backbone"].update(scale=0.35)
model["data_preprocessor"].update(train_sizes=(288, 320, 352))
train_dataloader.update(batch_size=16)
train_dataloader["dataset"]["transforms"]["crop"].update(p=0.5)
optim_wrapper["optimizer"].update(lr=0.003)
auto_scale_lr.update(base_batch_size=16)
train_cfg.update(max_epochs=25, val_interval=5)
