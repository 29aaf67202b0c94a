"""Cityscapes: data set, published augmentation, loaders, evaluator."""

from mmengine.dataset import DefaultSampler

from engine.data.preprocess import collate
from engine.data.samplers import EndlessSampler
from segmentation.data.dataset import Cityscapes
from segmentation.data.transforms import (
    HorizontalFlip,
    RandomColour,
    RandomPaddedCrop,
    RandomStepScale,
)
from segmentation.evaluation.metric import MeanIoU

train_dataloader = dict(
    batch_size=8,  # in each of 4 processes
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type=collate),
    sampler=dict(type=EndlessSampler),
    dataset=dict(
        type=Cityscapes,
        data_root="data/cityscapes",
        split="train",
        training=True,
        on_bad_image="stop",
        transforms=dict(
            scale=dict(type=RandomStepScale),
            crop=dict(type=RandomPaddedCrop, height=512, width=1024),
            flip=dict(type=HorizontalFlip, p=0.5),
            colour=dict(type=RandomColour),
        ),
    ),
)
# One image per step: whole images are large, and may have different sizes.
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type=collate),
    sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
    dataset=dict(type=Cityscapes, data_root="data/cityscapes", split="val"),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    collate_fn=dict(type=collate),
    sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
    dataset=dict(type=Cityscapes, data_root="data/cityscapes", split="val"),
)
val_evaluator = dict(type=MeanIoU)
test_evaluator = dict(type=MeanIoU, classwise=True)
