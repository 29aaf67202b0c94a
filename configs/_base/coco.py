"""COCO boxes: data set, published augmentation, loaders, evaluator."""

from albumentations import HorizontalFlip
from mmengine.dataset import DefaultSampler

from detection.data.dataset import CocoDetection
from detection.data.transforms import RandomCropByIoU, RandomDistort
from detection.evaluation.metric import CocoMetric
from engine.data.preprocess import collate
from engine.data.samplers import EpochSampler

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    collate_fn=dict(type=collate),
    sampler=dict(type=EpochSampler, shuffle=True),
    dataset=dict(
        type=CocoDetection,
        data_root="data/coco",
        split="train",
        training=True,
        on_bad_image="stop",
        transforms=dict(
            crop=dict(type=RandomCropByIoU),
            flip=dict(type=HorizontalFlip, p=0.5),
            distort=dict(type=RandomDistort),
        ),
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type=collate),
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=CocoDetection, data_root="data/coco", split="val", training=False),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    collate_fn=dict(type=collate),
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=CocoDetection, data_root="data/coco", split="val", training=False),
)
val_evaluator = dict(type=CocoMetric)
test_evaluator = dict(type=CocoMetric)
