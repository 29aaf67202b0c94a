"""PP-LCNet x1.0 distilled from ResNet50-vd on ImageNet-1k as in SSLD, 200 epochs, no labels.

Published: top-1 74.39, top-5 92.09, with a ResNet50-vd that was itself distilled. timm's resnet50d
is that network with weights of another training.
Reproduced here: not trained on ImageNet; the losses are tested.
Command: python tools/train.py configs/classifier_lcnet_ssld.py
"""

from mmengine.config import read_base

from classification.distillation import Teacher
from classification.loss import DistillationLoss

with read_base():
    from .classifier_lcnet import *

model.update(dropout=0.0)
model["loss"] = dict(type=DistillationLoss, divergence="symmetric", label_weight=0.0)
model["teacher"] = dict(type=Teacher, checkpoint=None, timm_name="resnet50d", precision="fp32")
train_dataloader.update(batch_size=256)
optim_wrapper["optimizer"].update(lr=0.4, weight_decay=1e-5)
auto_scale_lr.update(base_batch_size=1024)
train_cfg.update(max_epochs=200)
