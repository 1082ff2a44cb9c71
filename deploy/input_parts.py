"""The parts that take pictures in from outside: limited decoders, screens for uploads, what is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from deploy.safety_parts import SafetyParts

if TYPE_CHECKING:
    from handlers.input_book import InputCleaner
    from handlers.inputs import Inputs
    from handlers.picture_fetch import PictureFetcher
    from safety.decoding.pool import DecoderPool
    from safety.input_image import PictureReader
    from safety.upload_judge import UploadJudge
    from safety.upload_screen import UploadScreening
    from schemas.verdict import Verdict
    from storage.kept_inputs import KeptInputs
    from workers.brand_pictures import Stores as BrandStores
    from workers.input_reading import InputReader


@dataclass(frozen=True, kw_only=True)
class InputParts(SafetyParts):
    """Pictures that requests and brands bring."""

    @cached_property
    def decoders(self) -> DecoderPool:
        """Where customers' pictures are decoded; its processes start with the first picture."""
        from safety.decoding.pool import DecoderPool

        return DecoderPool(at_once=self.settings.decoders, avif=self.settings.avif_inputs)

    @cached_property
    def origin_notes(self) -> DecoderPool:
        """Where the marks of an original are read, which takes other libraries than its pixels."""
        from safety.decoding.pool import DecoderPool

        return DecoderPool(at_once=1, avif=self.settings.avif_inputs, origin="safety.decoding.origin:note_origin")

    @cached_property
    def picture_reader(self) -> PictureReader:
        from safety.input_image import PictureReader

        return PictureReader(open=self.decoders.open, avif=self.settings.avif_inputs)

    def input_record_key(self, tenant: str) -> bytes:
        from storage.sealing import derive_key

        return derive_key(self.secret, "input-record", tenant)

    def kept_inputs_of(self, tenant: str) -> KeptInputs:
        from storage.kept_inputs import KeptInputs

        return KeptInputs(store=self.results_of(tenant), key=self.input_record_key(tenant))

    @cached_property
    def input_reader(self) -> InputReader:
        """How workers read the pictures that requests brought."""
        from workers.input_reading import InputReader

        return InputReader(stores=self.results_of, reader=self.picture_reader, key=self.input_record_key)

    @cached_property
    def input_cleaner(self) -> InputCleaner:
        from handlers.input_book import InputCleaner

        return InputCleaner(ledger=self.ledger, kept=self.kept_inputs_of, keep_seconds=self.settings.input_days * 86400.0)

    @cached_property
    def picture_fetcher(self) -> PictureFetcher:
        from handlers.picture_fetch import PictureFetcher
        from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork

        # Networks of its own: what webhooks may reach inside is not thereby for customers to read.
        allow = tuple(AllowedNetwork.parse(text, field="fetch_allow") for text in self.settings.fetch_allow)
        return PictureFetcher(guard=AddressGuard(allow=allow))

    @cached_property
    def upload_judge(self) -> UploadJudge:
        return self._upload_judge(self.settings.upload_screening)

    def _upload_judge(self, mode: UploadScreening) -> UploadJudge:
        from safety.upload_judge import UploadJudge, installed
        from safety.upload_screen import UploadScreen

        screens = self.image_screens
        judged = {
            policy.digest: UploadScreen(policy=policy, screens=screens, screening=mode) for policy in self.policies.all
        }
        return UploadJudge(screens=judged, default=self.policy.digest, installed=installed(screens, mode))

    def _note_refused_input(self, tenant: str, verdict: Verdict) -> None:
        from handlers.refusals import input_refused

        input_refused(self.ledger, tenant, verdict, time.time())

    def _origin_of(self, data: bytes) -> bytes:
        from safety.decoding.origin import may_have_marks

        return self.origin_notes.note_origin(data) if may_have_marks(data) else b""

    @cached_property
    def inputs(self) -> Inputs:
        from handlers.input_book import LedgerBook
        from handlers.inputs import InputPorts, Inputs
        from storage.ledger.kept_inputs import Quota

        settings = self.settings
        quota = Quota(count=settings.input_quota_count, bytes=settings.input_quota_bytes)
        ports = InputPorts(
            results=self.results_of,
            uploads=self.uploads_of,
            clean=self.picture_reader.clean,
            judge=self.upload_judge,
            book=LedgerBook(ledger=self.ledger, quota=quota),
            key=self.input_record_key,
            origin=self._origin_of,
            refused=self._note_refused_input,
            **({} if settings.fetch_inputs == "off" else {"fetch": self.picture_fetcher.fetch}),
        )
        return Inputs(ports)

    def brand_stores(self, tenant: str) -> BrandStores:
        """Where a trainer finds a tenant's pictures, and how it looks at them."""
        from safety.upload_verdict import require_allowed
        from workers.brand_pictures import Stores

        # With what is installed: an installation without classifiers may fine-tune, and its outputs are screened as ever.
        judge = self._upload_judge("installed")
        return Stores(
            uploads=self.uploads_of(tenant),
            results=self.results_of(tenant),
            key=self.input_record_key(tenant),
            clean=lambda data: self.picture_reader.clean(data).png,
            judge=lambda png: require_allowed(judge.check(png, None)),
            check_words=self.prompt_screens[self.policy].insist,
        )
