"""The names by which an exported web page is recognised; light, unlike what writes it."""

MODEL, INFO = "generator.onnx", "info.json"  # in the page's folder: the generator, and its metadata once more
