"""PicoDet-S on the drawn mini data set: a trained detector in minutes on two cores.

The drawn objects are large, so 192 pixels are enough and cost a third of 320. Some minutes are too
short for strong augmentation, so pictures are only mirrored.
Reproduced here: README.md.
Command: python tools/make_mini_data.py --out data/mini
         python tools/train.py configs/picodet_lcnet_mini.py
"""

from albumentations import HorizontalFlip
from mmengine.config import read_base

with read_base():
    from .picodet_lcnet_own import *

model.update(num_classes=8, static_epochs=4)
model["data_preprocessor"].update(size=(192, 192), train_sizes=(160, 192, 224))
train_dataloader["dataset"].update(data_root="data/mini/detection")
train_dataloader["dataset"]["transforms"] = dict(flip=dict(type=HorizontalFlip, p=0.5))
val_dataloader["dataset"].update(data_root="data/mini/detection")
test_dataloader["dataset"].update(data_root="data/mini/detection")
train_cfg.update(max_epochs=24, val_interval=6)
