"""DeepLabV3+ at output stride 32 on PP-LCNet x1.0, Cityscapes, the published 80k iterations.

Published: mIoU 66.03 on Cityscapes val (PP-LCNet paper, table 5), without a config.
Images per step: 32, four processes (torchrun) of 8.
Reproduced here: not trained on Cityscapes; parity of network, loss and schedule is tested.
Command: python tools/train.py configs/deeplabv3plus_lcnet.py
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch.optim import SGD

from backbone.pplcnet import PPLCNet
from engine.data.preprocess import Preprocess
from engine.training.schedules import PolyDecayLR
from segmentation.deeplabv3plus import DeepLabV3Plus
from segmentation.loss import SegmentationLoss
from segmentation.sliding_window import Inference

with read_base():
    from ._base.cityscapes import *
    from ._base.runtime import *

model = dict(
    type=DeepLabV3Plus,
    num_classes=19,
    backbone=dict(type=PPLCNet, scale=1.0, out_strides=(4, 32), output_stride=32),
    loss=dict(type=SegmentationLoss, class_weights=None, ohem_threshold=None),
    inference=dict(type=Inference, scales=(1.0,), flip=False, window=None, step=None),
    data_preprocessor=dict(type=Preprocess, size=None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.01, momentum=0.9, weight_decay=4e-5),
    # As in PaddleSeg: batch-norms of the trunk have no weight decay, those of the head have.
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={"aspp": dict(decay_mult=1.0), "decoder": dict(decay_mult=1.0)},
    ),
)
auto_scale_lr = dict(enable=False, base_batch_size=32)
param_scheduler = dict(type=PolyDecayLR, power=0.9, warmup_iters=0, by_epoch=False)
train_cfg = dict(type=IterBasedTrainLoop, max_iters=80_000, val_interval=4_000)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
log_processor = dict(by_epoch=False)
default_hooks["logger"].update(log_metric_by_epoch=False)
default_hooks["checkpoint"].update(interval=2_000, save_best="mIoU")
