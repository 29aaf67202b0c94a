"""PP-LCNet x1.0 for hundreds to thousands of your own images, on a CPU.

Changes to the published recipe, and why: 64 images per step and four times the learning rate per
image, because there are a hundred times fewer steps; crops of 160 pixels, which take half the time,
and in which objects appear as large as in evaluation at 224; ten times the weight decay, because a
network soon overfits to few images; the average over hundreds of steps removes the noise of small
batches.
Reproduced here: docs/classification.md.
Command: python tools/train.py configs/classifier_lcnet_own.py --data DIR
"""

from mmengine.config import read_base

from engine.hooks.ema import EMA

with read_base():
    from .classifier_lcnet import *

train_dataloader.update(batch_size=64)
train_dataloader["dataset"]["transforms"]["crop"].update(size=(160, 160))
optim_wrapper["optimizer"].update(lr=0.1, weight_decay=3e-4)
auto_scale_lr.update(base_batch_size=64)
train_cfg.update(max_epochs=100, val_interval=5)
default_hooks["logger"].update(interval=20)
custom_hooks["ema"] = dict(type=EMA, decay=0.998)
