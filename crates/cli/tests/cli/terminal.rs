//! The command and a person on a pseudo-terminal.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use lucarne_testkit::scratch::Scratch;

use super::common::opened::{Name, can_open};
use super::{
    CHEAP, PASSPHRASE, code, in_session, lucarne, read, wait, with_volume, without_terminal,
};

/// A terminal with the command on it, and a person who answers.
struct Conversation {
    person: fs::File,
    terminal: PathBuf,
    child: Child,
}

impl Conversation {
    fn begin(scratch: &Scratch, line: &str) -> Option<Self> {
        Self::begin_with(without_terminal(scratch, line)?)
    }

    /// Control characters send signals.
    fn begin_with_signals(scratch: &Scratch, line: &str) -> Option<Self> {
        Self::begin_with(in_session(&["--wait", "--ctty"], scratch, line)?)
    }

    fn begin_with(mut command: Command) -> Option<Self> {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        // A process in the background would keep what it inherits.
        let mode = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let person = openpt(mode).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let terminal = PathBuf::from(name.to_str().unwrap());
        let open = || {
            use rustix::fs::OFlags;
            let mode = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = rustix::fs::open(&terminal, mode, rustix::fs::Mode::empty()).unwrap();
            Stdio::from(fs::File::from(file))
        };
        let child = command
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        Some(Self {
            person: fs::File::from(person),
            terminal,
            child,
        })
    }

    /// Reads what the terminal shows until it ends in `text`.
    fn expect(&mut self, text: &str) -> String {
        let mut shown = String::new();
        let mut byte = [0];
        while !shown.ends_with(text) {
            match self.person.read(&mut byte) {
                Ok(1) => shown.push(byte[0].into()),
                _ => panic!("the terminal shows {shown:?}, not {text:?}"),
            }
        }
        shown
    }

