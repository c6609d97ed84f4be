//! NBD servers beside each other: ours with the plaintext of a volume, others with a plain file and with LUKS1.
//!
//! ```text
//! cargo run --release -p lucarne-benches --bin doors -- [--size 2G] [--rounds 5] [--dir DIR] [--only WORDS]
//! ```
//!
//! `--only lucarne,4 KiB` leaves out the servers and the workloads whose names hold none of these words, as long as
//! one of the same kind does.
//!
//! Every round starts every server once for every workload, in rotating order, its image in the page cache.
//! Printed is each workload's median time, or rate, its spread, and the ratio to `nbdkit file` on the plain image:
//! above 1 is faster. The last column is the most anonymous memory of the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use lucarne_benches::whole::{
    Arguments, is_installed, median, memory_kib, parse, report, run_to_end, shell, warm,
};

const PASSPHRASE: &str = "not a secret, a benchmark";

/// How long a workload of fio runs.
const FIO_SECONDS: u32 = 3;

struct Door {
    name: &'static str,
    image: &'static str,
    /// Serves `image` on the unix socket `socket`.
    command: fn(&Arguments) -> Command,
}

const DOORS: &[Door] = &[
    Door {
        name: "nbdkit file, plain",
        image: "plain",
        command: |_| shell("exec nbdkit -f -U \"$PWD/socket\" file plain"),
    },
    Door {
        name: "lucarne serve",
        image: "luks2",
        command: |arguments| {
            let mut command = Command::new(&arguments.lucarne);
            command.args(["serve", "luks2", "--nbd", "unix:socket", "-d", "key"]);
            command
        },
    },
    Door {
        name: "lucarne serve, LUKS1",
        image: "luks1",
        command: |arguments| {
            let mut command = Command::new(&arguments.lucarne);
            command.args(["serve", "luks1", "--nbd", "unix:socket", "-d", "key"]);
            command
        },
    },
    Door {
        name: "nbdkit file --filter=luks, LUKS1",
        image: "luks1",
        command: |_| {
            shell("exec nbdkit -f -U \"$PWD/socket\" --filter=luks file luks1 passphrase=+key")
        },
    },
    Door {
        name: "qemu-nbd, plain",
        image: "plain",
        command: |_| shell("exec qemu-nbd -t -e 16 -k \"$PWD/socket\" -f raw plain"),
    },
    Door {
        name: "qemu-nbd, LUKS1",
        image: "luks1",
        command: |_| {
            shell(
                "exec qemu-nbd -t -e 16 -k \"$PWD/socket\" --object secret,id=s,file=key \
                 --image-opts driver=luks,key-secret=s,file.driver=file,file.filename=luks1",
            )
        },
    },
];

struct Work {
    name: &'static str,
    program: &'static str,
    run: fn(&Path) -> Figure,
}

/// Of which more is better.
type Figure = f64;

const WORKS: &[Work] = &[
    Work {
        name: "nbdcopy read",
        program: "nbdcopy",
        run: |dir| rate(dir, "nbdcopy \"$URI\" null:"),
    },
    Work {
        name: "nbdcopy write",
        program: "nbdcopy",
        run: |dir| rate(dir, "nbdcopy source \"$URI\""),
    },
    Work {
        name: "fio 1 MiB depth 4 read",
        program: "fio",
        run: |dir| fio(dir, "--rw=read --bs=1M --iodepth=4"),
    },
    Work {
        name: "fio 1 MiB depth 4 write",
        program: "fio",
        run: |dir| fio(dir, "--rw=write --bs=1M --iodepth=4"),
    },
    Work {
        name: "fio 4 KiB random depth 32 read",
        program: "fio",
        run: |dir| fio(dir, "--rw=randread --bs=4k --iodepth=32"),
    },
    Work {
        name: "fio 4 KiB random depth 32 write",
        program: "fio",
        run: |dir| fio(dir, "--rw=randwrite --bs=4k --iodepth=32"),
    },
    Work {
        name: "fio 64 KiB random, 16 connections, depth 32, read and write",
        program: "fio",
        run: |dir| fio(dir, "--rw=randrw --bs=64k --iodepth=32 --numjobs=16"),
    },
];

