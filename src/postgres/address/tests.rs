//! Which URLs are read as what: all forms that were taken before, and what is refused.

use super::*;

/// Reads a URL with some variables set and no local servers.
fn read_with(url: &str, variables: &[(&str, &str)]) -> Result<Address, AddressError> {
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    read(url, &Surroundings { variable: &variable, has_socket: &|_| false })
}

fn read_alone(url: &str) -> Result<Address, AddressError> {
    read_with(url, &[])
}

/// Everything that was read: `user:password@host:port,…/database mode proof options`, as far as it is there.
fn shown(address: &Address) -> String {
    let config = &address.config;
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let password = config.get_password().map(String::from_utf8_lossy);
    let hosts = address.reached().into_iter().map(|(host, port)| match host {
        Host::Tcp(name) => format!("{name}:{port}"),
        Host::Unix(path) => format!("{}:{port}", path.display()),
    });
    let mode = match (config.get_ssl_mode(), address.proof) {
        (SslMode::Disable, _) => "disable",
        (SslMode::Prefer, _) => "prefer",
        (_, Proof::None) => "require",
        (_, Proof::Authority) => "verify-ca",
        (_, Proof::Name) => "verify-full",
    };
    let options = config.get_options().map(|options| format!(" {options}")).unwrap_or_default();
    let (user, database) = (text(config.get_user()), text(config.get_dbname()));
    let hosts = hosts.collect::<Vec<_>>().join(",");
    format!("{user}:{}@{hosts}/{database} {mode}{options}", text(password.as_deref()))
}

/// URLs and what is read from them. `sqlx`, which read them before, accepted each of these with the same result.
const URLS: [(&str, &str); 33] = [
    ("postgres://u:p@h/x", "u:p@h:5432/x prefer"),
    ("postgresql://u:p@h:6543/x", "u:p@h:6543/x prefer"),
    ("  postgres://u:p@h/x\n", "u:p@h:5432/x prefer"),
    ("postgres://u@h", "u:-@h:5432/- prefer"),
    ("postgres://u:p@h:/x", "u:p@h:5432/x prefer"),
    ("postgres://h/x", "-:-@h:5432/x prefer"),
    ("postgres://u%40b:p%40%25%2F%3A@h/a%20b", "u@b:p@%/:@h:5432/a b prefer"),
    ("postgres://u:a+b@h/x", "u:a+b@h:5432/x prefer"),
    ("postgres://u:a@b@h/x", "u:a@b@h:5432/x prefer"),
    ("postgres://u:p@H.Example/x", "u:p@H.Example:5432/x prefer"),
    ("postgres://u:p@127.0.0.1:1/x", "u:p@127.0.0.1:1/x prefer"),
    ("postgres://u:p@[::1]:7/x", "u:p@::1:7/x prefer"),
    ("postgres://u:p@h//x", "u:p@h:5432/x prefer"),
    ("postgres://u:p@h/x#part", "u:p@h:5432/x prefer"),
    ("postgres://u:p@h/x?", "u:p@h:5432/x prefer"),
    ("postgres://u:p@h?dbname=x", "u:p@h:5432/x prefer"),
    ("postgres://u:p@one:1/x?host=two&port=2", "u:p@two:2/x prefer"),
    ("postgres://u:p@one:1/x?host=two", "u:p@two:1/x prefer"),
    ("postgres://u:p@h/x?user=v&password=q%26&dbname=y", "v:q&@h:5432/y prefer"),
    ("postgres://u:p@localhost/x?hostaddr=10.0.0.1", "u:p@10.0.0.1:5432/x prefer"),
    ("postgres:///x?host=/run/postgresql", "-:-@/run/postgresql:5432/x disable"),
    ("postgres://u@localhost:6543/x?host=/run/postgresql", "u:-@/run/postgresql:6543/x disable"),
    ("postgres://u:p@%2Frun%2Fpostgresql/x", "u:p@/run/postgresql:5432/x disable"),
    ("postgres://u:p@h/x?sslmode=disable", "u:p@h:5432/x disable"),
    ("postgres://u:p@h/x?sslmode=prefer", "u:p@h:5432/x prefer"),
    ("postgres://u:p@h/x?ssl-mode=Require", "u:p@h:5432/x require"),
    ("postgres://u:p@h/x?sslmode=verify-ca", "u:p@h:5432/x verify-ca"),
    ("postgres://u:p@h/x?sslmode=verify-full&sslrootcert=%2Fca.pem", "u:p@h:5432/x verify-full"),
    ("postgres://u:p@h/x?options=-c%20a%3Don", "u:p@h:5432/x prefer -c a=on"),
    ("postgres://u:p@h/x?options=-c+a%3Don&options=-c+b%3D1", "u:p@h:5432/x prefer -c a=on -c b=1"),
    ("postgres://u:p@h/x?options[a]=on&options[b]=c%20d%5C", "u:p@h:5432/x prefer -c a=on -c b=c\\ d\\\\"),
    ("postgres://u:p@h/x?pgbouncer=true&connection_limit=1", "u:p@h:5432/x prefer"),
    ("postgres://u:p@h/x?statement-cache-capacity=0&application_name=z", "u:p@h:5432/x prefer"),
];

