"""Builds the sections of the page on a detector from its numbers.

Shapes: K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from detection.evaluation import plots
from detection.evaluation.error_images import COLOURS, NAMES
from detection.evaluation.metric import BoxScores
from detection.evaluation.thresholds import Curve
from detection.evaluation.tide import MISTAKES, Judged, Kind, MistakeSplit
from engine.reports import html
from engine.reports.html import Section, Shown

SHOWN_CLASSES = 120  # bars; of more classes only the worst are shown
NOTEWORTHY = 0.0005  # smallest AP that is not rounded to 0
NO_OBJECT = "These data have no object, so there is no AP."
MEANINGS = {
    Kind.CLASS: "right place (IoU 0.5 or more), wrong class",
    Kind.LOCATION: "right class, IoU of 0.1 to 0.5",
    Kind.BOTH: "wrong class and wrong place",
    Kind.DUPLICATE: "a detection with a higher score found that object already",
    Kind.BACKGROUND: "no object there (IoU up to 0.1)",
    Kind.MISSED: "object that no detection found or came near",
}
ROWS = {
    "all sizes": ("bbox_mAP", "bbox_AR_100"),
    "IoU 0.50": ("bbox_mAP_50", ""),
    "IoU 0.75": ("bbox_mAP_75", ""),
    "small, below 32 x 32 pixels": ("bbox_mAP_s", "bbox_AR_s"),
    "medium, to 96 x 96": ("bbox_mAP_m", "bbox_AR_m"),
    "large": ("bbox_mAP_l", "bbox_AR_l"),
    "1 detection an image": ("", "bbox_AR_1"),
    "10 detections an image": ("", "bbox_AR_10"),
}


def summary(
    scores: BoxScores, mistakes: MistakeSplit, found: Curve | None, size: tuple[int, int]
) -> Section:
    """The most important numbers of `size` images and objects, and what they mean."""
    numbers = scores.numbers
    tiles = {
        "AP (IoU 0.50:0.95)": _share(numbers["bbox_mAP"]),
        "AP at IoU 0.50": _share(numbers["bbox_mAP_50"]),
        "AP at IoU 0.75": _share(numbers["bbox_mAP_75"]),
    }
    lines = [f"{size[0]} images with {size[1]} objects of {len(scores.class_ap)} classes."]
    if not size[1]:
        lines.append(NO_OBJECT)
    lines += _lost(mistakes)
    if found:
        best = found.best
        tiles["best threshold (F1)"] = f"{found.thresholds[best]:.3f}"
        lines.append(
            f"Keeping detections of score {found.thresholds[best]:.3f} or more is best by F1 "
            f"({found.f1[best]:.3f}): {100 * found.precision[best]:.0f} % of them are right, and "
            f"{100 * found.recall[best]:.0f} % of the objects are found."
        )
    return Section("", [html.Tiles(tiles), *map(html.Paragraph, lines)])


def _lost(mistakes: MistakeSplit) -> list[str]:
    """A sentence on the two kinds that cost most; empty if no kind costs anything."""
    costly = sorted(MISTAKES, key=lambda kind: -mistakes.cost[kind])[:2]
    shown = [kind for kind in costly if mistakes.cost[kind] >= NOTEWORTHY]
    if not shown:
        return []
    costs = " and ".join(f"“{NAMES[kind]}” (+{mistakes.cost[kind]:.3f})" for kind in shown)
    kinds = "kinds" if len(shown) > 1 else "kind"
    return [
        f"Most AP is lost by mistakes of the {kinds} {costs}: without them, AP at IoU 0.50 would "
        "be higher by that much."
    ]


def twelve(scores: BoxScores) -> Section:
    """COCO's twelve numbers."""
    head = ["", "average precision", "average recall"]
    rows = [
        [name, *(_share(scores.numbers[key]) if key else "" for key in keys)]
        for name, keys in ROWS.items()
    ]
    note = "COCO's twelve numbers, 0 to 1; - if the data have no such object."
    return Section("Average precision", [html.Table([head, *rows]), html.Paragraph(note)])


