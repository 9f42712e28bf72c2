"""Keras 3: models and files to models (`load`) and back (`save`)."""
