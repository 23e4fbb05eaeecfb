"""Accept: records become jobs, and the cursor moves; everything of it in the shard's next batch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service.core.admission import Admission, AdmissionRules, admit
from service.core.record import Record
from service.errors import FailureCode, InvalidRecord
from service.messages import DecodedRequest, RequestLimits, read_request
from service.pipeline.publish import OwnedShard
from service.pipeline.submit import SubmitStage


@dataclass(frozen=True, slots=True)
class AcceptStage:
    """Takes records into their shard."""

    limits: RequestLimits
    rules: AdmissionRules
    submit: SubmitStage
    on_admitted: Callable[[Admission], None]

    def accept(self, shard: OwnedShard, records: Iterable[Record]) -> None:
        """Take records in their order; none of them can stop the next."""
        for record in records:
            if record.position.offset < shard.state.cursor.next_offset:
                continue
            admission = admit(shard.state, record, self._read(record), self.rules, shard.moment())
            shard.put(admission.change)
            self.submit.start_now(shard, admission.jobs)
            self.on_admitted(admission)

    def _read(self, record: Record) -> DecodedRequest | InvalidRecord:
        if record.damage is not None:
            return InvalidRecord(FailureCode.INVALID_ENCODING, record.damage)
        try:
            return read_request(record.value, record.headers, self.limits)
        except InvalidRecord as error:
            return error
