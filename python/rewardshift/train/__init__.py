"""Making an aligned draft for any target; needs the extra ``train``.

``corpus`` samples what the target says, ``distill`` trains a student on it, ``pairs`` samples what
is preferred, ``align`` trains an adapter on that, and ``export`` writes both as GGUF.
"""
