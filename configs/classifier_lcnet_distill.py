"""PP-LCNet x0.5 taught by a larger classifier on one's own images, on a CPU.

The teacher is a checkpoint of this project, of whatever trunk and scale, that knows the same
classes; `model.teacher.timm_name` takes one of timm's models instead. It sees the same augmented
pictures as the student.
Reproduced here: docs/classification.md.
Command: python tools/train.py configs/classifier_lcnet_distill.py --data DIR
         --cfg-options model.teacher.checkpoint=TEACHER.pth
"""

from mmengine.config import read_base

from classification.distillation import Teacher
from classification.loss import DistillationLoss

with read_base():
    from .classifier_lcnet_own import *

model["backbone"].update(scale=0.5)
model["loss"] = dict(
    type=DistillationLoss, divergence="soft", temperature=2.0, weight=1.0, label_weight=0.5
)
model["teacher"] = dict(
    type=Teacher,
    checkpoint="work_dirs/classifier_lcnet_own/teacher.pth",
    timm_name=None,
    precision="fp32",
)
