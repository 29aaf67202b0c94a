"""Export a checkpoint for production: python tools/export.py CONFIG CKPT --format onnx --out F.

The outputs of the file are compared with PyTorch's; a file that fails the check is removed.
"""

import argparse
from pathlib import Path

from engine import cli, config
from engine.checkpoint import zoo
from engine.export.exporter import Report, export
from engine.export.formats import FORMATS
from engine.export.layer_profile import Speed
from engine.export.plan import OPSETS, Plan
from engine.export.quantization import EightBit, Outcome
from engine.inference.evaluate import scorer_of

SHOWN = 10  # rows of a table of layers


def main(arguments: argparse.Namespace) -> None:
    """Export, check, print the measurements."""
    cfg = config.load(arguments.config, arguments.cfg_options)
    plan = Plan(
        format=arguments.format,
        shape=None if arguments.shape is None else tuple(arguments.shape),
        dynamic=arguments.dynamic,
        end2end=arguments.end2end,
        with_preprocess=arguments.with_preprocess,
        opset=arguments.opset,
    )
    report = export(
        cfg,
        zoo.local(arguments.checkpoint),
        arguments.out,
        plan,
        options=arguments.cfg_options,
        verify=arguments.verify,
        eight_bit=eight_bit(arguments),
        scorer_of=lambda folder: scorer_of(cfg, folder, arguments.cfg_options),
    )
    show(report, arguments.verify)


def eight_bit(arguments: argparse.Namespace) -> EightBit | None:
    """The settings of --int8, --calib and --budget."""
    if not arguments.int8:
        return None
    if arguments.calib is None:
        raise ValueError("--int8 needs --calib DIR, a folder of images or a data set of the task")
    return EightBit(arguments.calib, arguments.budget)


def show(report: Report, verify: Path | None) -> None:
    """Print the measurements."""
    kind = "generated pictures" if verify is None else "pictures"
    print(f"outputs against PyTorch on {report.num_pictures} {kind}: {report.gap}")
    print(f"allowed: {report.allowed}")
    if report.eight_bit is not None:
        show_eight_bit(report.eight_bit)
    if report.speed is not None and report.eight_bit is not None:
        show_speed(report.speed, report.eight_bit)
    if report.drop is not None:
        print(report.drop)
    print(f"{report.path}: written, {report.size / 1e6:.1f} MB")


def show_eight_bit(outcome: Outcome) -> None:
    """Print which layers stay in float and why, and all attempts."""
    kept = outcome.attempts[-1].kept
    print(f"8 bits: {len(kept)} of {len(outcome.ranked)} layers in float")
    for layer in outcome.ranked:
        if layer.name in kept:
            reason = layer.reason or "sensitive"
            print(f"  {layer.name}: {reason}, changes outputs by {100 * layer.error:.2g} %")
    if outcome.before is None:
        print("  no data set in --calib: the metric of this file was not measured")
        return
    for attempt in outcome.attempts:
        print(f"  {len(attempt.kept)} in float: {outcome.before:.4f} before, {attempt.metric:.4f}")


def show_speed(speed: Speed, outcome: Outcome) -> None:
    """Print the speed-up by kind of layer, and the slowest remaining layers."""
    print(
        f"one thread, taking turns: {speed.before:.2f} ms in float32, {speed.after:.2f} ms in "
        f"8 bits, ratio {speed.ratio:.2f}"
    )
    for kind in speed.kinds()[:SHOWN]:
        bits = f"{kind.eight_bit} of {kind.nodes} in 8 bits"
        print(f"  {kind.name}: {kind.before:.2f} -> {kind.after:.2f} ms, {bits}")
    reasons = {layer.name: layer.reason or "sensitive" for layer in outcome.ranked}
    kept = outcome.attempts[-1].kept
    print("  slowest remaining layers:")
    for name, after in list(speed.layers_after.items())[:SHOWN]:
        why = f", in float: {reasons[name]}" if name in kept else ""
        before = speed.layers_before.get(name)
        was = "new" if before is None else f"{before.time:.2f}"
        print(f"    {name}: {was} -> {after.time:.2f} ms{why}")


if __name__ == "__main__":
    options = cli.parser(__doc__ or "")
    add = options.add_argument
    cli.add_config(options, checkpoint=True)
    add("--format", choices=tuple(FORMATS), required=True)
    add("--out", type=Path, required=True, help="file: .onnx, .xml, .pt or .ts")
    add("--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="size of the network input")
    add("--dynamic", choices=("batch", "size"), help="axes of any length")
    add("--end2end", action="store_true", help="include post-processing")
    add("--with-preprocess", action="store_true", help="include preprocessing of RGB uint8 images")
    add("--opset", type=int, default=OPSETS[0], help="ONNX version of the operators")
    add("--int8", action="store_true", help="8 bits; may lose --budget of the metric")
    add("--calib", type=Path, help="images or data set for the calibration of --int8")
    add("--budget", type=cli.percent, default=1.0, metavar="POINTS", help="largest loss, 0..100")
    add("--verify", type=Path, help="image, folder or data set to check the file on")
    cli.run(main, options)
