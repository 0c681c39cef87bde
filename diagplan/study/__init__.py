"""The study: what each decoding plan costs in quality, on one set of clips, with intervals; resumable."""

__all__: list[str] = []
