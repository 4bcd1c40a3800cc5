"""Ways to answer a prompt: small classes over the public ``Decoder``, with one accounting."""

from .method import Answer, Method

__all__ = ["Answer", "Method"]
