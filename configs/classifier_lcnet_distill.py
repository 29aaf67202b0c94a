"""PP-LCNet x0.5 distilled from a larger classifier on your own images, on a CPU.

The teacher is a checkpoint of this project with the same classes, of any trunk and scale;
`model.teacher.timm_name` selects one of timm's models instead. It gets the same augmented pictures
as the student.
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
