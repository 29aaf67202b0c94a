"""PicoDet-S at 416 for your own images with small objects, on a CPU.

It continues a run of picodet_lcnet_own.py, which learns most at a third of the cost, with larger
images, which objects of ten pixels need.
Reproduced here: docs/detection.md.
Command: python tools/train.py configs/picodet_lcnet_416_own.py --data DIR --load-from best.pth
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet_own import *

model.update(static_epochs=0)
model["data_preprocessor"].update(size=(416, 416), train_sizes=(320, 352, 384, 416))
optim_wrapper["optimizer"].update(lr=0.01)
train_cfg.update(max_epochs=20, val_interval=4)
