"""PicoDet-XS fine-tuned on one's own images from the published COCO weights, on a CPU.

What changes against picodet_lcnet_own.py, and why: the smaller model trains half as fast again; it
starts from weights that know boxes already, so a fiftieth of the learning rate keeps them, and the
task-aligned targets, which need good boxes, are used from the first epoch; 15 epochs are enough.
Reproduced here: docs/detection.md.
Command: python tools/train.py configs/picodet_xs_lcnet_own.py --data DIR --load-from xs_bn.pth
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet_own import *

model.update(static_epochs=0)
model["backbone"].update(scale=0.35)
model["data_preprocessor"].update(train_sizes=(256, 288, 320, 352))
optim_wrapper["optimizer"].update(lr=0.001)
param_scheduler[0].update(epochs=15)
train_cfg.update(max_epochs=15, val_interval=3)
