"""ONNX: files to models (`load`) and models to files (`save`)."""
