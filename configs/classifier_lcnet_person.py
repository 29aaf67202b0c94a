"""PP-LCNet x1.0 that separates pictures with a person from those without: PULC's person_exists.

Published: TPR at an FPR of 1/1000 on 27,820 images of Objects365, trained on 92,964 of COCO: 89.57
from plain ImageNet weights, 92.10 from those of SSLD, 93.43 with the augmentation of a search,
which is used here; 96.23 with a teacher and unlabelled images, which are not.
Reproduced here: docs/classification.md, on little data.
Command: python tools/convert_dataset.py person_exists data/coco data/person_exists
         python tools/train.py configs/classifier_lcnet_person.py --load-from IMAGENET.pth
"""

from mmengine.config import read_base

from classification.data.transforms import RandomErasing

with read_base():
    from .classifier_lcnet import *

model.update(num_classes=2)
model["loss"].update(label_smoothing=0.0)
train_dataloader.update(batch_size=64)
train_dataloader["dataset"].update(data_root="data/person_exists")
train_dataloader["dataset"]["transforms"]["crop"].update(size=(192, 192))
train_dataloader["dataset"]["transforms"]["erase"] = dict(type=RandomErasing, p=0.1)
val_dataloader["dataset"].update(data_root="data/person_exists")
test_dataloader["dataset"].update(data_root="data/person_exists")
optim_wrapper["optimizer"].update(lr=0.01, weight_decay=4e-5)
auto_scale_lr.update(base_batch_size=256)  # four cards of 64
train_cfg.update(max_epochs=20, val_begin=10)
default_hooks["checkpoint"].update(save_best="tpr_at_fpr")
