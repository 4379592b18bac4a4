//! The command line: one table of options, from which it is read and described and which
//! trackalert(1) is held against.

use std::ffi::OsString;
use std::path::{self, Path, PathBuf};

use getopts::{Fail, Matches};

use crate::error::{Error, Result};

/// Whether an option takes an argument, and what that is called.
#[derive(Clone, Copy)]
pub enum Argument {
    No,
    May(&'static str),
    Must(&'static str),
}

/// An option of the command line.
pub struct Opt {
    /// May be empty.
    pub short: &'static str,
    pub long: &'static str,
    pub argument: Argument,
    /// One sentence, the first of the option's entry in the manual page.
    pub help: &'static str,
}

const fn flag(short: &'static str, long: &'static str, help: &'static str) -> Opt {
    Opt { short, long, argument: Argument::No, help }
}

const fn with(short: &'static str, long: &'static str, argument: &'static str, help: &'static str) -> Opt {
    Opt { short, long, argument: Argument::Must(argument), help }
}

/// An option that is too rare to have a letter.
const fn long(long: &'static str, argument: &'static str, help: &'static str) -> Opt {
    Opt { short: "", long, argument: Argument::Must(argument), help }
}

const fn may(short: &'static str, long: &'static str, argument: &'static str, help: &'static str) -> Opt {
    Opt { short, long, argument: Argument::May(argument), help }
}

/// Every option.
pub static OPTIONS: &[Opt] = &[
    may("c", "client", "FILE", "Be the console of a running daemon."),
    with("C", "config", "FILE", "Load the configuration from a file."),
    with("R", "regexes", "FILE", "Parse User-Agents by the patterns of a file."),
    flag("s", "systemd", "Run in the foreground without a console, for a supervisor."),
    flag("d", "daemon", "Run in the background."),
    with("e", "execute", "COMMAND", "Have a running daemon run a command, and print the answer."),
    with("p", "pidfile", "FILE", "Write the number of the process to a file and lock it."),
    flag("D", "docker", "Run in the foreground and log to stdout with the time."),
    with("f", "facility", "NAME", "Log to this facility of syslog."),
    with("l", "loglevel", "NUMBER", "Log to stdout up to this level, from 0 to 7."),
    flag("v", "verbose", "Log more, and every report."),
    flag("t", "check-config", "Run the configuration without starting anything."),
    long("import", "FILE", "Fill the report store with the reports of a file."),
    long("export", "FILE", "Write the reports of the report store to a file."),
    long("replay", "FILE", "Run the policies over the reports of a file, and say what they would raise."),
    long("replay-store", "DAYS", "Do the same with the last days of the report store."),
    long("policies", "SET", "Run the policies of a set in a replay, whatever the configuration says."),
    flag("", "json", "Print each alert of a replay as a line of JSON."),
    long("repair-store", "FILE", "Save what can be saved of a damaged report store."),
    flag("V", "version", "Print the versions of the program and of its libraries."),
    flag("h", "help", "Describe the options."),
];

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Action {
    Help,
    Version,
    /// Run the configuration and start nothing.
    Check(Options),
    /// Fill the report store.
    Import(Options, Stream),
    /// Write what the report store holds.
    Export(Options, Stream),
    /// Run the policies over reports of the past.
    Replay(Options, Replay),
    /// Save what can be saved of a damaged report store.
    Repair(PathBuf),
    /// Be the console of a running daemon.
    Console(Options),
    /// Have a running daemon run a command.
    Execute(Options, String),
    /// Run the daemon.
    Serve(Options),
}

/// What is replayed, and how that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub from: Past,
    /// A set of policies to use beside what the configuration says.
    pub policies: Option<String>,
    pub is_json: bool,
}

/// Reports of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Past {
    File(Stream),
    /// So many days of the report store.
    Store(u32),
}

/// What is read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input or output.
    Standard,
    /// Absolute, because the working directory changes.
    File(PathBuf),
}