def by_class(class_ap: Mapping[str, float], boxes: Mapping[str, int]) -> Section:
    """AP of every class, best first."""
    known = sorted((name for name in class_ap if class_ap[name] >= 0), key=lambda n: -class_ap[n])
    shown = known[-SHOWN_CLASSES:]
    rows = [(name, class_ap[name], f"{class_ap[name]:.3f} · {boxes[name]}") for name in shown]
    note = "AP at IoU 0.50:0.95 · number of objects."
    parts: list[html.Block] = [html.Paragraph(note), html.Bars(rows)]
    if len(known) > len(shown):
        parts.append(html.Paragraph(f"The {len(known) - len(shown)} best classes are left out."))
    if absent := [name for name in class_ap if class_ap[name] < 0]:
        parts.append(html.Paragraph(f"Without any object in these data: {', '.join(absent)}."))
    return Section("Classes", parts)


def curves(
    scores: BoxScores,
    images: Sequence[Judged],
    found: Curve | None,
    classes: Sequence[str],
    boxes: Sequence[int],
) -> Section:
    """Precision over recall, scores, and the threshold."""
    title = "Precision, recall and scores"
    if not sum(boxes):
        return Section(title, [html.Paragraph(NO_OBJECT)])
    drawn = {
        "Mean over classes of the precision at each recall. AP is the area below the line.":
            plots.precision_recall(scores.precision),
        "The same at IoU 0.50 by class: the five with most objects, the others in grey.":
            plots.class_curves(scores.precision[0], classes, boxes),
    }  # fmt: skip
    if found:
        best = float(found.thresholds[found.best])
        drawn |= {
            "Right detections (filled) and wrong ones (line) by score; the vertical line is the "
            "threshold of best F1.": plots.score_histogram(images, best),
            "Precision, recall and F1 by threshold on the score, all classes, at IoU 0.50.":
                plots.threshold_curve(found),
        }  # fmt: skip
    return Section(title, [html.Drawings(drawn)])


def kinds(mistakes: MistakeSplit, at_threshold: Mapping[Kind, int], threshold: float) -> Section:
    """How many mistakes there are of each kind, and what each kind costs."""
    longest = max(*mistakes.cost.values(), 1e-9)
    rows = [
        (NAMES[kind], mistakes.cost[kind] / longest, f"+{mistakes.cost[kind]:.4f}")
        for kind in MISTAKES
    ]
    head = ["kind", "what it is", "all", f"score ≥ {threshold:.3f}", "AP50 gained without"]
    table = [
        [
            NAMES[kind], MEANINGS[kind], str(mistakes.counts[kind]), str(at_threshold[kind]),
            f"{mistakes.cost[kind]:.4f}",
        ]
        for kind in MISTAKES
    ]  # fmt: skip
    note = (
        f"How much AP at IoU 0.50 ({mistakes.ap:.4f}) would gain if all mistakes of one kind were "
        "corrected (TIDE, Bolya et al. 2020). Gains of several kinds do not add up."
    )
    return Section(
        "Kinds of mistakes", [html.Paragraph(note), html.Bars(rows), html.Table([head, *table], 2)]
    )


def worst(shown: Sequence[Shown], threshold: float) -> Section:
    """The worst images."""
    note = (
        f"Detections of score {threshold:.3f} or more. Boxes have the colour of their kind; "
        "objects that were not found are dashed; right detections are thin, without text. Images "
        "with high scores of wrong detections and low scores of objects come first."
    )
    colours = {NAMES[kind]: COLOURS[kind] for kind in (*MISTAKES, Kind.RIGHT)}
    title = f"The {len(shown)} worst images" if shown else "No image with a mistake"
    return Section(title, [html.Paragraph(note), html.Key(colours), html.Gallery(shown, "half")])


def counts_at(images: Sequence[Judged], threshold: float) -> dict[Kind, int]:
    """Mistakes by kind among detections of at least the threshold."""
    kept = np.concatenate([image.kinds[image.scores >= threshold] for image in images])
    missed = sum(int((image.noticed < threshold).sum()) for image in images)
    return {kind: int((kept == kind).sum()) for kind in MISTAKES} | {Kind.MISSED: missed}


def _share(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else "-"
