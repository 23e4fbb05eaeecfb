"""Accept: records become jobs, and the cursor moves; everything of it in the shard's next batch."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.core.admission import Admission, AdmissionRules, admit
from service.core.draft import adopt, draft_of
from service.core.record import Record
from service.errors import FailureCode, InvalidRecord
from service.messages import DecodedRequest, RequestLimits, read_request
from service.pipeline.observer import Admissions
from service.pipeline.publish import OwnedShard
from service.pipeline.submit import SubmitStage


@dataclass(frozen=True, slots=True)
class AcceptStage:
    """Takes records into their shard."""

    limits: RequestLimits
    rules: AdmissionRules
    submit: SubmitStage
    observer: Admissions

    def accept(self, shard: OwnedShard, records: Iterable[Record]) -> None:
        """Take records in their order; none of them can stop the next."""
        for record in records:
            if record.position.offset < shard.state.cursor.next_offset:
                continue
            admission = self._admission(shard, record)
            shard.put(admission.change)
            self.submit.start_now(shard, admission.jobs)
            self.observer.admitted(admission)

    def _admission(self, shard: OwnedShard, record: Record) -> Admission:
        """What becomes of the record; where a fault of ours is in the way, one failure with its bytes."""
        request_id = None
        try:
            read = self._read(record)
            request_id = read.request_id if isinstance(read, InvalidRecord) else read.request.request_id
            return self._admit(shard, record, read)
        except Exception as error:
            # The border of one request record. Want of memory is no word on a record.
            if isinstance(error, MemoryError):
                raise
            self.observer.internal_error("record", record.origin_id, error)
            told = f"a fault of Scribe itself ({type(error).__name__}) keeps this record from being served"
        return self._admit(shard, record, InvalidRecord(FailureCode.INTERNAL_ERROR, told, request_id))

    def _admit(self, shard: OwnedShard, record: Record, read: DecodedRequest | InvalidRecord) -> Admission:
        """All of it or nothing: on a draft, which counts only once it is whole."""
        draft = draft_of(shard.state, read)
        admission = admit(draft.shard, record, read, self.rules, shard.moment())
        adopt(shard.state, draft)
        return admission

    def _read(self, record: Record) -> DecodedRequest | InvalidRecord:
        if record.damage is not None:
            return InvalidRecord(FailureCode.INVALID_ENCODING, record.damage)
        try:
            return read_request(record.value, record.headers, self.limits)
        except InvalidRecord as error:
            return error