/// How the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the foreground without a console.
    Foreground,
    /// The same, with the time before each line on stdout.
    Docker,
    /// In the background.
    Daemon,
    /// In the foreground with a Lua prompt, or as a filter for commands.
    Prompt,
}

/// What an action needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub config: Option<PathBuf>,
    /// Absolute, because the working directory changes.
    pub regexes: Option<PathBuf>,
    pub mode: Mode,
    pub pid_file: Option<PathBuf>,
    pub facility: Option<String>,
    /// A level of syslog.
    pub level: Option<u8>,
    pub verbose: bool,
}

/// Reads the command line, without the name of the program.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Action> {
    let found = options().parse(args).map_err(explain)?;
    let config = config(&found)?;
    if found.opt_present("help") {
        return Ok(Action::Help);
    }
    if found.opt_present("version") {
        return Ok(Action::Version);
    }
    let options = Options {
        config,
        regexes: found.opt_str("regexes").map(|file| absolute("regexes", &file)).transpose()?,
        mode: mode(&found)?,
        pid_file: found.opt_str("pidfile").map(PathBuf::from),
        facility: found.opt_str("facility"),
        level: found.opt_str("loglevel").map(|text| level(&text)).transpose()?,
        verbose: found.opt_present("verbose"),
    };
    let alone = ALONE.iter().find(|name| found.opt_present(name));
    let others = ["client", "execute", "daemon", "docker", "systemd", "pidfile"];
    if let Some(alone) = alone
        && let Some(other) =
            others.iter().chain(ALONE).find(|other| *other != alone && found.opt_present(other))
    {
        return Err(Error::Usage(format!("--{alone} starts nothing, so --{other} has no meaning")));
    }
    if found.opt_present("check-config") {
        return Ok(Action::Check(options));
    }
    if let Some(file) = found.opt_str("import") {
        return Ok(Action::Import(options, stream("import", &file)?));
    }
    if let Some(file) = found.opt_str("export") {
        return Ok(Action::Export(options, stream("export", &file)?));
    }
    let replay = Replay {
        from: match (found.opt_str("replay"), found.opt_str("replay-store")) {
            (Some(file), _) => Past::File(stream("replay", &file)?),
            (None, days) => Past::Store(days.map_or(Ok(0), |days| self::days(&days))?),
        },
        policies: found.opt_str("policies"),
        is_json: found.opt_present("json"),
    };
    if replay.from != Past::Store(0) {
        return Ok(Action::Replay(options, replay));
    }
    if let Some(option) = ["policies", "json"].into_iter().find(|name| found.opt_present(name)) {
        return Err(Error::Usage(format!("--{option} is for --replay and --replay-store")));
    }
    if let Some(file) = found.opt_str("repair-store") {
        return Ok(Action::Repair(file.into()));
    }
    Ok(match found.opt_str("execute") {
        Some(command) => Action::Execute(options, command),
        None if found.opt_present("client") => Action::Console(options),
        None => Action::Serve(options),
    })
}

/// Options that say all of what is to be done.
const ALONE: &[&str] = &["check-config", "import", "export", "replay", "replay-store", "repair-store"];

/// The configuration: `-C FILE`, `-c FILE`, `-cFILE` and `--client FILE` all name it.
fn config(found: &Matches) -> Result<Option<PathBuf>> {
    let of_client = found.opt_str("client");
    // A long option with an argument that it may have takes it only after `=`.
    let takes_free = found.opt_present("client") && of_client.is_none();
    let (file, extra) = match found.free.split_first() {
        Some((file, extra)) if takes_free => (Some(file.clone()), extra.first()),
        _ => (of_client, found.free.first()),
    };
    if let Some(extra) = extra {
        return Err(Error::Usage(format!("{extra}: not an option")));
    }
    match (file, found.opt_str("config")) {
        (Some(_), Some(_)) => Err(Error::Usage("-c and -C both name a configuration".into())),
        (file, config) => Ok(file.or(config).map(PathBuf::from)),
    }
}

