"""Finds Java and keeps the jars of Kafka and its tools in the user's cache folder, fetched by Maven."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from sandbox.child import ServerStartError

POM = Path(__file__).with_name("pom.xml")
VERSION_VARIABLE = "KAFKA_VERSION"
"""The environment's choice of a version; the default is the pom's."""
JAVA_PACKAGE = "openjdk-17-jre-headless"
DOWNLOAD_MB = 54
"""Size of the jars of the default version, to tell before fetching them (Maven's own plugins come on top)."""

_MIN_JAVA = 17
_FETCH_SECONDS = 600.0


def jars_folder() -> Path:
    """Where the jars of this pom are, or will be. When the folder exists, it is complete."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]  # an edited pom gets its own folder
    return cache / "scribe" / f"kafka-{version()}-{digest}"


def version() -> str:
    """The version of Kafka that runs here; raises ServerStartError for what cannot be one."""
    found = re.search(r"<kafka.version>([\d.]+)</kafka.version>", POM.read_text())
    assert found is not None, "pom.xml has no version"
    chosen = os.environ.get(VERSION_VARIABLE) or found[1]
    if not re.fullmatch(r"\d+(\.\d+){1,3}", chosen):
        raise ServerStartError(f"{VERSION_VARIABLE} must be a version of Kafka, such as {found[1]}")
    return chosen


def missing() -> str | None:
    """What keeps real Kafka from running here without a download, with how to get it; None if nothing."""
    try:
        find_java()
    except ServerStartError as error:
        return str(error)
    if not jars_folder().is_dir():
        return "the Kafka server's jars are not here: run `python -m sandbox kafka --fetch`."
    return None


def console_consumer(bootstrap: str, topic: str) -> str:
    """How to call Kafka's console consumer in a shell, to see what is in a topic."""
    program = [find_java(), "-cp", f"{jars_folder()}/*", "org.apache.kafka.tools.consumer.ConsoleConsumer"]
    return shlex.join([*program, "--bootstrap-server", bootstrap, "--from-beginning", "--topic", topic])


def find_java() -> str:
    """Path of a Java of 17 or later; raises ServerStartError when there is none."""
    java = shutil.which("java")
    wanted = f"real Kafka needs Java {_MIN_JAVA} or later (Debian: apt-get install {JAVA_PACKAGE})"
    if java is None:
        raise ServerStartError(f"{wanted}: there is no `java` here.")
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    version = re.search(r'version "(\d+)', shown.stderr)
    if version is None or int(version[1]) < _MIN_JAVA:
        raise ServerStartError(f"{wanted}: {java} is older, or does not run.")
    return java


def fetch_jars() -> Path:
    """The folder with all jars, fetched through Maven when it is not there yet. Raises ServerStartError.

    A fetch that is cut off leaves no half folder: the jars are moved into place in one step.
    """
    wanted = jars_folder()
    if wanted.is_dir():
        return wanted
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerStartError("fetching Kafka needs Maven (Debian: apt-get install maven): no `mvn` here.")
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".kafka-", dir=wanted.parent) as temporary:
        jars = Path(temporary) / "jars"
        _copy_dependencies(maven, jars)
        try:
            jars.rename(wanted)
        except OSError:
            if not wanted.is_dir():  # else another run was faster, with the same jars
                raise
    return wanted


def _copy_dependencies(maven: str, jars: Path) -> None:
    command = [maven, "-q", "-B", "-C", "-f", str(POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={jars}", f"-Dkafka.version={version()}"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ServerStartError(f"Maven did not fetch Kafka's jars within {_FETCH_SECONDS:.0f} s.") from error
    if run.returncode != 0 or not any(jars.glob("kafka_*.jar")):
        errors = [line for line in run.stdout.splitlines() if "ERROR" in line]
        raise ServerStartError(
            f"Maven could not fetch Kafka's jars: {errors[0] if errors else 'no reason given'}"
        )
