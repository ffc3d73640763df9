//! Where master keys come from: a file, the environment or a command.
//!
//! Guarantee: what a source yields is never logged, a file that others can read is refused, a file is replaced whole or not at all, and a command is bounded in
//! time and output.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, fchown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use model::Secret;
use store::sealing::{KeySource, split};

use crate::{
    private_file::{self, SECRET_MAX_BYTES},
    settings, text_file,
};

/// How long a command may take: a key server answers within a second or two, and a start waits for it.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked whether a command has ended, once its output has.
const COMMAND_STEP: Duration = Duration::from_millis(5);

/// Where master keys come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A file that only its owner can read.
    File(PathBuf),
    /// The environment, as it was at the start.
    Environment(Secret),
    /// A command for `sh -c`, which prints them.
    Command(String),
}

impl Source {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    /// What it is, in words.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::File(path) => format!("the file {}", path.display()),
            Self::Environment(_) => settings::MASTER_KEY.to_owned(),
            Self::Command(_) => "the master key command".to_owned(),
        }
    }
}

impl KeySource for Source {
    fn read(&self) -> Result<Vec<Secret>, String> {
        match self {
            Self::File(path) => private_file::read(path, "master key"),
            Self::Environment(text) => Ok(text.clone()),
            Self::Command(line) => run(line, COMMAND_WITHIN),
        }
        .map(|text| split(&text))
    }
}

/// Puts `keys` in place of what the file `path` has, a line a key. Who reads it meanwhile reads the old or the new.
///
/// # Errors
/// When it cannot be replaced; it is as it was then.
pub(crate) fn replace(path: &Path, keys: &[Secret]) -> anyhow::Result<()> {
    let written = || -> anyhow::Result<()> {
        // A link stays a link.
        let path = path.canonicalize()?;
        let directory = path.parent().context("it has no directory")?;
        let mut name = path.file_name().context("it has no name")?.to_owned();
        name.push(".new");
        let new = directory.join(name);
        // One that was left by a replacement that was broken off.
        match std::fs::remove_file(&new) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why.into()),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let (old, own) = (std::fs::metadata(&path)?, file.metadata()?);
        if (old.uid(), old.gid()) != (own.uid(), own.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid())).context(
                "it belongs to another user or group, whose member must be the one to do this",
            )?;
        }
        // A service may read its key by its group.
        file.set_permissions(old.permissions())?;
        for key in keys {
            file.write_all(key.expose().as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(directory)?.sync_all()?;
        Ok(())
    };
    written().with_context(|| format!("the master key file {} cannot be replaced", path.display()))
}

/// Runs `line` and gives what it prints. What it says on stderr goes to ours.
fn run(line: &str, within: Duration) -> Result<Secret, String> {
    let deadline = Instant::now() + within;
    let failed = |why: String| format!("the master key command {why}");
    let mut child = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|why| failed(format!("cannot be started: {why}")))?;
    let ended = read_output(&mut child, deadline).and_then(|text| {
        let status = wait_until(&mut child, deadline)?;
        if status.success() {
            Ok(text)
        } else {
            Err(format!("failed ({status}); its stderr says why"))
        }
    });
    if ended.is_err() {
        end(&mut child);
    }
    ended.map_err(failed)
}

fn late() -> String {
    format!("did not end within {} s", COMMAND_WITHIN.as_secs())
}

fn read_output(child: &mut Child, deadline: Instant) -> Result<Secret, String> {
    let output = child.stdout.take().ok_or("has no output")?;
    let (sender, receiver) = mpsc::channel();
    // A thread of its own, since a pipe cannot be read with a deadline. It ends with the command and whatever that started, which is killed when late.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output
            .take(SECRET_MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|_| "cannot be read")
            .map(|bytes| bytes as u64);
        let text = text_file::plain(bytes).map(Secret::new);
        let _ = sender.send((read, text));
    });
    let left = deadline.saturating_duration_since(Instant::now());
    let (read, text) = receiver.recv_timeout(left).map_err(|_| late())?;
    match read {
        Ok(bytes) if bytes > SECRET_MAX_BYTES => {
            Err(format!("printed more than {SECRET_MAX_BYTES} bytes"))
        }
        Ok(_) => text.map_err(|why| format!("prints what {why}")),
        Err(why) => Err(why.to_owned()),
    }
}

fn wait_until(child: &mut Child, deadline: Instant) -> Result<ExitStatus, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() >= deadline => return Err(late()),
            Ok(None) => std::thread::sleep(COMMAND_STEP),
            Err(why) => return Err(format!("cannot be waited for: {why}")),
        }
    }
}

/// Kills a command and all that it started.
fn end(child: &mut Child) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

/// The source that is named, if one is.
///
/// # Errors
/// When more than one is.
pub(crate) fn named(
    file: Option<&PathBuf>,
    command: Option<&String>,
) -> anyhow::Result<Option<Source>> {
    let environment = settings::variable(settings::MASTER_KEY)?;
    if environment
        .as_ref()
        .is_some_and(|text| text.starts_with('\u{FEFF}'))
    {
        bail!("PORTICO_MASTER_KEY begins with a byte order mark; set it without one");
    }
    choose(file, command, environment)
}

