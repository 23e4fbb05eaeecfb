#!/bin/sh
# Runs the demo with the Python given: Ctrl-C ends it in order, and in its first moments without a word.
#
# Python itself prints a traceback where Ctrl-C meets it before its first line of ours. So it is started deaf to
# it, as the shell starts every command in the background, and Ctrl-C is passed on as SIGTERM.
demo=
code=
end() {
    code=130
    [ -z "$demo" ] || kill -TERM "$demo" 2>/dev/null
}
trap end INT
trap '[ -z "$demo" ] || kill -TERM "$demo" 2>/dev/null' TERM HUP

"$@" -m sandbox demo &
demo=$!
[ -z "$code" ] || end

# A signal ends a wait before the demo has ended.
while
    wait "$demo"
    ended=$?
    kill -0 "$demo" 2>/dev/null
do :; done
exit "${code:-$ended}"
