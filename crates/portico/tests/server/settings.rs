//! Settings from flags, the environment and files, as the real binary takes them.
//!
//! Method: tables of what people set, with what they are told.

use crate::support;

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use support::{Process, portico, private};

/// Commands, and all variables that they take, as their help says.
const COMMANDS: [&[&str]; 15] = [
    &["dev"],
    &["serve"],
    &["sandbox"],
    &["keys"],
    &["keys", "create"],
    &["keys", "list"],
    &["store", "migrate"],
    &["store", "copy"],
    &["backup"],
    &["doctor"],
    &["listen"],
    &["openapi"],
    &["keys", "rotate-master"],
    &["audit", "verify"],
    &["store", "check"],
];

fn variables(directory: &Path) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = ["PORTICO_LOG", "PORTICO_LOG_FORMAT", "PORTICO_MASTER_KEY"]
        .map(str::to_owned)
        .into();
    for command in COMMANDS {
        let (help, _, _) = portico(directory, &[], &[command, &["--help"]].concat());
        let names = help
            .split("[env: ")
            .skip(1)
            .map(|rest| rest.split(['=', ']']).next().unwrap_or_default().to_owned());
        found.extend(names);
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

#[test]
fn a_variable_that_is_set_to_nothing_is_unset_everywhere() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let variables = variables(directory);
    for arguments in [
        &["serve"][..],
        &["serve", "--config", "missing.toml"],
        &["serve", "--help"],
        &["dev", "--sandbox-url", "ftp://nowhere", "--listen", "0"],
        &["sandbox", "--listen", "nowhere"],
        &["keys", "list"],
        &["keys", "create", "--name", "one", "--data-dir", "missing"],
        &["store", "copy"],
        &["backup", "one.db", "--data-dir", "missing"],
        &["doctor", "--data-dir", "missing"],
        &["listen", "--forward-to", "nowhere"],
        &["audit", "verify", "--data-dir", "missing"],
        &["openapi"],
    ] {
        let unset = portico(directory, &[], arguments);
        for blank in ["", " "] {
            let settings: Vec<(&str, &str)> = variables
                .iter()
                .map(|name| (name.as_str(), blank))
                .collect();
            let (out, err, code) = portico(directory, &settings, arguments);
            // A help screen shows what variables are set to.
            let out = out.replace(&format!("={blank}]"), "=]");
            assert_eq!((out, err, code), unset, "{arguments:?}");
        }
    }
}

