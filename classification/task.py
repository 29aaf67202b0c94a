"""What the engine needs to know about the classifier."""

from engine.task import Task

TASK = Task(
    name="cls",
    noun="classifier",
    layout="train_list.txt",
    metric="accuracy/top1",
    metric_scale=1,
    counted="classes",
    results="classification.results:results",
    describe="classification.results:describe",
    draw="classification.evaluation.visualize:draw",
    export_head="classification.export_head:export_head",
    foreign_weights="classification.paddle_weights:load_file",
    check_entries="classification.data.checks:check_entries",
    check="classification.data.checks:check",
    fix="classification.data.fix:repair",
    splits_from="classification.data.split:splits_from",
    split="classification.data.split:split",
    draw_truth="classification.evaluation.truth:draw_truth",
    objects="classification.evaluation.truth:objects",
    colours="classification.evaluation.truth:colours",
    report="classification.evaluation.report:ClassificationReport",
    cam_target="classification.evaluation.cam_target:CAM_TARGET",
    recipe_keys=("batch_mix", "teacher", "dropout"),
    training_keys=("teacher",),
    mix_key="batch_mix",
    mix="classification.mixup:mix_batch",
)
