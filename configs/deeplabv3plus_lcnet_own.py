"""DeepLabV3+ on PP-LCNet x1.0 for hundreds to thousands of your own images, on a CPU.

Changes to the published recipe, and why: crops of 192 x 256 from images at half to full size,
because the decoder works at a quarter of the size and takes most of the time (raise both for large
images with small objects); dilations of 1 to 4, because such a crop is 6 x 8 at stride 32: the
outer taps of a kernel of rate 6 would read padding in training and stay untrained for whole images;
8 crops per step; AdamW with a warm-up, because there are few steps and no layer is pretrained; the
average over hundreds of steps removes the noise of small batches.
Reproduced here: docs/segmentation.md.
Command: python tools/train.py configs/deeplabv3plus_lcnet_own.py --data DIR
"""

from mmengine.config import read_base
from torch.optim import AdamW

from engine.hooks.ema import EMA

with read_base():
    from .deeplabv3plus_lcnet import *

model.update(aspp_rates=(1, 2, 3, 4))
train_dataloader["dataset"]["transforms"]["scale"].update(low=0.5, high=1.25)
train_dataloader["dataset"]["transforms"]["crop"].update(height=192, width=256)
optim_wrapper["optimizer"] = dict(type=AdamW, lr=0.002, weight_decay=0.01)
auto_scale_lr.update(base_batch_size=8)
param_scheduler.update(warmup_iters=100)
train_cfg.update(max_iters=1_500, val_interval=250)
default_hooks["checkpoint"].update(interval=None)  # as often as it validates
default_hooks["logger"].update(interval=20)
custom_hooks["ema"] = dict(type=EMA, decay=0.995)