#[test]
fn a_message_names_the_variable_that_is_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    private(&directory.join("master.key"), &"ab".repeat(32));
    let file = ("PORTICO_MASTER_KEY_FILE", "master.key");
    let command = ("PORTICO_MASTER_KEY_COMMAND", "cat master.key");
    for (settings, arguments, named, flag) in [
        (
            &[("PORTICO_LISTEN", "nowhere")][..],
            &["serve"][..],
            "PORTICO_LISTEN",
            "--listen",
        ),
        (
            &[("PORTICO_LISTEN", "nowhere")],
            &["dev"],
            "PORTICO_LISTEN",
            "--listen",
        ),
        (
            &[("PORTICO_SANDBOX_LISTEN", "1.2.3.4.5:1")],
            &["sandbox"],
            "PORTICO_SANDBOX_LISTEN",
            "--listen",
        ),
        (
            &[("PORTICO_ROLE", "both")],
            &["serve"],
            "PORTICO_ROLE",
            "--role",
        ),
        (
            &[("PORTICO_ROLE", "api")],
            &["serve"],
            "PORTICO_ROLE",
            "--role",
        ),
        (
            &[("PORTICO_CALLS_MAX", "0")],
            &["serve"],
            "PORTICO_CALLS_MAX",
            "--calls-max",
        ),
        (
            &[("PORTICO_TRUSTED_PROXIES", "10.0.0.0/8,nginx")],
            &["serve"],
            "PORTICO_TRUSTED_PROXIES",
            "--trusted-proxies",
        ),
        (
            &[("PORTICO_WEBHOOK_ALLOW_HTTP", "perhaps")],
            &["serve"],
            "PORTICO_WEBHOOK_ALLOW_HTTP",
            "--webhook-allow-http",
        ),
        (
            &[("PORTICO_STORE_READERS", "many")],
            &["keys", "list"],
            "PORTICO_STORE_READERS",
            "--store-readers",
        ),
        (
            &[
                ("PORTICO_SANDBOX_URL", "http://x"),
                ("PORTICO_SANDBOX_LISTEN", "0"),
            ],
            &["dev"],
            "PORTICO_SANDBOX_URL",
            "--sandbox-url",
        ),
        (
            &[("PORTICO_SANDBOX_URL", "ftp://x")],
            &["dev", "--listen", "0"],
            "PORTICO_SANDBOX_URL",
            "--sandbox-url",
        ),
        (
            &[("PORTICO_VENDOR_URLS", "ftp://x")],
            &["serve"],
            "PORTICO_VENDOR_URLS",
            "--vendor-url",
        ),
        (
            &[file, command],
            &["serve"],
            "PORTICO_MASTER_KEY_FILE",
            "--master-key-file",
        ),
        (
            &[file, ("PORTICO_MASTER_KEY", "x")],
            &["serve"],
            "PORTICO_MASTER_KEY_FILE and PORTICO_MASTER_KEY",
            "--master-key-file",
        ),
        (
            &[
                ("PORTICO_STORE", "postgres://one/leads"),
                ("PORTICO_DATA_DIR", "kept"),
            ],
            &["serve"],
            "PORTICO_DATA_DIR and PORTICO_STORE",
            "--data-dir",
        ),
        (
            &[("PORTICO_STORE", "postgres://one/leads")],
            &["serve", "--data-dir", "kept"],
            "--data-dir and PORTICO_STORE",
            "--store ",
        ),
        (
            &[("PORTICO_SERVER", "nowhere")],
            &["listen", "--forward-to", "http://127.0.0.1:1"],
            "PORTICO_SERVER",
            "--server",
        ),
    ] {
        let (_, told, code) = portico(directory, settings, arguments);
        assert_ne!(code, Some(0), "{settings:?}");
        // Usage lists flags, whatever is wrong.
        let told = told.split("\nUsage:").next().unwrap_or_default().to_owned();
        assert!(told.contains(named), "{settings:?}: {told}");
        assert!(!told.contains(flag), "{settings:?}: {told}");
    }
    // A flag that is wrong is named as it was written, whatever the environment has.
    let settings = [("PORTICO_LISTEN", "127.0.0.1:0")];
    let (_, told, _) = portico(directory, &settings, &["serve", "--listen", "nowhere"]);
    assert!(told.contains("--listen"), "{told}");
    assert!(!told.contains("PORTICO_LISTEN"), "{told}");
}

#[test]
fn unknown_variables_are_warned_of() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, value, parts) in [
        (
            "PORTICO_LISTN",
            "s3cret",
            &["WARN", "PORTICO_LISTN", "PORTICO_LISTEN"][..],
        ),
        (
            "PORTICO_MASTERKEY",
            "s3cret",
            &["PORTICO_MASTERKEY", "PORTICO_MASTER_KEY"],
        ),
        (
            "PORTICO_COLOUR",
            "s3cret",
            &["PORTICO_COLOUR", "has no effect"],
        ),
        ("PORTICO_TEST_STORE", "sqlite", &[]),
        ("PORTICO_BENCH_STORE", "postgres", &[]),
        ("PORTICO_PORT_80_TCP_ADDR", "10.0.0.1", &[]),
        ("PORTICO_LISTEN", "127.0.0.1:1", &[]),
    ] {
        let (_, told, code) = portico(directory.path(), &[(name, value)], &["openapi"]);
        assert_eq!(code, Some(0), "{told}");
        for part in parts {
            assert!(told.contains(part), "{name}: {told}");
        }
        assert!(!told.contains("s3cret"), "{told}");
        assert!(!parts.is_empty() || told.is_empty(), "{name}: {told}");
    }
}