fn options() -> getopts::Options {
    let mut options = getopts::Options::new();
    for option in OPTIONS {
        match option.argument {
            Argument::Must(name) => options.optopt(option.short, option.long, option.help, name),
            Argument::May(name) => options.optflagopt(option.short, option.long, option.help, name),
            Argument::No => options.optflagmulti(option.short, option.long, option.help),
        };
    }
    options
}

fn mode(found: &Matches) -> Result<Mode> {
    match (found.opt_present("daemon"), found.opt_present("docker"), found.opt_present("systemd")) {
        (true, false, false) => Ok(Mode::Daemon),
        (true, _, _) => Err(Error::Usage("-d runs in the background, -s and -D in the foreground".into())),
        (_, true, _) => Ok(Mode::Docker),
        (_, _, true) => Ok(Mode::Foreground),
        _ => Ok(Mode::Prompt),
    }
}

fn absolute(option: &str, file: &str) -> Result<PathBuf> {
    path::absolute(file).map_err(|e| Error::Usage(format!("--{option}: {e}")))
}

fn stream(option: &str, file: &str) -> Result<Stream> {
    if file == "-" { Ok(Stream::Standard) } else { absolute(option, file).map(Stream::File) }
}

fn days(text: &str) -> Result<u32> {
    let days = text.parse().ok().filter(|days| *days > 0);
    days.ok_or_else(|| Error::Usage(format!("--replay-store: {text}: number of days expected")))
}

fn level(text: &str) -> Result<u8> {
    let level = text.parse().ok().filter(|level| *level <= 7);
    level.ok_or_else(|| Error::Refused(format!("Bad log level ({text}) - must be an integer from 0 to 7")))
}

fn explain(fail: Fail) -> Error {
    let dashed =
        |name: String| if name.chars().count() == 1 { format!("-{name}") } else { format!("--{name}") };
    Error::Usage(match fail {
        Fail::UnrecognizedOption(name) => format!("{}: no such option", dashed(name)),
        Fail::ArgumentMissing(name) => format!("{}: needs an argument", dashed(name)),
        Fail::UnexpectedArgument(name) => format!("{}: takes no argument", dashed(name)),
        Fail::OptionDuplicated(name) => format!("{}: given twice", dashed(name)),
        Fail::OptionMissing(name) => format!("{}: missing", dashed(name)),
    })
}

/// What `-h` prints.
pub fn usage() -> String {
    options().usage("Usage: trackalert [OPTION]...\n\nTrack logins and alert on abuse. See trackalert(1).")
}

