"""PicoDet-XS at 320 on PP-LCNet x0.35, COCO, the published recipe (300 epochs, 4 x 64 images).

Published: AP 23.5, AP50 36.1 on COCO val2017.
Reproduced here: the published weights give AP 28.9 on the 111 images of a COCO val2017 extract.
Command: python tools/train.py configs/picodet_xs_lcnet.py
"""

from mmengine.config import read_base

with read_base():
    from .picodet_lcnet import *

model["backbone"].update(scale=0.35)
