"""PicoDet-S for hundreds to thousands of your own images, on a CPU.

Changes to the published recipe, and why: 8 images per step, because in an hour many small steps
learn more than few large ones; the learning rate per image is five times the published one, because
there are a hundred times fewer steps; training sizes from 192 up, which take two thirds of the
time; the task-aligned targets start after a tenth of the epochs, when boxes of a small data set are
good enough; the weights are averaged over hundreds of steps instead of thousands.
Reproduced here: docs/detection.md.
Command: python tools/train.py configs/picodet_lcnet_own.py --data DIR
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet import *

model.update(static_epochs=12)
model["data_preprocessor"].update(train_sizes=(192, 224, 256, 288, 320))
train_dataloader.update(batch_size=8)
optim_wrapper["optimizer"].update(lr=0.05)
auto_scale_lr.update(base_batch_size=8)
param_scheduler.update(warmup_iters=100)
train_cfg.update(max_epochs=120, val_interval=10)
default_hooks["checkpoint"].update(interval=1)
default_hooks["logger"].update(interval=20)
custom_hooks["ema"].update(decay=0.998)