#[test]
fn how_to_log_is_understood_or_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, value, part) in [
        (
            "PORTICO_LOG",
            "warning",
            "PORTICO_LOG is not understood: `warning` is not a level",
        ),
        ("PORTICO_LOG", "WARN,foo=", "an empty level"),
        ("PORTICO_LOG", "delivry=debug", "did you mean `delivery`?"),
        ("PORTICO_LOG_FORMAT", "xml", "PORTICO_LOG_FORMAT is `xml`"),
    ] {
        let (_, told, code) = portico(directory.path(), &[(name, value)], &["openapi"]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_place_to_listen_is_taken_as_people_write_it() {
    let mut forms = vec![
        ("localhost:0", "127.0.0.1:"),
        (":0", "127.0.0.1:"),
        ("0", "127.0.0.1:"),
        ("127.0.0.1:0", "127.0.0.1:"),
        ("0.0.0.0:0", "0.0.0.0:"),
    ];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        forms.push(("[::1]:0", "[::1]:"));
    }
    let directory = tempfile::tempdir().expect("a directory");
    for (place, (form, expected)) in forms.into_iter().enumerate() {
        let sandbox = Process::start(&["sandbox", "--json", "--listen", form]);
        let address = sandbox.address("sandbox_url");
        assert!(address.starts_with(expected), "{form}: {address}");
        let data_dir = directory.path().join(place.to_string());
        let arguments = [
            "dev",
            "--json",
            "--listen",
            form,
            "--sandbox-listen",
            form,
            "--data-dir",
            data_dir.to_str().expect("a path in UTF-8"),
        ];
        let server = Process::start(&arguments);
        for member in ["base_url", "sandbox_url"] {
            let address = server.address(member);
            assert!(address.starts_with(expected), "{form}: {address}");
        }
    }
    // What is taken by somebody else is told with how it was named.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let text = format!("listen = 'localhost:{port}'\ndata_dir = 'kept'\nmaster_key_file = 'key'\n");
    std::fs::write(directory.path().join("portico.toml"), text).expect("written");
    private(&directory.path().join("key"), &"ab".repeat(32));
    let config = ["serve", "--config", "portico.toml"];
    let as_variable = [("PORTICO_LISTEN", port.as_str())];
    for (settings, arguments, part) in [
        (&[][..], &config[..], "listen in the configuration file"),
        (&as_variable[..], &config[..], "(PORTICO_LISTEN)"),
        (&as_variable[..], &["dev"][..], "(PORTICO_LISTEN)"),
        (&[][..], &["sandbox", "--listen", &port], "(--listen)"),
        (
            &[][..],
            &["sandbox", "--listen", "no-such-host.invalid:0"],
            "no-such-host.invalid is not known",
        ),
    ] {
        let (_, told, code) = portico(directory.path(), settings, arguments);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_byte_order_mark_is_named_in_every_file_of_text() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    private(&directory.join("good.key"), &"ab".repeat(32));
    let marked: Vec<u8> = [b"\xEF\xBB\xBF".as_slice(), "ab".repeat(32).as_bytes()].concat();
    let wide: Vec<u8> = [b"\xFF\xFE".as_slice(), b"a\0b\0"].concat();
    for bytes in [&marked, &wide] {
        let path = directory.join("marked");
        std::fs::write(&path, bytes).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a mode");
        for arguments in [
            &["serve", "--master-key-file", "marked"][..],
            &["serve", "--config", "marked"],
            &["serve", "--store-file", "marked"],
            &[
                "serve",
                "--vocabulary",
                "marked",
                "--master-key-file",
                "good.key",
            ],
            &["openapi", "--vocabulary", "marked"],
            &["serve", "--tls-cert", "marked", "--tls-key", "good.key"],
            &["doctor", "--config", "marked"],
            &["keys", "list", "--store-file", "marked"],
            &["serve", "--master-key-command", "cat marked"],
        ] {
            let (_, told, code) = portico(directory, &[], arguments);
            assert_eq!(code, Some(1), "{arguments:?}: {told}");
            assert!(told.contains("byte order mark"), "{arguments:?}: {told}");
            assert!(told.contains("save it as UTF-8"), "{arguments:?}: {told}");
            assert!(!told.contains("abab"), "{told}");
        }
    }
    let settings = [("PORTICO_MASTER_KEY", "\u{FEFF}abab")];
    let (_, told, _) = portico(directory, &settings, &["serve"]);
    assert!(told.contains("byte order mark"), "{told}");
}

/// Commands with options that name files to read, and what else they need to get as far as that.
const FILE_OPTIONS: [(&[&str], &[&str]); 16] = [
    (&["serve"], &["--config"]),
    (&["serve"], &["--vocabulary"]),
    (&["serve"], &["--store-file"]),
    (&["serve"], &["--master-key-file"]),
    (&["serve", "--tls-key", "good.key"], &["--tls-cert"]),
    (&["serve", "--tls-cert", "good.key"], &["--tls-key"]),
    (&["dev", "--data-dir", "kept"], &["--vocabulary"]),
    (&["sandbox"], &["--journal"]),
    (&["openapi"], &["--vocabulary"]),
    (&["keys", "list"], &["--store-file", "--master-key-file"]),
    (&["doctor"], &["--config", "--store-file"]),
    (&["store", "migrate"], &["--store-file"]),
    (&["store", "copy"], &["--to-file", "--master-key-file"]),
    (
        &["keys", "rotate-master", "--data-dir", "kept"],
        &["--new-master-key-file", "--master-key-file", "--store-file"],
    ),
    (
        &["audit", "verify"],
        &["--store-file", "--master-key-file", "--head-file"],
    ),
    (
        &[
            "serve",
            "--data-dir",
            "kept",
            "--master-key-file",
            "good.key",
        ],
        &["--audit-head-file"],
    ),
];

#[test]
fn no_error_repeats_what_is_in_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    private(&directory.join("good.key"), &"ab".repeat(32));
    std::fs::create_dir(directory.join("kept")).expect("a directory");
    let settings = [
        "listen",
        "store_readers",
        "role",
        "trusted_proxies",
        "vendor_urls",
        "webhook_allow_http",
        "webhook_networks",
        "webhook_ports",
        "requests_per_minute",
        "connections_per_address",
        "idle_timeout_s",
        "log",
        "calls_max",
        "retain_writes_days",
        "retain_attempts_days",
    ];
    // For every option; those behind them for options whose files are parsed; the rest for settings.
    let of_all = [
        "0123hush",
        "hush=\n",
        "aws_secret = \"hush\"\n",
        "postgres://hush:hush@/hush?hush=hush\n",
        "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n",
    ];
    let of_parsed = [
        "0123hush\n",
        "PORTICO_MASTER_KEY=hush\n",
        "[hush]\nhush = \"hush, expected hush\"\n",
        "[knock]\npets = 'hush'\n",
        "[knock.pets]\nhush = ''\n",
        "[knock.pets]\nhush = true\n",
        "[knock.pets]\nCAT = { hush = 'hush' }\n",
        "[knock.hush]\nhush = 'hush'\n",
        "{\"hush\":\"hush\"}\n",
        "{\"prospectId\":\"hush\"}\n",
        "\"hush\"\n",
        "postgres://hush\n",
        "postgres://me:hush@db/leads@hush\n",
    ];
    let path = directory.join("secret");
    let check = |command: &[&str], option: &str, content: &str| {
        private(&path, content);
        let arguments = [command, &[option, "secret"]].concat();
        let (out, told, code) = portico(directory, &[], &arguments);
        assert_ne!(code, Some(0), "{arguments:?}, {content:?}: {out}{told}");
        assert!(!told.contains("hush"), "{arguments:?}, {content:?}: {told}");
        let kept = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(kept, content, "{arguments:?}");
    };
    for (command, options) in FILE_OPTIONS {
        for option in options {
            for content in of_all {
                check(command, option, content);
            }
            let is_parsed = ["openapi", "sandbox"].contains(&command[0])
                || (command[0] == "serve" && ["--config", "--store-file"].contains(option));
            for content in of_parsed.iter().filter(|_| is_parsed) {
                check(command, option, content);
            }
        }
    }
    for name in settings {
        for value in ["'hush'", "['hush']", "['https://me:hush@crm.example.com']"] {
            check(&["serve"], "--config", &format!("{name} = {value}\n"));
        }
    }
}

#[test]
fn every_option_that_names_a_file_is_tried_on_a_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let tried: BTreeSet<&str> = FILE_OPTIONS
        .iter()
        .flat_map(|(_, options)| options.iter().copied())
        .collect();
    for command in COMMANDS {
        let (help, _, _) = portico(directory.path(), &[], &[command, &["--help"]].concat());
        for line in help.lines().filter(|line| line.contains("<FILE>")) {
            let option = line.split_whitespace().find(|word| word.starts_with("--"));
            // An argument is a database or a file to write.
            let Some(option) = option else { continue };
            assert!(tried.contains(option), "{command:?}: {option}");
        }
    }
}
