"""What the engine needs to know about the segmenter."""

from engine.task import Task

TASK = Task(
    name="seg",
    noun="segmenter",
    layout="gtFine",
    metric="mIoU",
    metric_scale=1,
    counted="classes",
    results="segmentation.results:results",
    describe="segmentation.results:describe",
    draw="segmentation.evaluation.visualize:draw",
    export_head="segmentation.export_head:export_head",
    foreign_weights="segmentation.paddle_weights:load_file",
    check_entries="segmentation.data.checks:check_entries",
    check="segmentation.data.checks:check",
    fix="segmentation.data.fix:repair",
    objects_counted="regions",
    draw_truth="segmentation.evaluation.truth:draw_truth",
    objects="segmentation.evaluation.truth:objects",
    colours="segmentation.classes:colours_of",
    report="segmentation.evaluation.report:SegmentationReport",
    cam_target="segmentation.evaluation.cam_target:CAM_TARGET",
    recipe_keys=("aspp_rates",),
    evaluation_keys=("inference",),
)
