"""PP-LCNet x0.25 that finds whether a line of text is upside down, at 80 x 160 pixels.

Published by PaddleX as PP-LCNet_x0_25_textline_ori (0 and 180 degrees), without its training
recipe. After the stem only the height is halved, not the width. Pictures are never mirrored.
Reproduced here: the converted weights give the published model's outputs; not trained.
Command: python tools/convert_weights.py weights.npz textline.pth
         --config configs/classifier_lcnet_textline.py
         python tools/train.py configs/classifier_lcnet_textline.py --data DIR
"""

from mmengine.config import read_base

from backbone.pplcnet import PPLCNet

with read_base():
    from .classifier_lcnet_own import *

model.update(num_classes=2)
model["backbone"] = dict(
    type=PPLCNet,
    scale=0.25,
    out_strides=(32,),
    downsampling=(2, (2, 1), (2, 1), (2, 1), (2, 1)),
)
model["data_preprocessor"].update(size=(80, 160), resize_shortest=None)
train_dataloader["dataset"].update(transforms=[])
