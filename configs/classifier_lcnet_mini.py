"""PP-LCNet x1.0 on the drawn mini data set: a trained classifier in minutes on two cores.

The drawn objects are simple, so 96 pixels are enough and cost a third of 160.
Reproduced here: docs/classification.md.
Command: python tools/make_mini_data.py --out data/mini
         python tools/train.py configs/classifier_lcnet_mini.py
"""

from mmengine.config import read_base

with read_base():
    from .classifier_lcnet_own import *

model.update(num_classes=8)
model["data_preprocessor"].update(size=(96, 96), resize_shortest=110)
train_dataloader["dataset"].update(data_root="data/mini/classification")
train_dataloader["dataset"]["transforms"]["crop"].update(size=(96, 96))
val_dataloader["dataset"].update(data_root="data/mini/classification")
test_dataloader["dataset"].update(data_root="data/mini/classification")
param_scheduler.update(warmup_epochs=2)
train_cfg.update(max_epochs=20, val_interval=5)