    fn echoes(&self) -> bool {
        let terminal = fs::File::open(&self.terminal).unwrap();
        let modes = rustix::termios::tcgetattr(&terminal).unwrap().local_modes;
        modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// Types a line that must not be seen.
    fn type_secretly(&mut self, line: &str) {
        assert!(!self.echoes(), "the terminal would show the passphrase");
        self.person
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    /// The exit code, once all that was still shown has been read.
    fn end(mut self) -> (i32, String) {
        assert!(self.echoes() || self.child.try_wait().unwrap().is_none());
        let status = wait(&mut self.child);
        assert!(self.echoes(), "the terminal stays silent");
        let mut rest = String::new();
        // A terminal that nobody holds open any more ends with an error, not with an end.
        let _ = self.person.read_to_string(&mut rest);
        (status.code().unwrap(), rest)
    }
}

#[test]
fn a_person_is_asked_again_after_a_wrong_passphrase() {
    let scratch = with_volume(b"bytes");
    let Some(mut talk) = Conversation::begin(&scratch, "-v open --test-passphrase volume") else {
        return;
    };
    talk.expect("Enter passphrase for volume: ");
    talk.type_secretly("incorrect");
    let shown = talk.expect("Enter passphrase for volume: ");
    assert!(!shown.contains("incorrect"), "{shown}");
    talk.type_secretly(PASSPHRASE);
    talk.expect("Key slot 0 unlocked.");
    assert_eq!(talk.end().0, 0);

    let line = "open --test-passphrase --tries 2 volume";
    let Some(mut talk) = Conversation::begin(&scratch, line) else {
        return;
    };
    for _ in 0..2 {
        talk.expect("Enter passphrase for volume: ");
        talk.type_secretly("incorrect");
    }
    talk.expect("no keyslot accepts this key");
    assert_eq!(talk.end().0, 2);
}

/// The process that stays in the background asks; whoever waits for the terminal sees it let go.
#[test]
fn a_volume_is_opened_in_the_background_once_a_person_has_answered() {
    if !can_open("open on a terminal") {
        return;
    }
    const PROMPT: &str = "Enter passphrase for volume: ";
    let plain = b"bytes that nobody sees before";
    let scratch = with_volume(plain);
    let before = read(&scratch.path("volume"));
    let name = Name::new("asked");
    let is_nothing_left = || !name.directory.exists() && name.status().code == Some(4);

    let line = format!("open --tries 2 volume {}", name.name);
    let Some(mut talk) = Conversation::begin(&scratch, &line) else {
        return;
    };
    for _ in 0..2 {
        let shown = talk.expect(PROMPT);
        assert!(!shown.contains("incorrect"), "{shown}");
        talk.type_secretly("incorrect");
    }
    let shown = talk.expect("no keyslot accepts this key");
    assert!(!shown.contains("incorrect"), "{shown}");
    assert_eq!(talk.end().0, 2);
    assert!(is_nothing_left());

    // Control-C at the prompt.
    let line = format!("open volume {}", name.name);
    let Some(mut talk) = Conversation::begin_with_signals(&scratch, &line) else {
        return;
    };
    talk.expect(PROMPT);
    talk.type_secretly("\u{3}");
    assert_ne!(wait(&mut talk.child).code(), Some(0));
    assert!(talk.echoes());
    assert!(is_nothing_left());

    let Some(mut talk) = Conversation::begin(&scratch, &line) else {
        return;
    };
    talk.expect(PROMPT);
    // In the foreground, and nothing is open yet.
    assert!(talk.child.try_wait().unwrap().is_none());
    assert!(!name.path().exists());
    talk.type_secretly(PASSPHRASE);
    let shown = talk.expect(name.path().to_str().unwrap());
    assert!(!shown.contains(PASSPHRASE), "{shown}");
    let (code, shown) = talk.end();
    assert_eq!(code, 0);
    assert!(!shown.contains(PASSPHRASE), "{shown}");
    assert_eq!(name.status().code, Some(0));
    assert_eq!(read(&name.path()), plain);
    let closed = name.close(&[]);
    assert_eq!((closed.code, closed.stderr.as_str()), (Some(0), ""));
    assert!(is_nothing_left());
    assert!(read(&scratch.path("volume")) == before);
}

#[test]
fn a_new_passphrase_is_asked_for_twice_after_an_uppercase_yes() {
    let scratch = Scratch::new();
    scratch.zeros("device", 20 << 20);
    let line = format!("luksFormat {} device", CHEAP.join(" "));
    for (answers, expected) in [
        (&["yes"][..], 1),
        (&["YES", "one", "another"], 2),
        (&["YES", PASSPHRASE, PASSPHRASE], 0),
    ] {
        let Some(mut talk) = Conversation::begin(&scratch, &line) else {
            return;
        };
        talk.expect("This will overwrite data on device irrevocably.");
        talk.expect("Are you sure? (Type 'yes' in capital letters): ");
        talk.person
            .write_all(format!("{}\n", answers[0]).as_bytes())
            .unwrap();
        for (answer, prompt) in answers[1..]
            .iter()
            .zip(["Enter passphrase for device: ", "Verify passphrase: "])
        {
            talk.expect(prompt);
            talk.type_secretly(answer);
        }
        assert_eq!(talk.end().0, expected, "{answers:?}");
        let is_luks = code(&lucarne(&scratch, "isLuks device", b""));
        assert_eq!(is_luks == 0, expected == 0);
    }
    let outcome = lucarne(
        &scratch,
        "open --test-passphrase device",
        PASSPHRASE.as_bytes(),
    );
    assert_eq!(code(&outcome), 0);
}

#[test]
fn a_prompt_ends_with_its_time_or_a_signal() {
    let scratch = with_volume(b"bytes");
    let line = "open --test-passphrase --timeout 1 volume";
    let Some(mut talk) = Conversation::begin(&scratch, line) else {
        return;
    };
    talk.expect("Enter passphrase for volume: ");
    talk.expect("--timeout");
    assert_eq!(talk.end().0, 1);
}

#[test]
fn an_existing_out_is_replaced_after_a_yes() {
    let scratch = with_volume(b"bytes");
    scratch.file("out", b"old");
    let line = "decrypt --key-file key volume out";
    for (answer, expected, content) in [("no", 1, &b"old"[..]), ("YES", 0, b"bytes")] {
        let Some(mut talk) = Conversation::begin(&scratch, line) else {
            return;
        };
        talk.expect("(Type 'yes' in capital letters): ");
        talk.person
            .write_all(format!("{answer}\n").as_bytes())
            .unwrap();
        assert_eq!(talk.end().0, expected);
        assert_eq!(read(&scratch.path("out")), content);
    }
}

#[test]
fn what_is_no_volume_is_said_before_a_passphrase_is_asked_for() {
    let scratch = with_volume(b"bytes");
    for line in [
        "decrypt plain out",
        "read plain",
        "open --test-passphrase plain",
    ] {
        let Some(talk) = Conversation::begin(&scratch, line) else {
            return;
        };
        let (code, shown) = talk.end();
        assert_eq!(code, 1);
        assert!(shown.contains("plain: not a LUKS volume"), "{shown}");
        assert!(!shown.contains("Enter passphrase"), "{shown}");
    }
}

/// What is lost is asked about first, in cryptsetup's words; anything but an uppercase yes changes nothing.
#[test]
fn header_verbs_ask_before_they_overwrite() {
    let scratch = with_volume(b"bytes");
    let line = "luksHeaderBackup volume --header-backup-file backup";
    assert_eq!(code(&lucarne(&scratch, line, b"")), 0);
    let original = read(&scratch.path("volume"));
    let mut damaged = original.clone();
    damaged[..4096].fill(0);
    damaged[512..520].copy_from_slice(b"EFI PART");
    scratch.file("damaged", &damaged);
    scratch.zeros("zeros", original.len() as u64);
    let uuid = "12345678-1234-1234-1234-123456789abc";
    let luks_uuid = format!("luksUUID --uuid {uuid} volume");
    for (line, file, question) in [
        (
            "luksHeaderRestore volume --header-backup-file backup",
            "volume",
            "Device volume already contains LUKS2 header. Replacing header will destroy existing keyslots.",
        ),
        (
            "luksHeaderRestore zeros --header-backup-file backup",
            "zeros",
            "Device zeros does not contain LUKS2 header. Replacing header can destroy data on that device.",
        ),
        (
            "repair damaged",
            "damaged",
            "looks like a GUID partition table too",
        ),
        (
            &luks_uuid,
            "volume",
            "Do you really want to change UUID of device?",
        ),
        (
            "luksHeaderRestore volume --header-backup-file backup",
            "volume",
            "WARNING: real device header has different UUID than backup!",
        ),
    ] {
        let before = read(&scratch.path(file));
        for (answer, expected) in [("yes", 1), ("YES", 0)] {
            let Some(mut talk) = Conversation::begin(&scratch, line) else {
                return;
            };
            talk.expect(question);
            talk.expect("Are you sure? (Type 'yes' in capital letters): ");
            talk.person
                .write_all(format!("{answer}\n").as_bytes())
                .unwrap();
            assert_eq!(talk.end().0, expected, "{line}");
            let same = read(&scratch.path(file)) == before;
            assert!(expected == 0 || same, "{line}");
        }
    }
    assert!(read(&scratch.path("volume")) == original);
    for file in ["zeros", "damaged"] {
        assert_eq!(code(&lucarne(&scratch, &format!("isLuks {file}"), b"")), 0);
    }
}
