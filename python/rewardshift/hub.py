"""Model files by their name on the Hugging Face hub, such as ``owner/repo:file.gguf``.

``owner/repo@revision:file.gguf`` pins a branch, a tag or a commit. Files are fetched by
huggingface_hub (the extra ``hub``) into its cache, and its settings hold: HF_TOKEN, HF_HOME,
HF_ENDPOINT, HF_HUB_OFFLINE. What was fetched is compared with the SHA-256 that the hub has
published for it.
"""

from .sources.hub import local_path

__all__ = ["local_path"]
