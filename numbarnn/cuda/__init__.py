"""Models on a CUDA device: passes through layers, losses and optimizer steps on memory that stays there.

`numbarnn.network` and `numbarnn.steps` hand their work to `engine` and `training` where a model was made with ``device="cuda"``;
what a layer, a loss or an optimizer *is* stands where it does for the CPU, and here stands what it launches. Nothing of this
package but the name of the device is imported before.
"""
