"""Make, list, show, change and delete a hotword list with the vendor's 1.x SDK, then ask for it once more.
Prints what each call answered, a line of JSON each.

It knows nothing of this project. Needs DASHSCOPE_API_KEY and DASHSCOPE_HTTP_BASE_URL.
"""

import json
import os
import sys

import dashscope
from dashscope.audio.asr import VocabularyService
from dashscope.audio.asr.vocabulary import VocabularyServiceException


def main() -> int:
    dashscope.api_key = os.environ["DASHSCOPE_API_KEY"]
    dashscope.base_http_api_url = os.environ["DASHSCOPE_HTTP_BASE_URL"]

    service = VocabularyService()
    vocabulary_id = service.create_vocabulary("fun-asr", "demo", [{"text": "Kubernetes", "weight": 4}])
    _say(made=vocabulary_id)
    _say(listed=service.list_vocabularies(prefix="demo"), others=service.list_vocabularies(prefix="other"))
    _say(shown=service.query_vocabulary(vocabulary_id))
    service.update_vocabulary(vocabulary_id, [{"text": "Helm", "weight": 5, "lang": "en"}])
    _say(shown=service.query_vocabulary(vocabulary_id))
    service.delete_vocabulary(vocabulary_id)
    _say(listed=service.list_vocabularies())
    try:
        service.query_vocabulary(vocabulary_id)
    except VocabularyServiceException as error:
        _say(error=str(error))
    return 0


def _say(**answer: object) -> None:
    print(json.dumps(answer))


if __name__ == "__main__":
    sys.exit(main())
