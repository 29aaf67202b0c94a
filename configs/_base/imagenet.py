"""ImageNet-1k: data set, published augmentation, loaders, evaluator."""

from mmengine.dataset import DefaultSampler

from classification.data.dataset import ImageFolder
from classification.data.transforms import HorizontalFlip, RandomResizedCrop
from classification.evaluation.metric import ClassificationMetric
from engine.data.preprocess import collate
from engine.data.samplers import EpochSampler

train_dataloader = dict(
    batch_size=512,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    collate_fn=dict(type=collate),
    sampler=dict(type=EpochSampler, shuffle=True),
    dataset=dict(
        type=ImageFolder,
        data_root="data/imagenet",
        split="train",
        training=True,
        on_bad_image="stop",
        transforms=dict(
            crop=dict(type=RandomResizedCrop, size=(224, 224)),
            flip=dict(type=HorizontalFlip, p=0.5),
        ),
    ),
)
# Whole images: the model's preprocessing resizes and cuts them.
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type=collate),
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=ImageFolder, data_root="data/imagenet", split="val"),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=1,
    collate_fn=dict(type=collate),
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=ImageFolder, data_root="data/imagenet", split="val"),
)
val_evaluator = dict(type=ClassificationMetric)
test_evaluator = dict(type=ClassificationMetric)
