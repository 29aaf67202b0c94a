"""PicoDet-S on the drawn mini data set: a trained detector in minutes on two cores.

The drawn scenes are 320 pixels wide and their objects large, so 256 loses little and costs less.
Reproduced here: README.md.
Command: python tools/make_mini_data.py --out data/mini
         python tools/train.py configs/picodet_lcnet_mini.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet_own import *

model.update(num_classes=8, static_epochs=4)
model["data_preprocessor"].update(size=(256, 256), train_sizes=(192, 224, 256))
train_dataloader["dataset"].update(data_root="data/mini/detection")
val_dataloader["dataset"].update(data_root="data/mini/detection")
test_dataloader["dataset"].update(data_root="data/mini/detection")
param_scheduler[0].update(epochs=36)
train_cfg.update(max_epochs=36, val_interval=6)