#[test]
fn what_a_url_says_is_read() {
    for (url, expected) in URLS {
        assert_eq!(shown(&read_alone(url).unwrap()), expected, "{url}");
    }
}

#[test]
fn what_libpq_takes_beside_is_taken() {
    for (url, expected) in [
        ("postgres://u:p@one:1,two/x", "u:p@one:1,two:5432/x prefer"),
        ("postgres://u@/x", "u:-@localhost:5432/x prefer"),
        ("postgres://u@:7/x", "u:-@localhost:7/x prefer"),
        ("postgres://", "-:-@localhost:5432/- prefer"),
        ("postgres:///x?host=one,two&port=1,2", "-:-@one:1,two:2/x prefer"),
        ("postgres://one,two/x?port=7", "-:-@one:7,two:7/x prefer"),
        ("postgres://one,two/x?hostaddr=10.0.0.1,10.0.0.2", "-:-@10.0.0.1:5432,10.0.0.2:5432/x prefer"),
        ("postgres:///x?hostaddr=10.0.0.1", "-:-@10.0.0.1:5432/x prefer"),
        ("postgres://h/x?password=a+b", "-:a+b@h:5432/x prefer"),
        ("postgres://h/x?sslmode=allow", "-:-@h:5432/x prefer"),
        ("postgres://h/x?sslmode=require&sslrootcert=/ca.pem", "-:-@h:5432/x verify-ca"),
        ("postgres://h/x?sslrootcert=system", "-:-@h:5432/x verify-full"),
        ("postgres:///x?host=/run/postgresql&sslmode=require", "-:-@/run/postgresql:5432/x disable"),
    ] {
        assert_eq!(shown(&read_alone(url).unwrap()), expected, "{url}");
    }
}

