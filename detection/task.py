"""What the engine needs to know about the detector."""

from engine.task import Task

TASK = Task(
    name="det",
    noun="detector",
    layout="annotations",
    metric="coco/bbox_mAP",
    metric_scale=100,
    counted="boxes",
    results="detection.results:results",
    describe="detection.results:describe",
    draw="detection.evaluation.visualize:draw_detections",
    export_head="detection.export_head:export_head",
    foreign_weights="detection.paddle_weights:load_file",
    class_list="detection.paddle_weights:read_class_list",
    check_entries="detection.data.checks:check_entries",
    check="detection.data.checks:check",
    fix="detection.data.fix:repair",
    splits_from="detection.data.split:splits_from",
    split="detection.data.split:split",
    objects_counted="boxes",
    draw_truth="detection.evaluation.truth:draw_truth",
    objects="detection.evaluation.truth:objects",
    colours="detection.evaluation.truth:colours",
    report="detection.evaluation.report:DetectionReport",
    cam_target="detection.evaluation.cam_target:CAM_TARGET",
    recipe_keys=("static_epochs",),
    epoch_keys=("static_epochs",),
)
