"""The list of published classifiers."""


def test_names_costs_and_accuracy(run_tool) -> None:
    ran = run_tool("list_models", "pplcnet_x1_0", "*small_x0_5")
    assert ran.code == 0, ran.err
    rows = [line.split() for line in ran.out.splitlines() if "_x" in line]
    numbers = [[cell for cell in row if cell not in "│┃"] for row in rows]
    assert numbers == [
        ["pplcnet_x1_0", "2.95", "155.7", "71.32", "90.03"],
        ["mobilenetv3_small_x0_5", "1.90", "20.8", "59.21", "81.52"],
    ]


def test_unknown_names_say_so(run_tool) -> None:
    ran = run_tool("list_models", "resnet*")
    assert (ran.code, ran.err) == (
        1,
        "error: no model matches resnet*; without a name, all are listed\n",
    )
