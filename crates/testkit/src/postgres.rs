//! A real PostgreSQL for tests: one server for a test process, one database for a test.
//!
//! The server listens on a loopback port and keeps its data under a temporary directory. A shell stands watch over it:
//! when the test process ends, however it ends, the shell's standard input closes, and it stops the server and
//! removes the directory. Nothing outlives the tests, and a test that is killed leaves nothing behind either.
//!
//! The binaries come from `PATH` or `/usr/lib/postgresql/*/bin`. `initdb` refuses to run as root, so root runs the
//! server as the user `postgres`.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::sql::{Session, Sessions};

/// How many starts to try, each on another port. Another process can take a free port first.
const START_ATTEMPTS: u32 = 5;

/// The kind of cluster that a test wants. Roles belong to a cluster, so two flavours cannot share a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// PostgreSQL without extras: the only role is the superuser's.
    Plain,
    /// With the roles and the `auth` schema that Supabase provides.
    Supabase,
    /// As `Plain`, but with an fsync for every commit. The other flavours spare the disk that work.
    Durable,
}

/// Settings of a server that may lose data if the machine fails.
const HASTY: &[&str] = &["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"];

/// Settings of a server that may not lose data. They are PostgreSQL's own.
const DURABLE: &[&str] = &["-c", "fsync=on", "-c", "full_page_writes=on", "-c", "synchronous_commit=on"];

/// Stands in for what Supabase puts into every project: roles, `auth.users`, `auth.uid()` and `auth.role()`.
const SUPABASE_ROLES: &str = "
    CREATE ROLE anon NOLOGIN NOINHERIT;
    CREATE ROLE authenticated NOLOGIN NOINHERIT;
    CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
    CREATE ROLE authenticator LOGIN NOINHERIT;
    GRANT anon, authenticated, service_role TO authenticator;
";

const SUPABASE_DATABASE: &str = "
    CREATE SCHEMA auth;
    CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
    CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
        $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
    CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS
        $$ SELECT nullif(current_setting('request.jwt.claim.role', true), '') $$;
    GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
";

/// A running server.
#[derive(Debug)]
pub struct Server {
    port: u16,
    log: PathBuf,
    databases: AtomicU32,
    _watch: Child,
    _lifeline: ChildStdin,
}

