"""DeepLabV3+ on PP-LCNet x1.0 on the drawn mini data set: minutes on two cores.

Reproduced here: docs/segmentation.md.
Command: python tools/make_mini_data.py --out data/mini
         python tools/train.py configs/deeplabv3plus_lcnet_mini.py
"""

from mmengine.config import read_base

with read_base():
    from .deeplabv3plus_lcnet_own import *

model.update(num_classes=9)
train_dataloader["dataset"].update(data_root="data/mini/segmentation")
train_dataloader["dataset"]["transforms"]["crop"].update(height=256, width=256)
val_dataloader["dataset"].update(data_root="data/mini/segmentation")
test_dataloader["dataset"].update(data_root="data/mini/segmentation")
train_cfg.update(max_iters=500, val_interval=100)