fn choose(
    file: Option<&PathBuf>,
    command: Option<&String>,
    environment: Option<String>,
) -> anyhow::Result<Option<Source>> {
    let named = settings::named;
    let file = file
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| (named("--master-key-file"), Source::File(path.clone())));
    let command = command
        .filter(|line| !line.trim().is_empty())
        .map(|line| (named("--master-key-command"), Source::Command(line.clone())));
    let environment = environment
        .filter(|text| !text.trim().is_empty())
        .map(|text| {
            let text = Secret::new(text);
            (settings::MASTER_KEY, Source::Environment(text))
        });
    let mut all: Vec<_> = [file, command, environment].into_iter().flatten().collect();
    if all.len() > 1 {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        return Err(anyhow!(
            "the master key is to come from {} at once, by flag, environment or configuration file; name one of them",
            names.join(" and ")
        ));
    }
    Ok(all.pop().map(|(_, source)| source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(source: &Source) -> Result<Vec<String>, String> {
        let keys = source.read()?;
        Ok(keys.iter().map(|key| key.expose().to_owned()).collect())
    }

    fn command(line: &str) -> Result<Vec<String>, String> {
        read(&Source::Command(line.to_owned()))
    }

    fn refused(found: Result<Vec<String>, String>, part: &str) {
        let why = found.expect_err("refused");
        assert!(why.contains(part), "{why}");
        assert!(!why.contains("hush"), "{why}");
    }

    #[test]
    fn a_file_is_read_if_it_is_its_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("master.key");
        let source = Source::File(path.clone());
        refused(read(&source), "cannot be read");
        std::fs::write(&path, "one\ntwo \n").expect("written");
        for (mode, part) in [
            (0o644, "mode 644"),
            (0o660, "chmod 600"),
            (0o620, "mode 620"),
        ] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("a mode");
            refused(read(&source), part);
        }
        // The group is ours.
        for mode in [0o600, 0o400, 0o440] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("a mode");
            assert_eq!(read(&source), Ok(vec!["one".to_owned(), "two".to_owned()]));
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a mode");
        std::fs::write(&path, " ".repeat(5_000)).expect("written");
        refused(read(&source), "more than 4096 bytes");
    }

    #[test]
    fn a_command_is_bounded_and_what_it_prints_is_not_told() {
        assert_eq!(
            command("echo one; echo two"),
            Ok(vec!["one".to_owned(), "two".to_owned()])
        );
        assert_eq!(command("true"), Ok(Vec::new()));
        refused(command("echo hush; exit 3"), "exit status: 3");
        refused(command("kill -9 $$"), "signal: 9");
        refused(command("yes hush"), "more than 4096 bytes");
        refused(command("printf 'hush\\377'"), "not text in UTF-8");
        refused(command("printf '\\357\\273\\277hush'"), "byte order mark");
        // Late in printing, in what it started, and in ending.
        for line in ["sleep 60", "sleep 60 & echo hush", "exec >&-; sleep 60"] {
            let (begun, within) = (Instant::now(), Duration::from_millis(100));
            let why = run(line, within).err().expect("refused");
            assert!(why.contains("did not end"), "{why}");
            assert!(
                begun.elapsed() < Duration::from_secs(50),
                "it was waited for"
            );
        }
    }

    #[test]
    fn one_source_is_named_at_most() {
        let (file, line) = (PathBuf::from("master.key"), "vault read".to_owned());
        let check =
            |file: Option<&PathBuf>, line: Option<&String>, text: Option<&str>, expected: &str| {
                let chosen = match choose(file, line, text.map(str::to_owned)) {
                    Ok(Some(source)) => source.told(),
                    Ok(None) => "none".to_owned(),
                    Err(why) => why.to_string(),
                };
                assert!(chosen.starts_with(expected), "{chosen}");
            };
        let several = "the master key is to come from --master-key-";
        check(None, None, None, "none");
        check(None, None, Some(" "), "none");
        check(Some(&PathBuf::new()), Some(&String::new()), None, "none");
        check(Some(&file), None, None, "the file master.key");
        check(None, Some(&line), None, "the master key command");
        check(None, None, Some("hush"), "PORTICO_MASTER_KEY");
        check(Some(&file), Some(&line), None, several);
        check(Some(&file), None, Some("hush"), several);
        check(None, Some(&line), Some("hush"), several);
    }

    #[test]
    fn a_file_is_replaced_whole_and_stays_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let (real, link) = (
            directory.path().join("master.key"),
            directory.path().join("link"),
        );
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        std::fs::write(&real, "old").expect("written");
        // A service may read it by its group, and does so afterwards.
        std::fs::set_permissions(&real, PermissionsExt::from_mode(0o440)).expect("a mode");
        // Of a replacement that was broken off.
        std::fs::write(directory.path().join("master.key.new"), "junk").expect("written");
        replace(&link, &[Secret::new("new"), Secret::new("old")]).expect("replaced");
        assert_eq!(
            read(&Source::File(link.clone())),
            Ok(vec!["new".to_owned(), "old".to_owned()])
        );
        assert!(link.is_symlink() && !real.is_symlink());
        let mode = |path: &Path| path.metadata().expect("it is there").mode() & 0o777;
        assert_eq!(mode(&real), 0o440);
        assert_eq!(std::fs::read_dir(&directory).expect("a listing").count(), 2);
        assert!(replace(&directory.path().join("missing"), &[]).is_err());
    }
}
