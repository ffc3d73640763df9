//! Who ends a server and removes its files when the process that it was started for has ended.
//!
//! Guarantee: it does so also when that process was killed, since all it needs is the end of its own input.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::programs::Programs;

/// The file with the process id of the server, in its folder.
pub(crate) const PID_FILE: &str = "server.pid";

/// Waits for the end of its input. `$1` is the server's folder.
///
/// A server that ends in an orderly way removes `postmaster.pid`; SIGQUIT lets it end at once, and itself SIGKILLs what has not after five seconds. One that was
/// killed has left that file, and a segment of shared memory that no process has and whose number the file's seventh line ends with.
const KEEP: &str = r#"
while read -r _; do :; done
cd /
file=$1/data/postmaster.pid
if [ -f "$1/server.pid" ] && kill -QUIT "$(cat "$1/server.pid")" 2>/dev/null; then
    kill -CONT "$(cat "$1/server.pid")"
    tries=100
    while [ -f "$file" ] && [ $tries -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
fi
if [ -f "$file" ]; then
    set -- "$1" $(sed -n 7p "$file")
    [ -z "$3" ] || ipcrm -m "$3"
fi
rm -rf "$1"
"#;

/// Goes on for as long as there is a process `$1`, then removes the file `$2`.
const WATCH: &str = r#"
while kill -0 "$1" 2>/dev/null; do sleep 0.5; done
rm -f "$2"
"#;

/// Starts one for the folder `home`. It begins when its input ends: when the child is dropped, or whoever holds it has died.
///
/// # Errors
/// When there is no shell.
pub(crate) fn start(programs: &Programs, home: &Path, input: Stdio) -> io::Result<Child> {
    let mut command = programs.any(Path::new("sh"), Path::new("/"));
    command.args(["-c", KEEP, "sh"]).arg(home).stdin(input);
    spawn(command.stdout(Stdio::null()))
}

/// What ends when the process `pid` has ended, for a server that outlives whoever starts it; it removes `file` then.
///
/// # Errors
/// When there is no shell.
pub(crate) fn until_gone(pid: u32, file: &Path) -> io::Result<Stdio> {
    let mut command = Command::new("sh");
    command
        .args(["-c", WATCH, "sh", &pid.to_string()])
        .arg(file);
    let watch = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    Ok(watch.stdout.map_or_else(Stdio::null, Stdio::from))
}

/// In a process group of its own: a test that takes too long is killed with its group, and who cleans up after it must not be.
fn spawn(command: &mut Command) -> io::Result<Child> {
    command.process_group(0).stderr(Stdio::null()).spawn()
}