#[test]
fn what_is_no_url_is_refused_with_what_is_wrong_and_without_repeating_it() {
    for (url, why) in [
        ("", AddressError::Form),
        ("hunter2", AddressError::Form),
        ("mysql://u:hunter2@h/x", AddressError::Form),
        ("postgres://u:hunter2@h:port/x", AddressError::Form),
        ("postgres://u:hunter2@h:65536/x", AddressError::Form),
        ("postgres://u:hunter2/a@h/x", AddressError::Form),
        ("postgres://u:hunter2#a@h/x", AddressError::Form),
        ("postgres://u:p@[::1/x?password=hunter2", AddressError::Form),
        ("postgres://h/x?hostaddr=hunter2", AddressError::Form),
        ("postgres://h/x?port=hunter2", AddressError::Form),
        ("postgres://h/%FF", AddressError::Form),
        ("postgres://h/x?sslmode=hunter2", AddressError::Mode),
        ("postgres://h/x?sslmode=require&sslrootcert=system", AddressError::WeakSystem),
        ("postgres://h/x?sslcert=hunter2", AddressError::HalfACertificate),
        ("postgres://one,two,three/x?port=1,2", AddressError::Numbers),
        ("postgres://one,two/x?hostaddr=10.0.0.1", AddressError::Numbers),
    ] {
        let error = read_alone(url).unwrap_err();
        assert_eq!(error, why, "{url}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
    }
}

#[test]
fn no_secret_of_an_address_is_shown_for_finding_faults() {
    let url = "postgres://u:hunter2@h/x?sslmode=require&sslcert=-----BEGIN+hunter2-----&sslkey=-----BEGIN+hunter2-----";
    let address = read_alone(url).unwrap();
    assert!(matches!(address.identity(), Some((Pem::Text(_), Pem::Text(_)))), "{address:?}");
    assert!(!format!("{address:?}").contains("hunter2"), "{address:?}");
}

#[test]
fn what_a_url_does_not_say_is_taken_from_the_variables_of_postgresql() {
    let all = [
        ("PGHOST", "there"),
        ("PGPORT", "7"),
        ("PGUSER", "v"),
        ("PGPASSWORD", "q"),
        ("PGDATABASE", "y"),
        ("PGSSLMODE", "verify-full"),
        ("PGOPTIONS", "-c a=on"),
    ];
    for (url, expected) in [
        ("postgres://", "v:q@there:7/y verify-full -c a=on"),
        ("postgres://u:p@h/x?sslmode=require", "u:p@h:7/x require -c a=on"),
        ("postgres://u:p@h:1/x?options=-c%20b%3Don", "u:p@h:1/x verify-full -c a=on -c b=on"),
    ] {
        assert_eq!(shown(&read_with(url, &all).unwrap()), expected, "{url}");
    }
    let addressed = read_with("postgres:///x", &[("PGHOST", "there"), ("PGHOSTADDR", "10.0.0.1")]).unwrap();
    assert_eq!(shown(&addressed), "-:-@10.0.0.1:5432/x prefer");
    let odd = read_with("postgres://h/x", &[("PGSSLMODE", "?"), ("PGPORT", "?")]).unwrap();
    assert_eq!(shown(&odd), "-:-@h:5432/x prefer");
    let socket = Surroundings { variable: &|_| None, has_socket: &|path| path == Path::new("/tmp/.s.PGSQL.7") };
    assert_eq!(shown(&read("postgres:///x?port=7", &socket).unwrap()), "-:-@/tmp:7/x disable");
}

#[test]
fn a_password_that_is_nowhere_else_is_taken_from_the_file_for_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(".pgpass");
    std::fs::write(&file, "h:5432:x:u:ours\n*:*:*:*:any\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let home = [("HOME", directory.path().to_str().unwrap())];
    let named = [("PGPASSFILE", file.to_str().unwrap())];
    for (url, password) in [("postgres://u@h/x", "ours"), ("postgres://u:own@h/x", "own"), ("postgres://v@h/x", "any")]
    {
        for variables in [home, named] {
            let address = read_with(url, &variables).unwrap();
            assert_eq!(address.config.get_password(), Some(password.as_bytes()), "{url}");
        }
    }
}

#[test]
fn a_url_leads_to_a_host_and_a_port_unless_it_names_a_socket() {
    let place = |url: &str| read_alone(url).unwrap().place();
    assert_eq!(place("postgres://u:p@127.0.0.1:5432/x").as_deref(), Some("127.0.0.1:5432"));
    assert_eq!(place("postgres://u:p@one:1/x?host=two&port=2").as_deref(), Some("two:2"));
    assert_eq!(place("postgres://one,two:2/x").as_deref(), Some("one:5432,two:2"));
    assert_eq!(place("postgres:///x?host=/run/postgresql"), None);
}

#[test]
fn only_modes_that_insist_on_tls_are_encrypted() {
    let plaintext_hosts = |url: &str| read_alone(url).unwrap().plaintext_hosts();
    for mode in ["", "?sslmode=disable", "?sslmode=allow", "?sslmode=prefer"] {
        let url = format!("postgres://u:p@db.example.com/x{mode}");
        assert_eq!(plaintext_hosts(&url), ["db.example.com"], "{url}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        assert!(plaintext_hosts(&format!("postgres://u:p@a.example,b.example/x?sslmode={mode}")).is_empty(), "{mode}");
    }
    assert_eq!(plaintext_hosts("postgres://u:p@a.example:6432,b.example/x"), ["a.example", "b.example"]);
    assert_eq!(plaintext_hosts("postgres://u:p@one/x?host=two.example"), ["two.example"]);
    assert_eq!(plaintext_hosts("postgres://localhost/x?hostaddr=192.0.2.1"), ["192.0.2.1"], "not where the name leads");
    assert!(plaintext_hosts("postgres://u:p@%2Frun%2Fpostgresql/x").is_empty(), "a socket");
    assert!(plaintext_hosts("postgres:///x?host=/run/postgresql").is_empty(), "a socket");
}

#[test]
fn another_user_or_password_leads_to_the_same_place() {
    let is_same = |one: &str, other: &str| read_alone(one).unwrap().is_same_place(&read_alone(other).unwrap());
    assert!(is_same("postgres://u:old@h/x", "postgres://v:new@h:5432/x?sslmode=require"));
    for other in ["postgres://u@h/y", "postgres://u@h:1/x", "postgres://u@i/x", "postgres://u@h/x?hostaddr=10.0.0.1"] {
        assert!(!is_same("postgres://u@h/x", other), "{other}");
    }
}

#[test]
fn an_address_beside_a_socket_is_reached_with_the_proof_that_was_asked_for() {
    let address = read_alone("postgres:///x?host=/run/postgresql&hostaddr=10.0.0.5&sslmode=verify-full").unwrap();
    assert_eq!((address.config.get_ssl_mode(), address.proof), (SslMode::Require, Proof::Name));
}

#[test]
fn a_key_among_other_lines_is_no_path_and_is_never_shown() {
    let key = "Bag Attributes\n-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
    let address =
        read_with("postgres://u:p@h/x?sslmode=require", &[("PGSSLCERT", "/c.pem"), ("PGSSLKEY", key)]).unwrap();
    assert!(!format!("{:?}", address.identity).contains("hunter2"));
}

#[test]
fn a_variable_that_is_empty_says_nothing() {
    for name in [
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGUSER",
        "PGDATABASE",
        "PGSSLMODE",
        "PGSSLROOTCERT",
        "PGSSLCERT",
        "PGSSLKEY",
    ] {
        let given = read_with("postgres://u:p@h/x", &[(name, "")]).map(|address| shown(&address));
        assert_eq!(given.unwrap(), "u:p@h:5432/x prefer", "{name}");
    }
}