fn main() -> ExitCode {
    let mut arguments = match parse(std::env::args().skip(1), 2 << 30) {
        Ok(arguments) => arguments,
        Err(message) => {
            report(&format!("doors: {message}"));
            return ExitCode::FAILURE;
        }
    };
    arguments.lucarne = fs::canonicalize(&arguments.lucarne)
        .expect("the lucarne binary: build it with cargo build --release");
    let dir = arguments
        .dir
        .join(format!("lucarne-doors-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder to work in");
    let dir = fs::canonicalize(dir).expect("the folder");
    make_images(&arguments, &dir);
    compare(&arguments, &dir);
    fs::remove_dir_all(&dir).expect("the folder removed");
    ExitCode::SUCCESS
}

fn make_images(arguments: &Arguments, dir: &Path) {
    fs::write(dir.join("key"), PASSPHRASE).expect("key file");
    let size = arguments.size_bytes;
    run_to_end(
        &mut shell(&format!(
            "head -c {size} /dev/urandom > source && cp source plain"
        )),
        dir,
    );
    for (kind, image) in [("luks2", "luks2"), ("luks1", "luks1")] {
        let mut encrypt = Command::new(&arguments.lucarne);
        encrypt.args(["encrypt", "-q", "--type", kind, "-d", "key"]);
        encrypt.args([
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "source",
            "encrypted",
        ]);
        run_to_end(&mut encrypt, dir);
        // Written as the plain one: pieces of another length in the page cache make small writes several times slower.
        run_to_end(
            &mut shell(&format!("cp encrypted {image} && rm encrypted")),
            dir,
        );
    }
}

fn compare(arguments: &Arguments, dir: &Path) {
    let chosen = |all: &[&'static str]| -> Vec<&'static str> {
        let named = |name: &&&str| {
            arguments
                .only
                .iter()
                .any(|word| name.contains(word.as_str()))
        };
        match all.iter().any(|name| named(&name)) {
            true => all.iter().filter(named).copied().collect(),
            false => all.to_vec(),
        }
    };
    let door_names: Vec<_> = DOORS.iter().map(|door| door.name).collect();
    let work_names: Vec<_> = WORKS.iter().map(|work| work.name).collect();
    let (door_names, work_names) = (chosen(&door_names), chosen(&work_names));
    let is_first = |door: &&Door| door.name == DOORS[0].name;
    let doors: Vec<&Door> = DOORS
        .iter()
        // What all are compared with is always there.
        .filter(|door| is_first(door) || door_names.contains(&door.name))
        .filter(|door| {
            let program = door.name.split([' ', ',']).next();
            program == Some("lucarne") || is_installed(program)
        })
        .collect();
    for work in WORKS {
        if !work_names.contains(&work.name) || !is_installed(Some(work.program)) {
            continue;
        }
        let mut outcomes: Vec<(Vec<Figure>, u64)> = vec![(Vec::new(), 0); doors.len()];
        for round in 0..arguments.rounds {
            for turn in 0..doors.len() {
                let index = (turn + round) % doors.len();
                let (figure, kib) = measured(arguments, doors[index], work, dir);
                outcomes[index].0.push(figure);
                outcomes[index].1 = outcomes[index].1.max(kib);
            }
        }
        print_table(work, &doors, &outcomes);
    }
}

/// The figure, and the most anonymous memory of the server in KiB.
fn measured(arguments: &Arguments, door: &Door, work: &Work, dir: &Path) -> (Figure, u64) {
    warm(&dir.join("source"));
    warm(&dir.join(door.image));
    let mut server = Running::start((door.command)(arguments), dir);
    let process = server.child.id();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let (figure, kib) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                most = most.max(memory_kib(process, "RssAnon"));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let figure = (work.run)(dir);
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        (figure, watching.join().expect("who watches"))
    });
    server.stop();
    // What was written does not burden the next one.
    run_to_end(&mut shell("sync -d *"), dir);
    (figure, kib)
}

struct Running {
    child: Child,
    socket: PathBuf,
}

impl Running {
    fn start(mut command: Command, dir: &Path) -> Self {
        let socket = dir.join("socket");
        // Left by the last one, perhaps.
        let _ = fs::remove_file(&socket);
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, socket }
    }

    fn stop(&mut self) {
        let pid = self.child.id();
        run_to_end(&mut shell(&format!("kill {pid}")), Path::new("/"));
        self.child.wait().expect("the server's end");
        let _ = fs::remove_file(&self.socket);
    }
}

fn uri(dir: &Path) -> String {
    format!("nbd+unix:///?socket={}", dir.join("socket").display())
}

/// Times a second that the whole command could run.
fn rate(dir: &Path, line: &str) -> Figure {
    let start = Instant::now();
    run_to_end(shell(line).env("URI", uri(dir)), dir);
    1.0 / start.elapsed().as_secs_f64()
}

/// Bytes a second.
fn fio(dir: &Path, options: &str) -> Figure {
    let line = format!(
        "exec fio --minimal --name=doors --ioengine=nbd --uri=\"$URI\" --time_based --runtime={FIO_SECONDS} \
         --randrepeat=0 --group_reporting {options}"
    );
    let output = shell(&line)
        .env("URI", uri(dir))
        .current_dir(dir)
        .output()
        .expect("fio");
    let text = String::from_utf8_lossy(&output.stdout);
    // Terse output, version 3: read and write KiB a second.
    let fields: Vec<&str> = text.trim().split(';').collect();
    let kib = |index: usize| -> Option<f64> { fields.get(index)?.parse().ok() };
    match (kib(6), kib(47)) {
        (Some(read), Some(write)) if read + write > 0.0 => (read + write) * 1024.0,
        _ => panic!("fio: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn print_table(work: &Work, doors: &[&Door], outcomes: &[(Vec<Figure>, u64)]) {
    let is_fio = work.program == "fio";
    let unit = if is_fio { "MiB/s" } else { "s" };
    report(&format!("\n{}\n", work.name));
    report(&format!(
        "| server | median {unit} | least to most | to plain nbdkit | anonymous MiB |"
    ));
    report("|---|---|---|---|---|");
    let reference = median(&outcomes[0].0);
    let shown = |figure: Figure| match is_fio {
        true => format!("{:.0}", figure / f64::from(1 << 20)),
        false => format!("{:.2}", 1.0 / figure),
    };
    for (door, (figures, kib)) in doors.iter().zip(outcomes) {
        let least = figures.iter().copied().fold(Figure::INFINITY, Figure::min);
        let most = figures.iter().copied().fold(0.0, Figure::max);
        let middle = median(figures);
        report(&format!(
            "| {} | {} | {} to {} | {:.2} | {} |",
            door.name,
            shown(middle),
            shown(least),
            shown(most),
            middle / reference,
            kib >> 10
        ));
    }
}
