"""Layout of document pages by a first-generation PicoDet at 800 x 608 on PP-LCNet x1.0.

Published: weights trained on CDLA, 10 classes (text, title, figure, figure_caption, table,
table_caption, header, footer, reference, equation); recipe: 150 epochs, 12 images per GPU, learning
rate 0.4, three input sizes in training. Here there is one size, and 4 GPUs are assumed.
Reproduced here: the published weights convert; raw outputs equal ONNX Runtime's (docs/weights.md).
Command: python tools/convert_weights.py layout_cdla.onnx layout.pth \
             --config configs/picodet_layout_lcnet.py
         python tools/predict.py configs/picodet_layout_lcnet.py layout.pth PAGES --out-dir out
"""

from mmengine.config import read_base

with read_base():
    from .paper.picodet_legacy_lcnet import *

model.update(num_classes=10)
model["backbone"].update(scale=1.0)
model["data_preprocessor"].update(size=(800, 608), train_sizes=())
train_dataloader.update(batch_size=12)
train_dataloader["dataset"].update(data_root="data/cdla")
val_dataloader["dataset"].update(data_root="data/cdla")
test_dataloader["dataset"].update(data_root="data/cdla")
auto_scale_lr.update(base_batch_size=48)
train_cfg.update(max_epochs=150)