impl Server {
    /// The server of this process, started on first use.
    pub fn of(flavour: Flavour) -> &'static Self {
        static PLAIN: OnceLock<Server> = OnceLock::new();
        static SUPABASE: OnceLock<Server> = OnceLock::new();
        static DURABLE: OnceLock<Server> = OnceLock::new();
        let cell = match flavour {
            Flavour::Plain => &PLAIN,
            Flavour::Supabase => &SUPABASE,
            Flavour::Durable => &DURABLE,
        };
        cell.get_or_init(|| Self::start(flavour))
    }

    fn start(flavour: Flavour) -> Self {
        let account = Account::for_server();
        for _ in 0..START_ATTEMPTS {
            let dir = tempfile::Builder::new().prefix("gateway-pg-").tempdir().expect("a temporary directory").keep();
            account.own(&dir);
            let data = dir.join("data");
            account.copy(&account.template(&dir), &data);
            let port = free_port();
            if let Some((watch, lifeline)) = account.serve(&dir, &data, port, flavour) {
                let log = log_file(&dir, port);
                return Self { port, log, databases: AtomicU32::new(0), _watch: watch, _lifeline: lifeline };
            }
        }
        panic!("PostgreSQL did not start on any of {START_ATTEMPTS} ports; see the reports above");
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

/// A database that belongs to one test.
#[derive(Clone, Debug)]
pub struct Database {
    server: &'static Server,
    name: String,
}

impl Database {
    /// An empty database. On [`Flavour::Supabase`] it has the `auth` schema and the roles.
    pub async fn create(flavour: Flavour) -> Self {
        let server = tokio::task::spawn_blocking(move || Server::of(flavour)).await.expect("the server starts");
        let number = server.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let mut admin = Session::open(&server.url("postgres")).await;
        if number == 0 && flavour == Flavour::Supabase {
            admin.execute(SUPABASE_ROLES).await.expect("roles");
        }
        create_database(&mut admin, &name).await;
        let database = Self { server, name };
        if flavour == Flavour::Supabase {
            wait_for_roles(&mut admin).await;
            database.run(SUPABASE_DATABASE).await;
        }
        database
    }

    /// An empty database whose files are in a directory of this machine that any account may write to. Call
    /// [`Self::remove`] before you remove the directory.
    pub async fn create_at(flavour: Flavour, name: &str, directory: &Path) -> Self {
        let server = tokio::task::spawn_blocking(move || Server::of(flavour)).await.expect("the server starts");
        let place = directory.join("space");
        fs::create_dir(&place).expect("the directory can be written");
        Account::for_server().own(&place);
        let mut admin = Session::open(&server.url("postgres")).await;
        let space = format!("CREATE TABLESPACE {name} LOCATION '{}'", place.display());
        admin.execute(space).await.expect("a directory of the server's account");
        create_database(&mut admin, &format!("{name} TABLESPACE {name}")).await;
        admin.close().await;
        Self { server, name: name.to_owned() }
    }

    /// Removes the database and the tablespace in its directory.
    pub async fn remove(&self) {
        let mut admin = Session::open(&self.server.url("postgres")).await;
        for statement in ["DROP DATABASE IF EXISTS", "DROP TABLESPACE IF EXISTS"] {
            let with = if statement.contains("DATABASE") { " WITH (FORCE)" } else { "" };
            admin.execute(format!("{statement} {}{with}", self.name)).await.expect("nothing is in the way");
        }
        admin.close().await;
    }

    /// Connection string of the superuser.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Connection string of a role without rights of its own. Makes the role if it is missing.
    pub async fn url_as(&self, role: &str) -> String {
        // Databases of one cluster share roles.
        let made = format!(
            "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        );
        self.run(&made).await;
        self.url().replacen("postgres@", &format!("{role}@"), 1)
    }

    /// The port the server listens on.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The log that the server has written so far.
    pub fn server_log(&self) -> String {
        fs::read_to_string(&self.server.log).expect("the server keeps its log")
    }

    /// A connection of the superuser.
    pub async fn session(&self) -> Session {
        Session::open(&self.url()).await
    }

    /// Connections of the superuser.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.url())
    }

    /// Sets the time zone in which connections to this database start.
    pub async fn set_time_zone(&self, zone: &str) {
        self.run(&format!("ALTER DATABASE {} SET timezone = '{zone}'", self.name)).await;
    }

    /// Runs a script through `psql`, as an operator would. The error is the output of `psql`.
    pub fn psql(&self, script: &str) -> Result<(), String> {
        let mut psql = Command::new(binary("psql"))
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &self.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let mut stdin = psql.stdin.take().expect("standard input is piped");
        // `psql` stops reading at the first error, and then reports that error.
        let _ = stdin.write_all(script.as_bytes());
        drop(stdin);
        let output = psql.wait_with_output().expect("psql ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    /// Runs a script, as the superuser.
    pub async fn run(&self, sql: &str) {
        let mut session = self.session().await;
        if let Err(error) = session.execute(sql).await {
            panic!("{error:?}\nin: {sql}");
        }
        session.close().await;
    }
}

/// Waits for the roles. Tests of one process share a cluster: the first one makes the roles.
async fn wait_for_roles(admin: &mut Session) {
    for _ in 0..500 {
        let there: bool =
            admin.value("SELECT to_regrole('authenticator') IS NOT NULL").await.expect("a catalogue look-up");
        if there {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the roles of the test cluster are missing");
}

/// Creates a database. Two at once can collide on the template, so that error is tried again.
async fn create_database(admin: &mut Session, name: &str) {
    for _ in 0..100 {
        match admin.execute(format!("CREATE DATABASE {name}")).await {
            Ok(()) => return,
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the template database stays in use");
}

/// The system account that runs the server.
#[derive(Debug)]
pub(crate) enum Account {
    Own,
    Postgres { uid: u32, gid: u32 },
}

impl Account {
    pub(crate) fn for_server() -> Self {
        let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if root {
            Self::Postgres { uid: number("id", &["-u", "postgres"]), gid: number("id", &["-g", "postgres"]) }
        } else {
            Self::Own
        }
    }

    pub(crate) fn own(&self, dir: &Path) {
        if let Self::Postgres { uid, gid } = self {
            chown(dir, Some(*uid), Some(*gid)).expect("root may give a directory away");
        }
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Own => Command::new(program),
            Self::Postgres { uid, gid } => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
                command.arg(program);
                command
            }
        }
    }

    /// A fresh data directory to copy. It is made once for all test processes: a copy takes a tenth of the time.
    pub(crate) fn template(&self, dir: &Path) -> PathBuf {
        let version = Command::new(binary("initdb")).arg("--version").output().expect("initdb runs");
        let version: String =
            String::from_utf8_lossy(&version.stdout).chars().filter(char::is_ascii_alphanumeric).collect();
        let kept = crate::profile_dir().with_file_name("tmp");
        fs::create_dir_all(&kept).expect("the target folder can be written");
        let template = kept.join(format!("data-{version}"));
        if !template.is_dir() {
            let made = dir.join("template");
            self.init(&made);
            let part = template.with_extension(std::process::id().to_string());
            run(Command::new("cp").arg("-R").arg(&made).arg(&part));
            // Another process may have been faster. Its copy is just as good.
            if fs::rename(&part, &template).is_err() {
                let _ = fs::remove_dir_all(&part);
            }
        }
        template
    }

    pub(crate) fn copy(&self, from: &Path, to: &Path) {
        run(Command::new("cp").arg("-R").arg(from).arg(to));
        self.give(to);
    }

    /// Gives a path and everything below it to the account alone.
    pub(crate) fn give(&self, path: &Path) {
        run(Command::new("chmod").args(["-R", "u=rwX,go="]).arg(path));
        if let Self::Postgres { uid, gid } = self {
            run(Command::new("chown").arg("-R").arg(format!("{uid}:{gid}")).arg(path));
        }
    }

    /// Makes the data directory. Like hosted databases, it uses an ICU locale, which does not sort text by bytes, so a
    /// comparison without `COLLATE "C"` shows up. Builds without ICU fall back to the C locale.
    fn init(&self, data: &Path) {
        let icu: &[&str] = &["--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8"];
        let plain: &[&str] = &["--locale=C"];
        let mut fault = String::new();
        for locale in [icu, plain] {
            let output = self
                .command(&binary("initdb"))
                .current_dir("/")
                .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "-D"])
                .arg(data)
                .args(locale)
                .output()
                .expect("initdb runs");
            if output.status.success() {
                return;
            }
            fault = String::from_utf8_lossy(&output.stderr).into_owned();
        }
        panic!("initdb failed: {fault}");
    }

    /// Starts the server under its watch; `None` if it did not come up on this port.
    fn serve(&self, dir: &Path, data: &Path, port: u16, flavour: Flavour) -> Option<(Child, ChildStdin)> {
        const WATCH: &str = r#"
            dir=$1; shift
            log=$1; shift
            "$@" >"$log" 2>&1 </dev/null &
            server=$!
            cat >/dev/null
            kill -INT "$server" 2>/dev/null
            wait "$server"
            rm -rf "$dir"
        "#;
        let log_file = log_file(dir, port);
        let mut watch = self
            .command(Path::new("/bin/sh"))
            .current_dir("/")
            .args(["-c", WATCH, "watch"])
            .arg(dir)
            .arg(&log_file)
            .arg(binary("postgres"))
            .arg("-D")
            .arg(data)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"])
            .arg(dir)
            .args(if flavour == Flavour::Durable { DURABLE } else { HASTY })
            .args(["-c", "max_connections=500", "-c", "shared_buffers=128MB", "-c", "max_wal_size=4GB"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let lifeline = watch.stdin.take().expect("standard input is piped");
        for _ in 0..3000 {
            let log = fs::read_to_string(&log_file).unwrap_or_default();
            if log.contains("ready to accept connections") {
                return Some((watch, lifeline));
            }
            if log.contains("FATAL") {
                eprintln!("PostgreSQL on port {port}: {log}");
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(lifeline);
        let _ = watch.wait();
        None
    }
}

fn log_file(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!("log.{port}"))
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound listener has an address").port()
}

fn number(program: &str, args: &[&str]) -> u32 {
    let output = Command::new(program).args(args).output().expect("id runs");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("the tests run as root, so the server needs a user named postgres: install PostgreSQL's server package")
}

/// The program in `PATH`, else in the newest of Debian's version directories.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> =
        std::env::split_paths(&path).map(|dir| dir.join(name)).filter(|file| file.is_file()).take(1).collect();
    if found.is_empty() {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        found = versions.map(|version| version.path().join("bin").join(name)).filter(|file| file.is_file()).collect();
        found.sort();
    }
    found.pop().unwrap_or_else(|| panic!("{name} is neither on PATH nor in /usr/lib/postgresql/*/bin"))
}
