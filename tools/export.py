"""Write a checkpoint for production: python tools/export.py CONFIG CKPT --format onnx --out F.

The file is checked against PyTorch before it gets its name; of one that fails nothing is left.
"""

import argparse
from pathlib import Path

from engine import command_line, config
from engine.export import OPSETS, SUFFIXES, Plan, export


def main(arguments: argparse.Namespace) -> None:
    """Export, check, say what was measured."""
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
        arguments.checkpoint,
        arguments.out,
        plan,
        options=arguments.cfg_options,
        verify=arguments.verify,
    )
    kind = "drawn pictures" if arguments.verify is None else "pictures"
    print(f"outputs against PyTorch on {report.num_pictures} {kind}: {report.gap}")
    print(f"allowed: {report.allowed}")
    if report.drop is not None:
        print(report.drop)
    print(f"{report.path}: written, {report.path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    options = command_line.parser(__doc__ or "")
    command_line.add_config(options, checkpoint=True)
    options.add_argument("--format", choices=tuple(SUFFIXES), required=True)
    options.add_argument("--out", type=Path, required=True, help="file: .onnx, .xml, .pt or .ts")
    options.add_argument(
        "--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the network input"
    )
    options.add_argument("--dynamic", choices=("batch", "size"), help="what may have any length")
    options.add_argument("--end2end", action="store_true", help="results come out, not raw outputs")
    options.add_argument(
        "--with-preprocess", action="store_true", help="an RGB uint8 image of any size goes in"
    )
    options.add_argument("--opset", type=int, default=OPSETS[0], help="of ONNX")
    options.add_argument(
        "--verify", type=Path, help="image, folder or data set to check the file on"
    )
    command_line.run(main, options)
