"""Instruments inside a training: they see what no log shows, and cost next to nothing.

The rules that all of them keep: nothing is waited for (numbers stay on the device until the Trainer itself reads its own), no
process is waited for, memory is bounded, random numbers and weights are left as they were, and what cannot be seen is said.
Besides the callback these are the only files that use torch.
"""
