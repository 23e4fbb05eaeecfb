"""Accept: records become requests and their jobs, and the cursor moves; each record is one group or more."""

from dataclasses import dataclass

from service.core.admission import Admission, AdmissionRules, admit
from service.core.record import Record
from service.errors import FailureCode, InvalidRecord
from service.messages import DecodedRequest, RequestLimits, read_request
from service.pipeline.observer import Admissions
from service.pipeline.shard_runner import ShardRunner
from service.pipeline.stage_breaker import StageBreaker, StageName
from service.pipeline.submit import SubmitStage


@dataclass(frozen=True, slots=True)
class AcceptStage:
    """Takes records into their shard."""

    limits: RequestLimits
    rules: AdmissionRules
    submit: SubmitStage
    observer: Admissions
    breaker: StageBreaker

    def accept(self, runner: ShardRunner, record: Record) -> bool:
        """Take the next record; none can stop the next one by what it holds.

        False, and nothing has changed, while the stage is stopped: the record is to be delivered again.
        """
        if record.position.offset < runner.state.cursor.next_offset:
            return True
        if self.breaker.is_stopped(StageName.ACCEPT):
            return False
        admission = self._admission(runner, record)
        if admission is None:
            return False
        runner.put(admission.change)
        self.submit.start_now(runner, admission.submissions)
        self.observer.admitted(admission)
        return True

    def _admission(self, runner: ShardRunner, record: Record) -> Admission | None:
        """What becomes of the record; where a fault of ours is in the way, one failure with its bytes."""
        request_id = None
        try:
            read = self._read(record)
            request_id = read.request_id if isinstance(read, InvalidRecord) else read.request.request_id
            admission = admit(runner.state, record, read, self.rules, runner.context())
        except Exception as error:
            # The border of one request record. Want of memory is no word on a record.
            if isinstance(error, MemoryError):
                raise
            return self._failed(runner, record, request_id, error)
        self.breaker.succeeded(StageName.ACCEPT)
        return admission

    def _failed(
        self, runner: ShardRunner, record: Record, request_id: str | None, error: Exception
    ) -> Admission | None:
        self.observer.internal_error("record", record.origin_id, error)
        self.breaker.failed(StageName.ACCEPT, record.origin_id)
        if self.breaker.is_stopped(StageName.ACCEPT):
            return None
        told = f"a fault of Scribe itself ({type(error).__name__}) keeps this record from being served"
        refused = InvalidRecord(FailureCode.INTERNAL_ERROR, told, request_id)
        return admit(runner.state, record, refused, self.rules, runner.context())

    def _read(self, record: Record) -> DecodedRequest | InvalidRecord:
        if record.damage is not None:
            return InvalidRecord(FailureCode.INVALID_ENCODING, record.damage)
        try:
            return read_request(record.value, record.headers, self.limits)
        except InvalidRecord as error:
            return error