/// The configuration when the command line names none: the first of these that is there.
pub fn default_config<'a>() -> Option<&'a Path> {
    const PLACES: [&str; 3] =
        ["/etc/wforce/trackalert.conf", "/etc/trackalert/trackalert.conf", "/etc/trackalert.conf"];
    PLACES.into_iter().map(Path::new).find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual;

    fn read(line: &str) -> Result<Action> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_command_line_is_read() {
        let expected = Options {
            config: Some("x.conf".into()),
            regexes: Some("/x.yaml".into()),
            mode: Mode::Foreground,
            pid_file: Some("x.pid".into()),
            facility: Some("local0".into()),
            level: Some(3),
            verbose: true,
        };
        for line in [
            "-s -C x.conf -R /x.yaml -p x.pid -f local0 -l 3 -v",
            "--systemd --config=x.conf --regexes=/x.yaml --pidfile x.pid --facility local0 --loglevel=3 --verbose",
            "-svl3 -Cx.conf -R/x.yaml -px.pid -flocal0",
        ] {
            match read(line).unwrap() {
                Action::Serve(options) => assert_eq!(options, expected, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        for (line, mode) in
            [("", Mode::Prompt), ("-d", Mode::Daemon), ("-D", Mode::Docker), ("-D -s", Mode::Docker)]
        {
            assert!(matches!(read(line).unwrap(), Action::Serve(options) if options.mode == mode), "{line}");
        }
        assert!(matches!(read("-t -C x").unwrap(), Action::Check(_)));
        for line in ["-c x", "-cx", "-c -C x", "-C x -c", "--client x", "--client=x", "-C x --client"] {
            let Action::Console(options) = read(line).unwrap() else { panic!("{line}") };
            assert_eq!(options.config, Some("x".into()), "{line}");
        }
        assert!(matches!(read("-c").unwrap(), Action::Console(options) if options.config.is_none()));
        for line in ["-e stats() -C x", "-C x -c -e stats()", "-c x -e stats()", "--client -e stats() -C x"] {
            let Action::Execute(options, command) = read(line).unwrap() else { panic!("{line}") };
            assert_eq!((options.config, command.as_str()), (Some("x".into()), "stats()"), "{line}");
        }
        let here = std::env::current_dir().unwrap();
        assert!(
            matches!(read("-t -R x").unwrap(), Action::Check(options) if options.regexes == Some(here.join("x")))
        );
        for (line, expected) in
            [("--import -", Stream::Standard), ("-C x --import=x", Stream::File(here.join("x")))]
        {
            assert!(matches!(read(line).unwrap(), Action::Import(_, from) if from == expected), "{line}");
            let line = line.replace("import", "export");
            assert!(matches!(read(&line).unwrap(), Action::Export(_, to) if to == expected), "{line}");
        }
        assert_eq!(read("--repair-store x.db").unwrap(), Action::Repair("x.db".into()));
        assert_eq!(read("-V -s").unwrap(), Action::Version);
        assert_eq!(read("-s --help").unwrap(), Action::Help);
    }

    #[test]
    fn a_bad_command_line_says_what_is_bad() {
        for (line, message, status) in [
            ("-x", "-x: no such option", 2),
            ("--bogus", "--bogus: no such option", 2),
            ("-C", "-C: needs an argument", 2),
            ("--systemd=1", "--systemd: takes no argument", 2),
            ("-C a -C b", "--config: given twice", 2),
            ("-s extra", "extra: not an option", 2),
            ("-c x extra", "extra: not an option", 2),
            ("-c x -C y", "-c and -C both name a configuration", 2),
            ("-e", "-e: needs an argument", 2),
            ("-t -e x", "--check-config starts nothing, so --execute has no meaning", 2),
            ("-d --import x", "--import starts nothing, so --daemon has no meaning", 2),
            ("--export x --import x", "--import starts nothing, so --export has no meaning", 2),
            ("--export", "--export: needs an argument", 2),
            ("--export=", "--export: cannot make an empty path absolute", 2),
            ("-d --repair-store x", "--repair-store starts nothing, so --daemon has no meaning", 2),
            ("-d -s", "-d runs in the background, -s and -D in the foreground", 2),
            ("-l abc", "Bad log level (abc) - must be an integer from 0 to 7", 1),
            ("-l 8", "Bad log level (8) - must be an integer from 0 to 7", 1),
            ("-l 3x", "Bad log level (3x) - must be an integer from 0 to 7", 1),
        ] {
            let error = read(line).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.status()), (message, status), "{line}");
        }
    }

    #[test]
    fn the_manual_has_every_option_and_no_other() {
        let entry = |option: &Opt| {
            let argument = match option.argument {
                Argument::Must(name) => format!(" Ar {name}"),
                Argument::May(name) => format!(" Op Ar {name}"),
                Argument::No => String::new(),
            };
            let short =
                if option.short.is_empty() { String::new() } else { format!("Fl {} , ", option.short) };
            (format!("{short}Fl -{}{argument}", option.long), option.help.to_owned())
        };
        manual::check("trackalert.1", "Fl", OPTIONS.iter().map(entry));
    }

    #[test]
    fn the_usage_names_every_option() {
        let usage = usage();
        for option in OPTIONS {
            let short = if option.short.is_empty() { "    ".into() } else { format!("-{}, ", option.short) };
            assert!(usage.contains(&format!("{short}--{}", option.long)), "{}", option.long);
            assert!(
                usage.split_whitespace().collect::<Vec<_>>().join(" ").contains(option.help),
                "{}",
                option.help
            );
        }
        assert_eq!(usage.lines().filter(|line| line.trim_start().starts_with('-')).count(), OPTIONS.len());
    }
}
