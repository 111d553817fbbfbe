"""File names by which an exported web page is recognised; light to import, unlike the code that writes it."""

MODEL, INFO = "generator.onnx", "info.json"  # in the page's folder: the generator, and a copy of its metadata
